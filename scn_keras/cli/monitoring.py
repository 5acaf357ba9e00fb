"""The command `scn-keras drift`."""

import pathlib
import sys
from typing import TYPE_CHECKING

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import OUT_FILE, json_option, require_folders

if TYPE_CHECKING:
    from scn_keras.inference.calibration import Calibration
    from scn_keras.saved_models.monitoring.answers import Answers

_PATHS = click.Path(exists=True, path_type=pathlib.Path)


@click.command()
@click.argument("answers", nargs=-1, required=True, type=_PATHS)
@click.option(
    "--baseline",
    multiple=True,
    metavar="ANSWERS",
    type=_PATHS,
    help="Compare with these earlier answers of the same model. May be repeated.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="Compare with the calibration of this model: a run, its file model.keras, a "
    "preset or an exported model.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0.0, 0.5, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="The probability of a false alarm, of all tests together.",
)
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    metavar="N",
    help="The number of successive images in a point of the control chart.",
)
@click.option(
    "--figure",
    type=OUT_FILE,
    help="Draw the control chart to this file: .png or .svg.",
)
@json_option("Write all numbers to this file as JSON.")
@command_function
def drift(
    answers: tuple[pathlib.Path, ...],
    baseline: tuple[pathlib.Path, ...],
    model: str | None,
    alpha: float,
    batch_size: int,
    figure: pathlib.Path | None,
    json_path: pathlib.Path | None,
) -> None:
    """Test whether the ANSWERS of a model have changed.

    Images are not needed. ANSWERS are CSV or JSON files of `scn-keras predict`,
    stored JSON answers of a served model, files with one such answer on each line,
    or folders of these, in the order of time. Scores, radii, novelty and `trusted`
    are compared with those of --baseline, or with the calibration of --model.

    The exit code is 0 if there is no drift, 1 if there is, and 2 for bad input.

    \b
    For example, the answers of December with those of the first month:
      scn-keras predict RUN FIRST --json first.json
      scn-keras drift december.json --baseline first.json --figure drift.png
    """
    if bool(baseline) == (model is not None):
        raise click.UsageError(
            "Give what the answers are compared with, either --baseline ANSWERS or "
            "--model MODEL."
        )
    if figure is not None and figure.suffix.lower() not in (".png", ".svg"):
        raise click.UsageError(
            f"The figure must end in .png or .svg. Received: {figure}"
        )
    require_folders(json_path, figure)
    try:
        result, names = _compare(answers, baseline, model, alpha, batch_size)
    except (ValueError, OSError) as error:
        # Exit code 1 is that of a drift.
        raise click.UsageError(str(error)) from error
    _show(result, names, figure, json_path)
    if result["drift"]:
        sys.exit(1)


def _compare(answers, baseline, model, alpha, batch_size):
    from scn_keras.saved_models.monitoring.find_drift import find_drift
    from scn_keras.saved_models.monitoring.read_answers import read_answers

    new = read_answers(answers)
    reference: Answers | Calibration
    if model is None:
        reference = read_answers(baseline)
    else:
        from scn_keras.saved_models.monitoring.calibration_of import calibration_of

        reference = calibration_of(model)
    return find_drift(new, reference, alpha, batch_size), new.names


def _show(result, names, figure, json_path):
    from scn_keras.saved_models.monitoring.drift_table import print_drift
    from scn_keras.training.run import write_json

    print_drift(result, names)
    if figure is not None:
        from scn_keras.files.atomic_write import write_bytes
        from scn_keras.pictures.figure_files import to_png, to_svg
        from scn_keras.saved_models.monitoring.drift_figure import drift_figure

        drawing = drift_figure(result)
        is_svg = figure.suffix.lower() == ".svg"
        write_bytes(figure, to_svg(drawing) if is_svg else to_png(drawing))
        click.echo(f"Written: {figure}")
    if json_path is not None:
        write_json(json_path, result)
        click.echo(f"Written: {json_path}")
