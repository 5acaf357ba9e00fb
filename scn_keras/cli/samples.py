"""The command `scn-keras samples`."""

import pathlib
import shlex

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import FOLDER


@click.command()
@click.argument("folder", type=FOLDER, default=pathlib.Path("samples"))
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of images.",
)
@command_function
def samples(folder: pathlib.Path, images: int) -> None:
    """Write sample images with points to a FOLDER.

    They are synthetic radiographs of hands, drawn here, and free to use. The folder is
    as `scn-keras datasets prepare landmark_folder` reads it.  [default: samples]
    """
    from scn_keras.datasets.synthetic_hand.sample_files import write_sample_files

    for path in write_sample_files(folder, images):
        click.echo(f"Written: {path}")
    click.echo(f"Written: {folder / 'points.csv'}")
    overlays = ["--overlay", f"{folder}_overlays"]
    words = ["scn-keras", "predict", "synthetic_hand", str(folder), *overlays]
    click.echo(f"Next: {shlex.join(words)}")
