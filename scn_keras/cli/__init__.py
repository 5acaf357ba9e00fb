"""The command line `scn-keras`.

The module of a command is imported when the command runs or its help is shown. It
imports what the command needs only when the command runs: `--help` answers at once.
"""

import warnings

import click

from scn_keras import __version__
from scn_keras.cli._lazy_group import LazyGroup


@click.group(
    cls=LazyGroup,
    modules={
        "adapt": "scn_keras.cli.adapting",
        "calibrate": "scn_keras.cli.evaluation",
        "compare": "scn_keras.cli.evaluation",
        "crossval": "scn_keras.cli.training",
        "datasets": "scn_keras.cli.datasets",
        "demo": "scn_keras.cli.demo",
        "draw": "scn_keras.cli.drawing",
        "drift": "scn_keras.cli.monitoring",
        "ensemble": "scn_keras.cli.evaluation",
        "evaluate": "scn_keras.cli.evaluation",
        "explain": "scn_keras.cli.explaining",
        "export": "scn_keras.cli.exporting",
        "networks": "scn_keras.cli.networks",
        "predict": "scn_keras.cli.predicting",
        "preset": "scn_keras.cli.publishing",
        "presets": "scn_keras.cli.listing",
        "recipes": "scn_keras.cli.listing",
        "samples": "scn_keras.cli.samples",
        "serve": "scn_keras.cli.serving",
        "train": "scn_keras.cli.training",
        "turn": "scn_keras.cli.turning",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="scn-keras")
def main() -> None:
    """Anatomical landmark localisation: from image files to millimetres.

    \b
    The usual order:
      scn-keras recipes                 the settings of trainings, by name
      scn-keras datasets prepare NAME   check and store a data set's files once
      scn-keras train RECIPE            train a model, in the folder of a run
      scn-keras evaluate RUN            errors in millimetres, and a report
      scn-keras compare RUN RUN         the difference of two runs, with intervals
      scn-keras calibrate RUN           the uncertainty of each predicted point
      scn-keras adapt RUN --folder DIR  the marks of another clinic, from few images
      scn-keras predict RUN FILE...     landmarks of your own images
      scn-keras export RUN DIR          a SavedModel for TF Serving
    `scn-keras demo` runs these steps on synthetic hands, in a few minutes.
    """
    # Like errors, warnings are one sentence, without the source line that raised them.
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
