"""The command `scn-keras preset`."""

import pathlib

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import DATA_DIR, FOLDER


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--license",
    metavar="TEXT",
    help="Terms of use of the weights.  [default: those of the data set]",
)
@DATA_DIR
@command_function
def preset(
    run: pathlib.Path,
    folder: pathlib.Path,
    license: str | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Create a preset, a model to share, from an evaluated RUN.

    DIR contains the weights in half precision, the files that are needed to use them,
    and a model card with the results of the run. predict, export, train --from and
    `scn_keras.models.from_preset` accept a preset.
    """
    from scn_keras.saved_models.publishing.make_preset import make_preset
    from scn_keras.training.run import Run

    metadata = make_preset(Run(run), folder, license, data_dir)
    half = metadata["half_precision"]
    click.echo(f"Made: {folder}, {metadata['size_mb']} MB")
    click.echo(
        f"Half precision moves the points of {half['n_images']} images by "
        f"{half['mean_px']:.2g} px on average, {half['max_px']:.2g} px at most."
    )
    click.echo(f"Terms of use: {metadata['license']}")
    click.echo(f"Next: read {folder / 'model_card.md'}")
