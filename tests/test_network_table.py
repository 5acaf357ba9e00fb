import dataclasses

import pytest
import rich.console
from click.testing import CliRunner

from scn_keras import network_table
from scn_keras.cli import main
from scn_keras.models import PUBLISHED_NETWORKS


def test_the_command_prints_every_network_and_its_counts():
    result = CliRunner(env={"COLUMNS": "180"}).invoke(main, ["networks"])
    assert result.exit_code == 0, result.output
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
        for line in result.output.splitlines()
        if line.startswith("│")
    }
    assert len(rows) == len(PUBLISHED_NETWORKS) == 12
    assert rows["SpatialConfigurationNet spine 3D (26)"] == [
        "Payer et al., Medical Image Analysis 2019",
        "26",
        "192 x 96 x 96",
        "5,326,196",
        "5,326,196",
    ]
    assert all(cells[-1] == cells[-2] for cells in rows.values())


def test_another_count_than_the_published_is_an_error(monkeypatch):
    wrong = dataclasses.replace(PUBLISHED_NETWORKS[-2], parameters=1)
    monkeypatch.setattr(network_table, "PUBLISHED_NETWORKS", [wrong])
    monkeypatch.setattr(
        network_table, "published_parameter_counts", lambda: {wrong.name: 2_056_741}
    )
    console = rich.console.Console(quiet=True)
    with pytest.raises(RuntimeError, match="ConvolutionalNet downsampling hand 2D"):
        network_table.print_networks(console)
