"""The command `scn-keras networks`."""

import click

from scn_keras.cli._command import command_function


@click.command()
@command_function
def networks() -> None:
    """Check the parameter counts of all published networks.

    Every network is built, and its number of parameters is printed beside the number
    of its paper. The exit code is 1 if two of them differ.
    """
    from scn_keras.network_table import print_networks

    print_networks()
