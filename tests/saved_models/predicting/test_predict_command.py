import pytest
from click.testing import CliRunner

from scn_keras.cli import main


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_predict_prints_a_table(call, blob_run, png):
    result = call("predict", blob_run.path, png, "--spacing", "0.1", "0.1")
    assert result.exit_code == 0, result.output
    assert "bright" in result.output and "dark" in result.output


def test_predict_writes_files_and_fails_for_the_bad_one(call, blob_run, png, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff cut off")
    out = tmp_path / "points.csv"
    result = call("predict", blob_run.path, png, bad, "--csv", out)
    assert result.exit_code == 1
    assert "bad.jpg is damaged" in result.output
    assert len(out.read_text().splitlines()) == 3  # header and two landmarks
