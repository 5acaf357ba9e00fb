import json

import pytest
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.saved_models.export_folder import landmark_names
from scn_keras.saved_models.exporting import parity
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.parity import check


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_broken_bound_is_said_with_exit_code_1(
    call, blob_run, blob_model, monkeypatch
):
    monkeypatch.setattr(parity, "BOUND_PX", -1.0)
    monkeypatch.setattr(parity, "FILES", ())  # the SavedModel alone
    result = call("export", blob_run.path, blob_model, "--check")
    assert result.exit_code == 1, result.output
    assert "ABOVE BOUND" in result.output
    assert "result" in result.output
    assert "Exported" not in result.output


def test_files_without_a_check_are_refused(call, blob_run, tmp_path):
    result = call("export", blob_run.path, tmp_path, "film.png")
    assert result.exit_code == 2
    assert "add --check" in result.output


def test_onnx_of_8_bits_says_what_it_costs(tiny_run, tiny_data, tmp_path):
    plain = export(tiny_run, tmp_path, format="onnx")
    assert {path.name for path in plain.iterdir()} == {
        *("export.json", "landmarks.json", "model_card.md", "model.onnx"),
        "SHA256SUMS",
    }
    assert landmark_names(plain) == list(tiny_run.schema.names)
    assert [row.kept for row in check(tiny_run, plain)] == [True, True]
    small = export(
        tiny_run, tmp_path, format="onnx", precision="int8", data_dir=tiny_data
    )
    assert small.parent.name == "tiny_onnx_int8"
    lost = json.loads((small / "export.json").read_text())["accuracy"]
    assert lost["n_images"] == 2 and lost["moved"] > 0.0
    assert "In int8, on the 2 images" in (small / "model_card.md").read_text("utf-8")
    (_, row) = check(tiny_run, small)
    assert (row.runtime, row.unit) == ("ONNX, int8", "grid px")
    assert row.difference > 0.0


def test_litert_of_8_bits_is_smaller(tiny_run, tiny_data, tmp_path):
    sizes = []
    for precision in ("float32", "int8"):
        path = export(
            tiny_run, tmp_path, format="litert", precision=precision, data_dir=tiny_data
        )
        sizes.append((path / "model.tflite").stat().st_size)
    assert sizes[1] < sizes[0]
    assert [row.runtime for row in check(tiny_run, path)] == ["Keras", "LiteRT, int8"]


def test_files_that_cannot_be_read_are_named_and_the_others_compared(
    call, blob_run, blob_model, png, tmp_path, monkeypatch
):
    monkeypatch.setattr(parity, "FILES", ())  # the SavedModel alone
    cut, absent = tmp_path / "cut.png", tmp_path / "absent.png"
    cut.write_bytes(png.read_bytes()[:200])
    result = call("export", blob_run.path, blob_model, png, cut, absent, "--check")
    assert result.exit_code == 1
    assert result.output.count("within bound") == 2  # Keras and the SavedModel
    assert "not compared:" in result.output
    assert "cut.png" in result.output and "absent.png" in result.output
    result = call("export", blob_run.path, blob_model, cut, "--check")
    assert result.exit_code == 1
    assert "None of the files can be read" in result.output
    with pytest.raises(ValueError, match=r"cut\.png"):
        check(blob_run, blob_model, [png, cut])
