"""The published networks as a table in the terminal."""

import rich.console
from rich import table as rich_table

from scn_keras.models import PUBLISHED_NETWORKS, published_parameter_counts


def print_networks(console: rich.console.Console | None = None) -> None:
    """Builds every published network and prints what it counts and what was published.

    Args:
        console: `rich.console.Console`.

    Raises:
        RuntimeError: If a count is not the published one.
    """
    table = rich_table.Table()
    table.add_column("Network")
    table.add_column("Source")
    for name in ("Landmarks", "Grid ((z,) y, x)", "Parameters", "Published"):
        table.add_column(name, justify="right")
    counts = published_parameter_counts()
    for network in PUBLISHED_NETWORKS:
        table.add_row(
            network.name,
            network.source,
            str(network.landmarks),
            " x ".join(map(str, network.grid)),
            f"{counts[network.name]:,}",
            f"{network.parameters:,}",
        )
    (console or rich.console.Console()).print(table)
    wrong = [n.name for n in PUBLISHED_NETWORKS if counts[n.name] != n.parameters]
    if wrong:
        raise RuntimeError(f"These do not have as many as published: {wrong}")
