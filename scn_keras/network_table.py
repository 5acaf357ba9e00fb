"""The published networks as a table in the terminal."""

import rich.console
from rich import box
from rich import table as rich_table

from scn_keras.models import PUBLISHED_NETWORKS, published_parameter_counts


def print_networks(console: rich.console.Console | None = None) -> None:
    """Builds every published network and prints its parameters beside the published.

    Args:
        console: `rich.console.Console`.

    Raises:
        RuntimeError: If a count is not the published one.
    """
    # As narrow as it goes: all of it fits into 80 columns.
    table = rich_table.Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("counted", "published"):
        table.add_column(name, justify="right", no_wrap=True)
    counts = published_parameter_counts()
    for network in PUBLISHED_NETWORKS:
        table.add_row(
            f"{network.name}\n[dim]{network.source}; {_size(network.grid)}",
            f"{counts[network.name]:,}",
            f"{network.parameters:,}",
        )
    (console or rich.console.Console()).print(table)
    wrong = [n.name for n in PUBLISHED_NETWORKS if counts[n.name] != n.parameters]
    if wrong:
        raise RuntimeError(f"These do not have as many as published: {wrong}")


def _size(grid):
    return " x ".join(map(str, grid))
