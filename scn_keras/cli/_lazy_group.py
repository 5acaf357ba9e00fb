import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is used.

    Running a command or showing its help imports the module of that command. The help
    of the group imports the modules of all commands, because it shows the first
    sentence of each. Modules of commands must therefore be light: they import heavy
    packages inside the command functions.

    Args:
        modules: Mapping of str to str, from the name of each command to the full name
            of its module. The module defines the command under the same name.
        **kwargs: Other arguments of `click.Group`.

    Example:

    >>> group = LazyGroup("tools", modules={"serve": "scn_keras.cli.serving"})
    >>> context = click.Context(group)
    >>> group.list_commands(context)
    ['serve']
    >>> group.get_command(context, "serve")
    <Command serve>
    """

    def __init__(
        self, name: str | None = None, *, modules: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        self.modules = dict(modules)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands in alphabetical order."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command of this name, or None if there is no such command."""
        if cmd_name not in self.modules:
            return None
        return getattr(importlib.import_module(self.modules[cmd_name]), cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the name of a command, the command and the remaining arguments.

        Raises:
            click.UsageError: If there is no such command. The message lists similar
                names. Click itself suggests names since version 8.4, but only those of
                commands that are loaded.
        """
        name, commands = args[0], self.list_commands(ctx)
        is_option = name.startswith("-")
        if name not in commands and not is_option and not ctx.resilient_parsing:
            ctx.fail(_no_such_command(name, commands))
        return super().resolve_command(ctx, args)


def _no_such_command(name: str, commands: Sequence[str]) -> str:
    """Returns the error message in the words of Click 8.4."""
    message = f"No such command {name!r}."
    similar = sorted(map(repr, difflib.get_close_matches(name, commands)))
    if len(similar) == 1:
        return f"{message} Did you mean {similar[0]}?"
    if similar:
        return f"{message} (Did you mean one of: {', '.join(similar)}?)"
    return message
