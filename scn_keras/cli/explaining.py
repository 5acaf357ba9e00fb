"""The command `scn-keras explain`."""

import pathlib

import click

from scn_keras.cli._catalog import known_model
from scn_keras.cli._command import command_function
from scn_keras.cli._options import OUT_FILE, require_folders


@click.command()
@click.argument("model", callback=known_model)
@click.argument("image", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option(
    "--landmark",
    "landmarks",
    multiple=True,
    metavar="NAME",
    help="Show this landmark in detail. May be repeated.  [default: the three least "
    "certain]",
)
@click.option(
    "--spacing",
    nargs=2,
    type=click.FloatRange(min=0, min_open=True),
    metavar="X Y",
    help="Millimetres per pixel, for a 2D file that does not contain a spacing.  "
    "[default: `spacing` in landmarks.toml beside the image, if there is one]",
)
@click.option(
    "--out",
    type=OUT_FILE,
    help="Write the page to this file.  [default: NAME_explained.html of the image]",
)
@command_function
def explain(
    model: str,
    image: pathlib.Path,
    landmarks: tuple[str, ...],
    spacing: tuple[float, float] | None,
    out: pathlib.Path | None,
) -> None:
    """Show every stage of a prediction, from an IMAGE to millimetres.

    MODEL is a run, its file model.keras, or the name or the folder of a preset. The
    page has the image on the network's grid, a drawing of the network, features, the
    three heatmaps (local appearance, spatial configuration, product), what the spatial
    configuration of each landmark depends on, the fit of the peak, and the points with
    their uncertainty. It contains its pictures and loads nothing from other hosts. A
    PNG beside it has all pictures in one.

    To find what a landmark depends on, each landmark is occluded in turn: its local
    appearance is set to zero at the entrance of the spatial configuration. Networks
    without these stages are shown with the stages that they have.

    \b
      scn-keras samples
      scn-keras explain synthetic_hand samples/hand_1.png --landmark "thumb tip"
    """
    from rich.console import Console

    from scn_keras.files.find_images import stem_of
    from scn_keras.saved_models.explaining.explanation import explain as explain_image
    from scn_keras.saved_models.explaining.page import write_explanation

    out = out or pathlib.Path(f"{stem_of(image.name)}_explained.html")
    if out.suffix.lower() != ".html":
        raise click.UsageError(f"The page must end in .html. Received: {out}")
    require_folders(out)
    for path in (out, out.with_suffix(".png")):
        if path.exists():
            raise FileExistsError(f"{path} exists. Choose another file with --out.")
    if "://" in model:
        raise click.UsageError(
            "An explanation requires the layers of the network, which a served model "
            "does not provide. Give the run or the preset."
        )
    console = Console(stderr=True)
    progress_console = console if console.is_terminal else None
    explanation = explain_image(model, image, landmarks, spacing, progress_console)
    paths = write_explanation(explanation, out)
    for note in explanation.result.notes:
        click.echo(f"Note: {note}", err=True)
    for path in paths:
        click.echo(f"Written: {path}")
