"""Compares an exported model, and the network in other runtimes, with its run."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.table
from rich.console import Console

from scn_keras.saved_models.export_folder import beside
from scn_keras.saved_models.exporting.grid_model import (
    FILES,
    GridModel,
    write_grid_model,
)
from scn_keras.saved_models.exporting.tf_serving import synthetic_image
from scn_keras.saved_models.predicting.file_locators import (
    RunFileLocator,
    require_decodable,
)
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    call_of,
    read_image_source,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

# The tolerance of the difference to the run's points: for float32 in pixels of the
# given image, for reduced precision in pixels of the grid.
BOUND_PX = 0.01
BOUND_GRID_PX = {"bfloat16": 1.0, "int8": 2.0}
_TITLES = {"onnx": "ONNX", "litert": "LiteRT", "openvino": "OpenVINO"}
_TIMED = 5


class Parity(NamedTuple):
    """The comparison of a runtime's points with those of the run.

    Attributes:
        runtime: Str, the name of the runtime.
        difference: Float, the largest difference along an axis, in px of the images or,
            for reduced precision, of the grid; NaN if the runtime is not installed.
        bound: Float, the tolerance of the difference.
        unit: `"px"` or `"grid px"`.
        milliseconds: Float, the median time for one image.
        of: Str, the steps that the time includes.
        note: Str, the reason why there is no comparison; empty otherwise.
    """

    runtime: str
    difference: float
    bound: float
    unit: str
    milliseconds: float
    of: str
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the difference is within the tolerance, or there is no comparison."""
        return bool(self.note) or bool(self.difference <= self.bound)


def check(
    run: Run,
    model: str | pathlib.Path,
    files: Sequence[pathlib.Path] = (),
    spacing: tuple[float, float] | None = None,
    problems: list[str] | None = None,
) -> list[Parity]:
    """Compares an exported model, and the network in other runtimes, with its run.

    A SavedModel runs in a new process that can import neither Keras nor scn_keras, as
    in TF Serving. For the other formats, temporary files are written if their packages
    are installed. If the export has one of these formats, its file is compared.

    Args:
        run: `Run`.
        model: The folder of the exported version.
        files: Image files; a synthetic image is used if there are none.
        spacing: Millimetres per pixel, x and y, for 2D files without a spacing.
        problems: List, to which a message is appended for each file that cannot be
            read, and the others are compared; `None` to raise an error for the first.

    Returns:
        One `Parity` for each runtime, beginning with Keras, whose difference is 0.

    Raises:
        ValueError: If a file cannot be read and `problems` is `None`, or none can be.
        RuntimeError: If the new process fails.
    """
    model = pathlib.Path(model)
    metadata = json.loads(beside(model, "export.json").read_text("utf-8"))
    format, precision = metadata["format"], metadata["precision"]
    sources = _sources(run.recipe, files, spacing, problems)
    keras_model = run.load_model()
    expected, scales = _locate(run, keras_model, sources)
    image = np.zeros((1, *run.recipe.grid, 1), np.float32)
    bound, unit, units = BOUND_PX, "px", np.ones_like(scales)
    if precision != "float32":
        bound, unit, units = BOUND_GRID_PX[precision], "grid px", scales

    def compared(name, points, seconds, of):
        differences = np.abs(points - expected).max(axis=(-2, -1))
        difference = float((differences / units).max())
        return Parity(name, difference, bound, unit, 1000.0 * seconds, of)

    def on_grid(name, grid_model):
        points, _ = _locate(run, grid_model, sources)
        seconds = _median_seconds(lambda: grid_model.localizer.predict_on_batch(image))
        return compared(name, points, seconds, "grid to points")

    rows = [on_grid("Keras", keras_model)]
    if format != "savedmodel":
        grid_model = GridModel(model / FILES[format])
        return [*rows, on_grid(f"{_TITLES[format]}, {precision}", grid_model)]
    points, seconds = _run_saved_model(model, sources, run)
    name = "SavedModel" if precision == "float32" else f"SavedModel, {precision}"
    rows.append(compared(name, points, seconds, "image to points"))
    if precision != "float32":
        return rows
    for other in FILES:
        if other == "litert" and len(run.recipe.grid) == 3:
            note = "cannot pool volumes"
            rows.append(Parity(_TITLES[other], np.nan, bound, unit, 0.0, "", note))
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = pathlib.Path(folder)
                grid_model = write_grid_model(run, keras_model, path, other)
            except ImportError as error:
                note = f"not installed: {error.name or error}"
                rows.append(Parity(_TITLES[other], np.nan, bound, unit, 0.0, "", note))
            else:
                rows.append(on_grid(_TITLES[other], grid_model))
    return rows


