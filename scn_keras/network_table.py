"""The table of the published networks that `scn-keras networks` prints."""

import rich.console
from rich import box
from rich import table as rich_table

from scn_keras.models import PUBLISHED_NETWORKS, published_parameter_counts


def print_networks(console: rich.console.Console | None = None) -> None:
    """Prints the parameter counts of all published networks and those of their papers.

    Every network is built to count its parameters.

    Args:
        console: `rich.console.Console`, prints the table. Defaults to the standard
            output.

    Raises:
        RuntimeError: If the number of parameters of a network is not the published one.

    Example:

    ```python
    print_networks()
    ```
    """
    # No borders or padding at the edges, so that the table fits into 80 columns.
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
        raise RuntimeError(
            "The number of parameters must be the published one. Received other "
            f"numbers for: {', '.join(wrong)}"
        )


def _size(grid):
    return " x ".join(map(str, grid))
