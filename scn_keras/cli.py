"""The command `scn-keras`.

Commands import what they need when they run: `--help` answers at once.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import click

from scn_keras import __version__

_FOLDER = click.Path(file_okay=False, path_type=pathlib.Path)
_OUT_FILE = click.Path(dir_okay=False, path_type=pathlib.Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
_DATA_DIR = click.option(
    "--data-dir",
    type=_FOLDER,
    help="Where prepared data sets lie.  [default: $TFDS_DATA_DIR, else "
    "~/tensorflow_datasets]",
)


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Starts TensorFlow without its log lines, and says errors in one sentence."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            # Keras loads it, too, on any backend; what needs it says so.
            with _quiet(), contextlib.suppress(ModuleNotFoundError):
                import tensorflow as tf

                tf.config.list_physical_devices()
                # Advice on tracing is for those who write programs.
                tf.get_logger().setLevel("ERROR")
            logging.getLogger("absl").addFilter(_no_advice_for_tfds)
            return function(*args, **kwargs)
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            if "SCN_KERAS_TRACEBACK" in os.environ:
                raise
            if isinstance(error, ModuleNotFoundError):
                error.msg = (
                    f"{error.name} is not installed, and this needs it. `scn-keras "
                    "train --arrays` needs neither TensorFlow nor TFDS nor SimpleITK."
                )
            raise click.ClickException(
                f"{error}\n(Set SCN_KERAS_TRACEBACK=1 to see where this came from.)"
            ) from error

    return wrapped


def _no_advice_for_tfds(record: logging.LogRecord) -> bool:
    # TFDS calls what it has deprecated itself, for every compressed tensor.
    return ".dtype` is deprecated" not in record.getMessage()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # TensorFlow writes to the file descriptor before any log level applies.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scn-keras")
def main() -> None:
    """Anatomical landmark localisation: from image files to millimetres.

    \b
    The usual order:
      scn-keras datasets prepare NAME   read a data set's files once
      scn-keras train RECIPE            fit a model, into the folder of a run
      scn-keras evaluate RUN            errors in millimetres, and a report
      scn-keras compare RUN RUN         which of two is better, and how surely
      scn-keras calibrate RUN           how sure it may be, point by point
      scn-keras predict RUN FILE...     landmarks of your own images
      scn-keras export RUN DIR          a SavedModel for TF Serving
    `scn-keras demo` does all of it on synthetic hands, in a few minutes.
    """
    # A sentence, as errors are, without the line of code that said it.
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"


@main.group()
def datasets() -> None:
    """Data sets: list them, check their files, prepare them, look at them."""


@datasets.command("list")
def list_datasets() -> None:
    """List the data sets that come with the package."""
    from scn_keras.datasets import builder_names

    for name in builder_names():
        click.echo(name)


@datasets.command()
@click.argument("name")
@click.option(
    "--manual-dir",
    type=_FOLDER,
    help="The folder with the files that you downloaded, for sets that need them.",
)
@_DATA_DIR
@click.option("--overwrite", is_flag=True, help="Prepare again what is there.")
@_command
def prepare(
    name: str,
    manual_dir: pathlib.Path | None,
    data_dir: pathlib.Path | None,
    overwrite: bool,
) -> None:
    """Check a data set's files and store them for streaming.

    NAME is one of `scn-keras datasets list`, or NAME/CONFIG; for a folder of your
    own, landmark_folder/ANY_NAME. A folder with wrong or missing files gets a list
    of what is wrong, and nothing is written.
    """
    from scn_keras.datasets import prepare as prepare_dataset

    name, _, config = name.partition("/")
    prepare_dataset(
        name,
        data_dir=data_dir,
        manual_dir=manual_dir,
        config=config or None,
        overwrite=overwrite,
        report=click.echo,
    )


@datasets.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--as",
    "name",
    metavar="NAME",
    help="The data set whose layout the folder has.  [default: recognised]",
)
@click.option("--out", type=_FOLDER, help="Write check.html, with pictures, here.")
@click.option(
    "--json",
    "json_path",
    type=_OUT_FILE,
    help="Write the findings here as JSON.",
)
@_command
def check(
    folder: pathlib.Path,
    name: str | None,
    out: pathlib.Path | None,
    json_path: pathlib.Path | None,
) -> None:
    """Look for what is wrong with images and points, before anything is prepared.

    DIR is what `scn-keras datasets prepare` takes as --manual-dir. It finds swapped
    axes, points outside of their image, LPS for RAS, missing, doubled and exchanged
    landmarks, single ones far from where the others predict them, impossible
    spacings, images that are there twice and patients in two splits. The exit code
    is 1 if there are errors, 0 if there are only notes.
    """
    from scn_keras.datasets.check import check_folder, print_result, write_page

    result = check_folder(folder, name)
    print_result(result)
    if json_path:
        json_path.write_text(json.dumps(result.to_dict(), indent=1) + "\n", "utf-8")
    if out:
        click.echo(f"Page: {write_page(result, out)}")
    if result.errors:
        sys.exit(1)


@datasets.command()
@click.argument("name")
@click.option("--split", help="The split.  [default: the first that the set has]")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="How many samples.  [default: 10, with --augmented 4]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which samples, and how they are augmented.",
)
@click.option(
    "--augmented",
    "recipe",
    metavar="[RECIPE]",
    is_flag=False,
    flag_value="",
    help="Draw them as training by RECIPE sees them.  [default RECIPE: the set's]",
)
@click.option(
    "--out",
    type=_OUT_FILE,
    help="The file: .png, .jpg, or .html.  [default: NAME.png]",
)
@_DATA_DIR
@_command
def show(
    name: str,
    split: str | None,
    count: int | None,
    seed: int,
    recipe: str | None,
    out: pathlib.Path | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Draw samples of a prepared data set with their points, on one sheet.

    NAME is one of `scn-keras datasets list`, or NAME/CONFIG. Of a volume, the
    largest values along z, y and x are drawn.
    """
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.report.contact_sheet import (
        contact_sheet,
        recipe_for,
        write_sheet,
    )

    out = out or pathlib.Path(f"{name.replace('/', '-')}.png")
    augmented = None
    if recipe is not None:
        augmented = load_recipe(recipe) if recipe else recipe_for(name, data_dir)
    write_sheet(contact_sheet(name, split, count, seed, augmented, data_dir), out)
    click.echo(f"Drawn: {out}")


