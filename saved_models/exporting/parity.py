"""Holds an exported model, and what it becomes in other runtimes, against its run."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from scn_keras.saved_models.predicting.file_locators import RunFileLocator
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    call_of,
    read_image_source,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

# The largest difference to the run's points: in float32 in pixels of the given image,
# in reduced precision in pixels of the grid.
BOUND_PX = 0.01
BOUND_GRID_PX = {"bfloat16": 1.0, "int8": 2.0}
_TITLES = {"onnx": "ONNX", "litert": "LiteRT", "openvino": "OpenVINO"}
_TIMED = 5


class Parity(NamedTuple):
    """How a runtime's points compare with those of the run.

    Attributes:
        runtime: Str.
        difference: Float, the largest distance along an axis, in px of the images, or
            of the grid for reduced precision; NaN where the runtime is not installed.
        bound: Float, what it may be.
        unit: `"px"` or `"grid px"`.
        milliseconds: Float, the median time of one image.
        of: Str, what that is the time of.
        note: Str, why there is no number; empty where there is one.
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
        """Whether the bound is kept, or there was nothing to compare."""
        return bool(self.note) or bool(self.difference <= self.bound)


def check(
    run: Run,
    model: str | pathlib.Path,
    files: Sequence[pathlib.Path] = (),
    spacing: tuple[float, float] | None = None,
) -> list[Parity]:
    """Compares an exported model with its run, and the network in other runtimes.

    A SavedModel runs in a new process that can import neither Keras nor scn_keras, as
    in TF Serving. The other formats are written for the occasion, where their packages
    are installed; of an export in one of them, that file is compared.

    Args:
        run: `Run`.
        model: The folder of the exported version.
        files: Image files; none for an image that is made up.
        spacing: Millimetres per pixel, x and y, for 2D files that do not say.

    Returns:
        One `Parity` for each runtime, that of Keras first, whose difference is 0.

    Raises:
        ValueError: If a file cannot be read.
        RuntimeError: If the new process fails.
    """
    model = pathlib.Path(model)
    about = json.loads(beside(model, "export.json").read_text("utf-8"))
    format, precision = about["format"], about["precision"]
    sources = [*_sources(run.recipe, files, spacing)]
    keras_model = run.load_model()
    expected, scales = _locate(run, keras_model, sources)
    image = np.zeros((1, *run.recipe.grid, 1), np.float32)
    bound, unit, units = BOUND_PX, "px", np.ones_like(scales)
    if precision != "float32":
        bound, unit, units = BOUND_GRID_PX[precision], "grid px", scales

    def compared(name, points, seconds, of):
        apart = np.abs(points - expected).max(axis=(-2, -1))
        worst = float((apart / units).max())
        return Parity(name, worst, bound, unit, 1000.0 * seconds, of)

    def on_grid(name, made):
        points, _ = _locate(run, made, sources)
        seconds = _median_seconds(lambda: made.localizer.predict_on_batch(image))
        return compared(name, points, seconds, "grid to points")

    rows = [on_grid("Keras", keras_model)]
    if format != "savedmodel":
        made = GridModel(model / FILES[format])
        return [*rows, on_grid(f"{_TITLES[format]}, {precision}", made)]
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
                made = write_grid_model(run, keras_model, pathlib.Path(folder), other)
            except ImportError as error:
                note = f"not installed: {error.name or error}"
                rows.append(Parity(_TITLES[other], np.nan, bound, unit, 0.0, "", note))
            else:
                rows.append(on_grid(_TITLES[other], made))
    return rows


def print_parity(rows: Sequence[Parity], console: Console | None = None) -> None:
    """Prints the table of `check`."""
    table = rich.table.Table(*("runtime", "difference", "bound", "ms", "of", ""))
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
            "kept" if row.kept else "[red]BROKEN",
        )
    (console or Console()).print(table)


def largest_difference(
    run: Run,
    model: str | pathlib.Path,
    files: Sequence[pathlib.Path],
    spacing: tuple[float, float] | None = None,
) -> float:
    """Returns the largest difference between run and SavedModel over all points, in px.

    Arguments and what it raises: see `check`.
    """
    sources = [*_sources(run.recipe, files, spacing)]
    expected, _ = _locate(run, run.load_model(), sources)
    points, _ = _run_saved_model(pathlib.Path(model), sources, run)
    return float(np.abs(points - expected).max())


def _sources(
    recipe: Recipe,
    files: Sequence[pathlib.Path],
    spacing: tuple[float, float] | None,
) -> Iterator[ImageSource]:
    to_grid = recipe.image_to_grid
    d, stored_values = to_grid.dimensions, to_grid.uses_stored_values
    for file in files:
        yield read_image_source(pathlib.Path(file), spacing, d, stored_values)
    if files:
        return
    image = synthetic_image([round(1.5 * side) for side in recipe.grid])[..., 0]
    if stored_values and to_grid.normalization_limits is not None:
        low, high = to_grid.normalization_limits
        image = np.asarray(low + image * (high - low), np.int16)
    else:
        image = np.asarray(np.round(image * 65535.0), np.uint16)
    affine = np.diag([*(to_grid.grid_spacing or [1.0] * d), 1.0])
    yield ImageSource(pathlib.Path("made up"), None, image, affine, ())


def _locate(run, model, sources):
    """Points of all images, and how many of their pixels go to one of the grid."""
    points, scales = [], []
    problems: list[str] = []
    locator = RunFileLocator(run.locator(model), problems)
    for _, found in locator.locate(sources):
        points.append(found["points_px"])
        linear = found["grid_to_source"][:-1, :-1]
        scales.append(np.linalg.norm(linear, axis=0).max())
    if problems:
        raise ValueError(problems[0])
    return np.array(points), np.array(scales)


def _run_saved_model(model, sources, run):
    with tempfile.TemporaryDirectory() as folder:
        given, made = pathlib.Path(folder, "in.npz"), pathlib.Path(folder, "out.npz")
        requests: dict[str, Any] = {}
        for number, source in enumerate(sources):
            _, inputs = call_of(source, run.recipe.image_to_grid.uses_stored_values)
            for name, value in inputs.items():
                if name == "image_bytes":
                    value = np.frombuffer(value[0], np.uint8)
                requests[f"{number}/{name}"] = value
        np.savez(given, **requests)
        program = pathlib.Path(__file__).with_name("run_saved_model.py")
        process = subprocess.run(
            [sys.executable, *map(str, (program, model, given, made))],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1]
            raise RuntimeError(f"The exported model did not run: {last}")
        with np.load(made) as answers:
            count = range(len(sources))
            points = np.concatenate([answers[f"{n}/points_px"] for n in count])
            seconds = np.median([answers[f"{n}/seconds"] for n in count])
    return points, float(seconds)


def _median_seconds(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
