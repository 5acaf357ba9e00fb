"""The commands `scn-keras recipes` and `scn-keras presets`."""

import click

from scn_keras.cli import _catalog
from scn_keras.cli._columns import print_columns


def _known_if_given(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    return value and _catalog.known_recipe(context, parameter, value)


@click.command()
@click.argument("name", required=False, callback=_known_if_given)
def recipes(name: str | None) -> None:
    """List the recipes, or describe the one of this NAME.

    The description has the data, the commands and, where it was measured, the expected
    result.
    """
    files = _catalog.recipe_files()
    if name in files:
        click.echo(_catalog.docstring(files[name]))
        return
    for recipe, file in files.items():
        first_paragraph = _catalog.docstring(file).partition("\n\n")[0]
        print_columns(recipe, " ".join(first_paragraph.split()))
    click.echo(
        "\n`scn-keras recipes NAME` describes one, `scn-keras train NAME` uses it."
    )


@click.command()
def presets() -> None:
    """List the trained models that are installed.

    Others are in the folder saved_models/presets of the repository. A preset is used by
    its name or its folder.
    """
    found = _catalog.presets()
    for name, about in found.items():
        measured = [
            f"{result['mre_mm']:.2f} mm on {result['n_images']} images of "
            f"{result['protocol']['split']}."
            for result in about["results"]
            if result["protocol"]["truth"] in (None, "mean")
            and result["protocol"]["split"] != "held_out"
        ]
        size = f"{about['parameter_count']:,} parameters, {about['size_mb']} MB."
        print_columns(name, " ".join([size, *measured[:1], about["limits"]]).strip())
        print_columns("", about["license"])
    click.echo("\n`scn-keras predict NAME FILE...` uses one.")
