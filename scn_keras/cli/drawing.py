"""The command `scn-keras draw`."""

import difflib
import os
import pathlib

import click

from scn_keras.cli._catalog import presets, recipe_files
from scn_keras.cli._command import command_function
from scn_keras.cli._options import OUT_FILE, require_folders, settings_option


def _known(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuses a name that is no recipe, preset, file or folder."""
    del context, parameter
    names = [*recipe_files(), *presets()]
    if value in names or os.path.exists(value):
        return value
    similar = difflib.get_close_matches(value, names)
    hint = f"Did you mean {' or '.join(dict.fromkeys(similar))}? " if similar else ""
    raise click.BadParameter(
        f"There is no recipe, run, preset or file {value!r}. {hint}`scn-keras recipes` "
        "and `scn-keras presets` list the names."
    )


@click.command()
@click.argument("name", callback=_known)
@click.option(
    "--out",
    type=OUT_FILE,
    help="Write the drawing to this file.  [default: NAME.svg]",
)
@settings_option("Change a setting of the recipe, as in `train`. May be repeated.")
@click.option(
    "--landmarks",
    type=click.IntRange(min=1),
    help="The number of landmarks, for recipes of data sets in folders.",
)
@click.option("--coarse", is_flag=True, help="Draw the network of the coarse stage.")
@command_function
def draw(
    name: str,
    out: pathlib.Path | None,
    settings: tuple[str, ...],
    landmarks: int | None,
    coarse: bool,
) -> None:
    """Draw the layers of a network as an SVG file.

    NAME is a recipe (a name of `scn-keras recipes` or a Python file), a run, a .keras
    file of a run or a preset. The drawing is made from the built network: sizes,
    numbers of channels, kernels and receptive fields are right for all settings. Point
    at a layer in a browser to see its name, output and parameters.

    \b
      scn-keras draw cephalogram_fast
      scn-keras draw hand --set network.levels=5 --out deeper.svg
    """
    from scn_keras.files.atomic_write import write_text
    from scn_keras.pictures import draw_network
    from scn_keras.saved_models.explaining.drawn_network import network_to_draw

    out = out or pathlib.Path(f"{pathlib.Path(name).stem}.svg")
    if out.suffix.lower() != ".svg":
        raise click.UsageError(
            f"The file of a drawing must end in .svg. Received: {out}"
        )
    require_folders(out)
    if out.exists():
        raise FileExistsError(f"{out} exists. Choose another file with --out.")
    drawn = network_to_draw(name, settings, landmarks, coarse)
    write_text(out, draw_network(*drawn))
    click.echo(f"Written: {out}")
