import zipfile

import pytest

from scn_keras.models import preset_path
from scn_keras.training._model_file import embed_files, extract_files
from scn_keras.training.run import Run


@pytest.mark.parametrize("stage", ["preset", "run"])
def test_the_model_of_the_coarse_stage_is_embedded(stage, tmp_path):
    source = preset_path("mouse_skull")
    folder = tmp_path / "run"
    (folder / "coarse").mkdir(parents=True)
    for name in ("recipe.json", "landmarks.json", "shape.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    for file in (source / "coarse").iterdir():
        (folder / "coarse" / file.name).write_bytes(file.read_bytes())
    if stage == "run":
        (folder / "coarse" / "config.json").unlink()
        (folder / "coarse" / "model.weights.h5").rename(
            folder / "coarse" / "model.keras"
        )
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(model, "w") as archive:
        archive.write(source / "config.json", "config.json")
        archive.write(source / "model.weights.h5", "model.weights.h5")
    embed_files(folder, model)
    coarse = Run(extract_files(model, tmp_path / "extracted")).coarse
    assert coarse.is_preset == (stage == "preset")
    # The digests of the training images are those of the run.
    expected = {file.name for file in (folder / "coarse").iterdir()}
    expected.remove("used_images.json")
    assert {file.name for file in coarse.path.iterdir()} == expected
    if stage == "preset":
        assert coarse.weights_digest() == Run(source).coarse.weights_digest()
