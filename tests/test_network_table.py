import dataclasses

import pytest
import rich.console
from click.testing import CliRunner

from scn_keras import network_table
from scn_keras.cli import main
from scn_keras.models import PUBLISHED_NETWORKS


def test_the_command_prints_every_network_and_its_counts():
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["networks"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    names, sources = lines[2::2], lines[3::2]
    assert len(names) == len(sources) == len(PUBLISHED_NETWORKS) == 12
    for name, source, network in zip(names, sources, PUBLISHED_NETWORKS, strict=True):
        assert name.startswith(network.name)
        assert source.startswith(network.source)
    assert names[2].split()[-2:] == ["5,326,196", "5,326,196"]
    assert sources[2].strip().endswith("; 192 x 96 x 96")
    assert all(name.split()[-1] == name.split()[-2] for name in names)


def test_another_count_than_the_published_is_an_error(monkeypatch):
    wrong = dataclasses.replace(PUBLISHED_NETWORKS[-2], parameters=1)
    monkeypatch.setattr(network_table, "PUBLISHED_NETWORKS", [wrong])
    monkeypatch.setattr(
        network_table, "published_parameter_counts", lambda: {wrong.name: 2_056_741}
    )
    console = rich.console.Console(quiet=True)
    with pytest.raises(RuntimeError, match="ConvolutionalNet downsampling hand 2D"):
        network_table.print_networks(console)
