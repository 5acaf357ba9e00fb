"""The command `scn-keras adapt`."""

import pathlib

import click

from scn_keras.cli._catalog import known_model
from scn_keras.cli._command import command_function
from scn_keras.cli._next_command import next_command
from scn_keras.cli._options import FOLDER


@click.command()
@click.argument("run", callback=known_model)
@click.option(
    "--folder",
    type=FOLDER,
    help="Folder of a few images with points, in the layout that `datasets prepare` "
    "reads for landmark_folder. It need not be prepared.",
)
@click.option("--split", help="Use this split of the folder only.  [default: all]")
@click.option(
    "--out",
    type=FOLDER,
    metavar="DIRECTORY",
    help="Folder of the new run.  [default: runs/NAME_FOLDER]",
)
@click.option(
    "--undo",
    is_flag=True,
    help="Remove the offsets from RUN, an adapted run, and restore its calibration.",
)
@command_function
def adapt(
    run: str,
    folder: pathlib.Path | None,
    split: str | None,
    out: pathlib.Path | None,
    undo: bool,
) -> None:
    """Adapt a RUN to the marks of another clinic.

    Other observers mark some landmarks elsewhere in every image, for example 4 mm
    lower. The constant offset of each landmark is estimated from 3 to 20 of their
    images and added to all points of a new run, in evaluate, predict, export and serve.
    A landmark without evidence of an offset stays. Radii are computed anew from these
    images, together with the calibration before. RUN is a run, or the name or folder
    of a preset. It remains as it is.

    \b
      scn-keras adapt cephalogram --folder our_films --out runs/ours
      scn-keras evaluate runs/ours --folder other_films_of_ours
    """
    from scn_keras.training.adaptation.adapt import adapt as adapt_run
    from scn_keras.training.adaptation.adapted_run import remove_offsets
    from scn_keras.training.run import Run

    if undo:
        if folder or split or out:
            raise click.UsageError("--undo takes a RUN only, without other options.")
        remove_offsets(Run(run))
        click.echo(f"{run} has no offsets any more.")
        return
    if folder is None:
        raise click.UsageError("Give the folder of the images: --folder FOLDER.")
    if out is None:
        name = pathlib.Path(run).resolve().name
        out = pathlib.Path("runs") / f"{name}_{folder.resolve().name}"
    adapted = adapt_run(run, folder, out, split)
    click.echo(f"Adapted: {adapted.path}")
    command = ["evaluate", adapted.path, "--folder", "OTHER_IMAGES"]
    click.echo(next_command(command, adapted.recipe))
