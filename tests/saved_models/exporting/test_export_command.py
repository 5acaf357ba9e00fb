import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from scn_keras.cli import main


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_export_and_check(call, blob_run, tmp_path, draw_blob):
    image = np.uint8(draw_blob((300, 200), (70.0, 180.0), (11.0, 11.0)) * 255)
    path = tmp_path / "blob.png"
    path.write_bytes(tf.io.encode_png(image[..., None]).numpy())
    result = call("export", blob_run.path, tmp_path / "models", "--check", path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "models" / "blob" / "1" / "saved_model.pb").is_file()
    assert "SavedModel" in result.output and "0.01 px" in result.output
    assert "ABOVE BOUND" not in result.output