def print_parity(rows: Sequence[Parity], console: Console | None = None) -> None:
    """Prints the result of `check` as a table."""
    table = rich.table.Table("runtime", "difference", "bound", "ms", "of", "result")
    for row in rows:
        if row.note:
            table.add_row(row.runtime, "", "", "", "", row.note)
            continue
        table.add_row(
            row.runtime,
            f"{row.difference:.2g} {row.unit}",
            f"{row.bound:g} {row.unit}",
            f"{row.milliseconds:.1f}",
            row.of,
            "within bound" if row.kept else "[red]ABOVE BOUND",
        )
    (console or Console()).print(table)


def largest_difference(
    run: Run,
    model: str | pathlib.Path,
    files: Sequence[pathlib.Path],
    spacing: tuple[float, float] | None = None,
) -> float:
    """Returns the largest difference between run and SavedModel over all points, in px.

    Arguments and errors are those of `check`.
    """
    sources = [*_sources(run.recipe, files, spacing, None)]
    expected, _ = _locate(run, run.load_model(), sources)
    points, _ = _run_saved_model(pathlib.Path(model), sources, run)
    return float(np.abs(points - expected).max())


def _sources(
    recipe: Recipe,
    files: Sequence[pathlib.Path],
    spacing: tuple[float, float] | None,
    problems: list[str] | None,
) -> list[ImageSource]:
    to_grid = recipe.image_to_grid
    d, stored_values = to_grid.dimensions, to_grid.uses_stored_values
    sources = []
    for file in map(pathlib.Path, files):
        try:
            source = read_image_source(file, spacing, d, stored_values)
            require_decodable(source, to_grid)
        except (ValueError, OSError) as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        sources.append(source)
    if problems and not sources:
        raise ValueError(f"None of the files can be read. {problems[0]}")
    if sources:
        return sources
    image = synthetic_image([round(1.5 * side) for side in recipe.grid])[..., 0]
    if stored_values and to_grid.normalization_limits is not None:
        low, high = to_grid.normalization_limits
        image = np.asarray(low + image * (high - low), np.int16)
    else:
        image = np.asarray(np.round(image * 65535.0), np.uint16)
    affine = np.diag([*(to_grid.grid_spacing or [1.0] * d), 1.0])
    return [ImageSource(pathlib.Path("synthetic image"), None, image, affine, ())]


def _locate(run, model, sources):
    """Returns the points of all images, and their pixels per pixel of the grid."""
    points, scales = [], []
    problems: list[str] = []
    locator = RunFileLocator(run.locator(model), problems)
    for _, outputs in locator.locate(sources):
        points.append(outputs["points_px"])
        linear = outputs["grid_to_source"][:-1, :-1]
        scales.append(np.linalg.norm(linear, axis=0).max())
    if problems:
        raise ValueError(problems[0])
    return np.array(points), np.array(scales)


def _run_saved_model(model, sources, run):
    with tempfile.TemporaryDirectory() as folder:
        requests_path = pathlib.Path(folder, "in.npz")
        answers_path = pathlib.Path(folder, "out.npz")
        requests: dict[str, Any] = {}
        for number, source in enumerate(sources):
            _, inputs = call_of(source, run.recipe.image_to_grid.uses_stored_values)
            for name, value in inputs.items():
                if name == "image_bytes":
                    value = np.frombuffer(value[0], np.uint8)
                requests[f"{number}/{name}"] = value
        np.savez(requests_path, **requests)
        program = pathlib.Path(__file__).with_name("run_saved_model.py")
        arguments = program, model, requests_path, answers_path
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1]
            raise RuntimeError(f"The exported model could not be run: {last}")
        with np.load(answers_path) as answers:
            count = range(len(sources))
            points = np.concatenate([answers[f"{n}/points_px"] for n in count])
            seconds = np.median([answers[f"{n}/seconds"] for n in count])
    return points, float(seconds)


def _median_seconds(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