@datasets.command()
@click.argument("recipe")
@click.argument("out", metavar="DIR", type=_FOLDER)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe. May be repeated.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="Store this split, too; may be repeated.  [default: the recipe's train split]",
)
@_DATA_DIR
@_command
def arrays(
    recipe: str,
    out: pathlib.Path,
    settings: tuple[str, ...],
    splits: tuple[str, ...],
    data_dir: pathlib.Path | None,
) -> None:
    """Store the images that RECIPE trains on as arrays, in the new folder DIR.

    With `scn-keras train RECIPE --arrays DIR` they are trained on elsewhere, by
    TensorFlow, JAX or PyTorch: all that this needs is Keras, NumPy and the backend.
    """
    from scn_keras.training.input.prepare_arrays import prepare_arrays
    from scn_keras.training.recipes import load_recipe

    resolved = load_recipe(recipe).override(settings)
    folder = prepare_arrays(resolved, out, data_dir, splits)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    click.echo(f"Stored: {len(folder.samples['id'])} images in {out}, {size:,} bytes")


@main.command()
@click.argument("recipe")
@click.option("--out", type=_FOLDER, help="The run's folder.  [default: runs/RECIPE]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe: --set network.filters=64. May be repeated.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Short for --set steps=STEPS."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Take as many steps as fit into this time, measured at the start.",
)
@click.option(
    "--from",
    "start",
    metavar="PRESET|RUN",
    help="Start from the weights of a preset (a name or a folder) or of a run, also "
    "of other landmarks.",
)
@click.option("--resume", is_flag=True, help="Continue the run in that folder.")
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Keep curves and pictures of points for TensorBoard in the run's folder.",
)
@_DATA_DIR
@click.option(
    "--arrays",
    type=_FOLDER,
    help="Train on what `scn-keras datasets arrays` has stored here instead.",
)
@_command
def train(
    recipe: str,
    out: pathlib.Path | None,
    settings: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    start: str | None,
    resume: bool,
    tensorboard: bool,
    data_dir: pathlib.Path | None,
    arrays: pathlib.Path | None,
) -> None:
    """Fit a model by a RECIPE: a name, or a Python file that defines recipe().

    An interrupted run continues with --resume and ends as it would have ended.
    """
    from scn_keras.training.fit import fit
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.run import Run

    if steps is not None and minutes is not None:
        raise click.UsageError("Give --steps or --minutes, not both.")
    if data_dir is not None and arrays is not None:
        raise click.UsageError("Give --data-dir or --arrays, not both.")
    resolved = load_recipe(recipe).override(settings)
    if start is not None:
        resolved = dataclasses.replace(resolved, start=start)
    path = out or pathlib.Path("runs") / resolved.name
    if minutes is not None:
        if resume and (path / "recipe.json").is_file():
            measured = Run(path).recipe  # measured anew it would be another recipe
        else:
            from scn_keras.training.experiments.budget import recipe_within

            measured = recipe_within(minutes, resolved, data_dir, arrays)
            before = "" if measured.coarse is None else f"{measured.coarse.steps} and "
            click.echo(f"{before}{measured.steps} steps fit into {minutes:g} minutes.")
        resolved = resolved.override([f"steps={measured.steps}"])
        if measured.coarse is not None:
            resolved = resolved.override([f"coarse.steps={measured.coarse.steps}"])
    if steps is not None:
        resolved = resolved.override([f"steps={steps}"])
    run = fit(resolved, path, data_dir, resume, tensorboard, arrays)
    click.echo(f"Trained: {run.model_path}")
    click.echo(f"Next: scn-keras evaluate {run.path}")


