"""Names and texts in two columns of the terminal."""

import shutil

import click

_NAME, _GAP = 28, 2
_MAX_WIDTH = 100


def print_columns(name: str, text: str) -> None:
    """Prints a name and a text, which is wrapped beside it.

    Args:
        name: Str; empty for a further text of the name before. A name that is longer
            than its column is printed on a line of its own.
        text: Str.
    """
    if len(name) > _NAME:
        click.echo(name)
        name = ""
    indent = " " * (_NAME + _GAP)
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    click.echo(
        click.wrap_text(
            text,
            max(width, len(indent) + 30),
            initial_indent=f"{name:<{_NAME}}{' ' * _GAP}",
            subsequent_indent=indent,
        )
    )
