"""The command `scn-keras demo`."""

import pathlib

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import FOLDER


@click.command()
@click.option(
    "--out",
    type=FOLDER,
    default=pathlib.Path("demo"),
    show_default=True,
    help="Folder of all results.",
)
@command_function
def demo(out: pathlib.Path) -> None:
    """Run all steps on synthetic hands, from data to predictions.

    The steps are prepare, train, evaluate, export and predict.
    """
    from scn_keras.saved_models.demo import demo as run_demo

    run_demo(out)
