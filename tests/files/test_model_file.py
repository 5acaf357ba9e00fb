import io
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from scn_keras.files.model_file import require_sound_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Conv2D(4, 3)(image)).save(path)
    return path


@pytest.fixture
def path(saved, tmp_path):
    shutil.copy(saved, tmp_path)
    return tmp_path / saved.name


def rewrite(path, change=None, compression=zipfile.ZIP_STORED, **files):
    """Writes an archive again, with changed HDF5 weights and additional files."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if change:
        data = io.BytesIO(content["model.weights.h5"])
        with h5py.File(data, "r+") as weights:
            change(weights)
        content["model.weights.h5"] = data.getvalue()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**content, **files}.items():
            archive.writestr(name, data)


def test_models_of_keras_are_sound(path):
    require_sound_model(path)
    rewrite(path, compression=zipfile.ZIP_DEFLATED)
    require_sound_model(path)
    keras.models.load_model(path)


def test_weights_alone(path, tmp_path):
    weights = tmp_path / "model.weights.h5"
    keras.models.load_model(path).save_weights(weights)
    require_sound_model(weights)
    with h5py.File(weights, "r+") as file:
        file["more"] = h5py.SoftLink("/layers")
    with pytest.raises(ValueError, match="'more' in it links to other data"):
        require_sound_model(weights)


def test_an_archive_that_fills_the_memory_is_refused(path):
    zeros = bytes(100_000_000)
    rewrite(path, None, zipfile.ZIP_DEFLATED, **{"assets/a": zeros})
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"is not loaded: .* bytes would become 100,0"):
        require_sound_model(path)


def external(weights):
    weights.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(weights):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    weights.create_virtual_dataset("x", layout)


def soft_link(weights):
    weights["x"] = h5py.SoftLink("/layers")


def external_link(weights):
    weights["x"] = h5py.ExternalLink("/tmp/other.h5", "/layers")


def shape(weights):
    weights.create_dataset("x", (10**10,), "f4", chunks=(10**6,), compression="gzip")


def many_zeros(weights):
    weights.create_dataset("x", data=np.zeros(3 * 10**7, "u1"), compression="gzip")


def texts(weights):
    weights["x"] = np.array(["a", "b"], object)


@pytest.mark.parametrize(
    "change, message",
    [
        (external, "'x' in it is stored in another file"),
        (virtual, "'x' in it is stored in another file"),
        (soft_link, "'x' in it links to other data"),
        (external_link, "'x' in it links to other data"),
        (shape, "its arrays need more than"),
        (many_zeros, "its arrays need more than"),
        (texts, "'x' in it is no array of numbers"),
    ],
)
def test_weights_that_refer_to_files_or_fill_the_memory(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=f"{path} is not loaded: {message}"):
        require_sound_model(path)


def test_groups_that_contain_each_other_end(path):
    def change(weights):
        group = weights.create_group("a/b")
        group["again"] = weights["a"]

    rewrite(path, change)
    require_sound_model(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil"])
def test_names_that_lead_out_of_the_archive(path, name):
    rewrite(path, **{name: b"x"})
    with pytest.raises(ValueError, match="leads out of the archive"):
        require_sound_model(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    with pytest.raises(ValueError, match="the same name"):
        require_sound_model(path)


def test_damaged_files(path, tmp_path):
    whole = path.read_bytes()
    for damaged in (b"", b"PK\x03\x04", whole[:-100], b"text" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is no archive of Keras, or damaged"):
            require_sound_model(path)
    at = whole.index(b"\x89HDF")
    path.write_bytes(whole[:at] + bytes(2000) + whole[at + 2000 :])
    with pytest.raises(ValueError, match=f"{path} is not loaded: .*damaged"):
        require_sound_model(path)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(whole[at : at + 3000])
    with pytest.raises(ValueError, match="no HDF5 file, or damaged"):
        require_sound_model(weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"")
    with pytest.raises(ValueError, match="it has no config.json or no weights"):
        require_sound_model(path)
    with pytest.raises(FileNotFoundError, match="does not exist: "):
        require_sound_model(tmp_path / "none.keras")