@main.command()
@click.argument("recipe")
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Into how many parts the patients are divided.",
)
@click.option(
    "--out", type=_FOLDER, help="The runs' folder.  [default: runs/RECIPE_FOLDSfold]"
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe. May be repeated.",
)
@click.option("--resume", is_flag=True, help="Continue in that folder.")
@_DATA_DIR
@_command
def crossval(
    recipe: str,
    folds: int,
    out: pathlib.Path | None,
    settings: tuple[str, ...],
    resume: bool,
    data_dir: pathlib.Path | None,
) -> None:
    """Score every training image of a RECIPE by a model that has not seen it.

    The patients are divided into parts; each is held out of one training. The runs
    can be made an ensemble afterwards.
    """
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.experiments.crossval import crossval as cross_validate
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.report.page import write_report
    from scn_keras.training.run import Run

    resolved = load_recipe(recipe).override(settings)
    path = out or pathlib.Path("runs") / f"{resolved.name}_{folds}fold"
    results = cross_validate(resolved, folds, path, data_dir, resume)
    print_results(results)
    report = write_report(Run(path / "all"), data_dir=data_dir)
    click.echo(f"Report: {report}")
    runs = " ".join(str(path / f"fold{k}") for k in range(folds))
    click.echo(f"Next: scn-keras ensemble {path}_ensemble {runs}")


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_FOLDER)
@click.option("--split", help="The split.  [default: the recipe's test split]")
@click.option(
    "--folder",
    type=_FOLDER,
    help="A folder of your own images with points, as `datasets prepare` takes it for "
    "landmark_folder, in place of the recipe's data set. It need not be prepared.",
)
@click.option(
    "--observer",
    "observers",
    multiple=True,
    help="Whose points are the truth; may be repeated.  [default: each, and the mean]",
)
@click.option("--per-landmark", is_flag=True, help="Print a row a landmark too.")
@click.option(
    "--json",
    "json_path",
    type=_OUT_FILE,
    help="Write all results here as one JSON list, too.",
)
@click.option(
    "--report",
    "report_path",
    type=_OUT_FILE,
    help="Where the report of one run goes.  [default: RUN/report.html]",
)
@_DATA_DIR
@_command
def evaluate(
    runs: tuple[pathlib.Path, ...],
    split: str | None,
    folder: pathlib.Path | None,
    observers: tuple[str, ...],
    per_landmark: bool,
    json_path: pathlib.Path | None,
    report_path: pathlib.Path | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Measure RUNs on held-out images: a table, result files and reports.

    Errors are in millimetres. Where no image has a spacing they are in pixels of the
    images; where some have none, those are named and not scored. Results and report
    of a run are written into its folder.
    """
    from scn_keras.training.evaluation.evaluate import evaluate as evaluate_run
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.report.page import write_report
    from scn_keras.training.run import Run, write_json

    if report_path and len(runs) > 1:
        raise click.UsageError(
            "--report is for one RUN. Of several, each has its report in its folder."
        )
    results, reports = [], []
    for run in [Run(path) for path in runs]:
        results += evaluate_run(run, split, observers or None, data_dir, folder=folder)
        reports.append(
            write_report(run, split, data_dir, folder=folder, path=report_path)
        )
    print_results(results, landmarks=per_landmark)
    if json_path:
        write_json(json_path, results)
        click.echo(f"Results: {json_path}")
    for path, report in zip(runs, reports, strict=True):
        click.echo(f"Results: {path / 'results'}")
        click.echo(f"Report: {report}")


@main.command()
@click.argument("out", metavar="DIR", type=_FOLDER)
@click.argument("runs", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--views",
    is_flag=True,
    help="Take the mean over turned and magnified views of each image; five times "
    "slower.",
)
@_command
def ensemble(out: pathlib.Path, runs: tuple[pathlib.Path, ...], views: bool) -> None:
    """Make one run, in DIR, of several finished RUNS: their heatmaps are averaged.

    It is evaluated, compared and used to predict as any run.
    """
    from scn_keras.training.experiments.ensemble import make_ensemble
    from scn_keras.training.run import Run

    made = make_ensemble([Run(path) for path in runs], out, views)
    click.echo(f"Made: {made.path}, {made.inference}")
    click.echo(f"Next: scn-keras evaluate {made.path}")


@main.command()
@click.argument("run", type=_FOLDER)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Into how many parts the patients are divided.  [default: 4]",
)
@click.option(
    "--crossval",
    type=_FOLDER,
    metavar="FOLDER",
    help="Take the runs of this finished cross-validation of the same recipe, in place "
    "of training the parts.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe for the parts: with --set steps=2000 they "
    "take less time, and radii come out wider. May be repeated.",
)
@_DATA_DIR
@_command
def calibrate(
    run: pathlib.Path,
    folds: int | None,
    crossval: pathlib.Path | None,
    settings: tuple[str, ...],
    data_dir: pathlib.Path | None,
) -> None:
    """Learn how far off the points of a RUN are, and which images it knows.

    Every training image is located by a run of the same recipe that has not seen it.
    From then on evaluate, predict and export say within which radius a point lies with
    90 %, whether a landmark is there, and whether an image is to be trusted. The parts
    are trained into RUN/calibration and can be removed afterwards; what was interrupted
    continues when the command is given again.
    """
    from scn_keras.training.experiments.calibrate import calibrate as calibrate_run
    from scn_keras.training.run import Run

    if crossval is not None and (folds or settings):
        raise click.UsageError(
            "--crossval gives runs that are trained: leave out --folds and --set."
        )
    loaded = Run(run)
    calibrate_run(loaded, folds or 4, crossval, settings, data_dir)
    click.echo(f"Calibrated: {loaded.calibration_path}")
    click.echo(f"Next: scn-keras evaluate {run}")


@main.command()
@click.argument("first", type=_FOLDER)
@click.argument("second", type=_FOLDER)
@click.option("--split", help="The split.  [default: the first recipe's test split]")
@click.option("--per-landmark", is_flag=True, help="Print a row a landmark too.")
@click.option(
    "--json",
    "json_path",
    type=_OUT_FILE,
    help="Write the numbers here as JSON.",
)
@_command
def compare(
    first: pathlib.Path,
    second: pathlib.Path,
    split: str | None,
    per_landmark: bool,
    json_path: pathlib.Path | None,
) -> None:
    """Tell whether the SECOND run is better than the FIRST, image by image.

    Both must have been evaluated on the split. The intervals of the differences are
    bootstrapped over patients, paired. Numbers of unlike protocols are refused.
    """
    from scn_keras.training.evaluation.compare import compare as compare_runs
    from scn_keras.training.evaluation.compare import print_comparison
    from scn_keras.training.run import Run, write_json

    compared = compare_runs(Run(first), Run(second), split)
    print_comparison(compared, (str(first), str(second)), landmarks=per_landmark)
    if json_path:
        write_json(json_path, compared)


@main.command()
@click.argument("model")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=pathlib.Path),
)
@click.option(
    "--spacing",
    nargs=2,
    type=click.FloatRange(min=0, min_open=True),
    metavar="X Y",
    help="Millimetres per pixel, for 2D files that do not say.",
)
@click.option(
    "--json",
    "json_path",
    type=_OUT_FILE,
    help="Write the points here as JSON.",
)
@click.option(
    "--csv",
    "csv_path",
    type=_OUT_FILE,
    help="Write the points here as CSV.",
)
@click.option(
    "--markups", type=_FOLDER, help="Write a .mrk.json a file for 3D Slicer here."
)
@click.option("--overlay", type=_FOLDER, help="Draw the points, one PNG a file, here.")
@click.option(
    "--worst",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the N files with the largest 90 % radii, the largest first, in the mean "
    "over their landmarks; of a model that was not calibrated, with the highest "
    "expected error: a fifth of the width of the heatmap's peak, divided by its score. "
    "In mm, or in px where a file has no spacing.",
)
@_command
def predict(
    model: str,
    files: tuple[pathlib.Path, ...],
    spacing: tuple[float, float] | None,
    json_path: pathlib.Path | None,
    csv_path: pathlib.Path | None,
    markups: pathlib.Path | None,
    overlay: pathlib.Path | None,
    worst: int | None,
) -> None:
    """Find the landmarks in image FILES with a MODEL.

    MODEL is a run, its file model.keras, an exported model, the name or the folder of a
    preset, or the address of a served one: http://localhost:8501/v1/models/NAME. Of a
    folder of FILES every image is taken, also in folders below; one that holds the
    slices of a DICOM series is one image. Points are in pixels of the file (x to the
    right, y down, the first pixel's centre at 0, 0) and, where the spacing is known, in
    millimetres. A file that cannot be read is said and left out; the exit code is then
    1.

    \b
    To correct what a model finds hardest, and train on it:
      scn-keras predict RUN FOLDER --worst 20 --markups DIR

    Then open those images and DIR/*.mrk.json in 3D Slicer, drag the points, save, and
    put images and markups into a folder that landmark_folder reads.
    """
    from rich.console import Console

    from scn_keras.saved_models.predicting import prediction_files

    if "://" in model:
        from scn_keras.saved_models.client.client import predict_served

        results, problems, schema = predict_served(model, files, spacing)
    else:
        from scn_keras.saved_models.predicting.predict import predict as predict_files
        from scn_keras.saved_models.predicting.predict import schema_of

        schema = schema_of(model)
        console = Console(stderr=True)
        # A pipe gets no bar.
        bar = console if console.is_terminal else None
        results, problems = predict_files(model, files, spacing, bar)
    if worst and results:
        results, unit = prediction_files.worst(results, worst)
        prediction_files.print_worst(results, unit, schema.names)
    if json_path:
        prediction_files.write_json(json_path, results, schema.names)
    if csv_path:
        prediction_files.write_csv(csv_path, results, schema.names)
    if markups:
        prediction_files.write_markups(markups, results, schema.names)
    if overlay:
        prediction_files.write_overlays(overlay, results, schema)
    if not (json_path or csv_path or markups or worst):
        prediction_files.print_points(results, schema.names)
    for path in filter(None, (json_path, csv_path, markups, overlay)):
        click.echo(f"Written: {path}")
    for note in (note for result in results for note in result.notes):
        click.echo(f"Note: {note}", err=True)
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        sys.exit(1)


@main.command()
@click.argument("run", type=_FOLDER)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("files", nargs=-1, type=click.Path(path_type=pathlib.Path))
@click.option("--name", help="The model's name.  [default: the recipe's]")
@click.option("--version", type=click.IntRange(min=1), help="[default: the next]")
@click.option(
    "--format",
    type=click.Choice(["savedmodel", "onnx", "litert", "openvino"]),
    default="savedmodel",
    show_default=True,
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "int8"]),
    default="float32",
    show_default=True,
    help="bfloat16 is for savedmodel, int8 for onnx and litert. What it costs is "
    "measured on held-out images.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Compare with the run, and with other runtimes, on FILES or on an image that "
    "is made up. Of an exported version in place of DIR, that one.",
)
@click.option("--spacing", nargs=2, type=float, help="Of FILES: mm per pixel, x and y.")
@_DATA_DIR
@_command
def export(
    run: pathlib.Path,
    folder: pathlib.Path,
    files: tuple[pathlib.Path, ...],
    name: str | None,
    version: int | None,
    format: str,
    precision: str,
    check: bool,
    spacing: tuple[float, float] | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Export a RUN or a preset as DIR/NAME/VERSION, a SavedModel for TF Serving.

    It takes the bytes of PNG, JPEG or BMP files and their spacing, or volumes, and
    returns points in pixels and millimetres, and how sure they are.

    \b
      scn-keras export RUN DIR --check FILE...      export, and compare
      scn-keras export RUN DIR/NAME/1 --check       compare what is exported

    The exit code of a comparison that does not hold is 1.
    """
    if files and not check:
        raise click.UsageError("FILES are what to compare on: add --check.")
    from scn_keras.models import preset_path
    from scn_keras.saved_models.exporting.export import beside
    from scn_keras.saved_models.exporting.export import export as export_run
    from scn_keras.training.run import Run

    loaded = Run(preset_path(run))
    path = folder
    if not (check and beside(folder, "export.json").is_file()):
        path = export_run(loaded, folder, name, version, format, precision, data_dir)
        click.echo(f"Exported: {path}")
    if check:
        from scn_keras.saved_models.exporting import parity

        rows = parity.check(loaded, path, files, spacing)
        parity.print_parity(rows)
        if not all(row.kept for row in rows):
            sys.exit(1)


@main.command()
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; 0.0.0.0 for all of this machine.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many waiting images go through the model together; 1 for none.",
)
@_command
def serve(model: pathlib.Path, host: str, port: int, batch_size: int) -> None:
    """Serve a MODEL on this machine, with a page to try it.

    MODEL is a run, the name or the folder of a preset, or an exported model. It speaks
    TF Serving's REST dialect, for development and teaching; in production the
    exported folder goes into TF Serving.
    """
    try:
        from scn_keras.saved_models.server.server import serve as serve_model
    except ModuleNotFoundError as error:
        raise ImportError(
            f"A server needs {error.name}: pip install 'scn-keras[serve]'"
        ) from error
    serve_model(model, host, port, batch_size, click.echo)


@main.command()
@click.argument("run", type=_FOLDER)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--license",
    metavar="TEXT",
    help="Under which terms the weights may be used.  [default: the data set's word]",
)
@_DATA_DIR
@_command
def preset(
    run: pathlib.Path,
    folder: pathlib.Path,
    license: str | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Make a preset of an evaluated RUN: a model to give away, with its model card.

    DIR then holds the weights in half precision, what is needed to use them, and how
    good they are by the results of the run. `scn_keras.models.from_preset`, predict,
    export and train --from take it.
    """
    from scn_keras.saved_models.publishing.make_preset import make_preset
    from scn_keras.training.run import Run

    made = make_preset(Run(run), folder, license, data_dir)
    half = made["half_precision"]
    click.echo(f"Made: {folder}, {made['size_mb']} MB")
    click.echo(
        f"Half precision moves the points of {half['n_images']} images by "
        f"{half['mean_px']:.2g} px in the mean, {half['max_px']:.2g} px at most."
    )
    click.echo(f"Terms of use: {made['license']}")
    click.echo(f"Next: read {folder / 'model_card.md'}")


@main.command()
@_command
def networks() -> None:
    """Build every published network and compare its parameters with the paper's."""
    from scn_keras.network_table import print_networks

    print_networks()


@main.command()
@click.option(
    "--out",
    type=_FOLDER,
    default=pathlib.Path("demo"),
    show_default=True,
    help="Where everything goes.",
)
@_command
def demo(out: pathlib.Path) -> None:
    """Do the whole path on synthetic hands: prepare, fit, evaluate, export, predict."""
    from scn_keras.saved_models.demo import demo as run_demo

    run_demo(out)


if __name__ == "__main__":
    main()
