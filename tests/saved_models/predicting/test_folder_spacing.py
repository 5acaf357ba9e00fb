"""The spacing of a data set's folder in predictions."""

import numpy as np
import pytest
from PIL import Image

from scn_keras.saved_models.predicting.folder_spacing import (
    folder_spacing,
    read_source,
)

TOML = "[files]\nspacing = [0.1, 0.2]\n"


@pytest.fixture
def film(tmp_path):
    file = tmp_path / "set" / "films" / "a.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(file)
    return file


def read(file, spacing=None):
    return read_source(file, spacing, 2, False)


@pytest.mark.parametrize("above", [False, True])
def test_it_is_taken_from_the_folder_or_the_one_above(film, above):
    folder = film.parent.parent if above else film.parent
    (folder / "landmarks.toml").write_text(TOML)
    assert folder_spacing(film) == (0.1, 0.2)
    source = read(film)
    np.testing.assert_array_equal(source.affine, np.diag([0.1, 0.2, 1.0]))
    (note,) = source.notes
    assert "0.1 x 0.2 mm" in note and str(film) in note


def test_it_is_not_taken_from_further_above_nor_without_a_setting(film, tmp_path):
    (tmp_path / "landmarks.toml").write_text(TOML)
    assert folder_spacing(film) is None
    (film.parent / "landmarks.toml").write_text('names = ["a"]\n')
    assert folder_spacing(film) is None
    source = read(film)
    assert source.notes == () and not source.affine[:2, :2].any()


def test_a_given_spacing_and_that_of_the_file_come_first(film):
    (film.parent / "landmarks.toml").write_text(TOML)
    source = read(film, (0.5, 0.5))
    np.testing.assert_array_equal(source.affine, np.diag([0.5, 0.5, 1.0]))
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.zeros((4, 3), np.uint8))
    image.SetSpacing((0.3, 0.4))
    file = film.with_name("b.mha")
    sitk.WriteImage(image, str(file))
    source = read(file)
    np.testing.assert_allclose(source.affine, np.diag([0.3, 0.4, 1.0]))
    assert source.notes == ()


def test_a_spacing_of_volumes_is_not_for_films(film):
    (film.parent / "landmarks.toml").write_text("[files]\nspacing = [1, 1, 2]\n")
    assert not read(film).affine[:2, :2].any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spacing = [", "is not TOML"),
        ("[files]\nspacing = 0.1\n", "Received: 0.1"),
        ("[files]\nspacing = [0.1, -1]\n", r"Received: \[0.1, -1\]"),
        ("[files]\nspacing = ['a', 1]\n", r"Received: \['a', 1\]"),
    ],
)
def test_a_faulty_file_is_named(film, text, message):
    (film.parent / "landmarks.toml").write_text(text)
    with pytest.raises(ValueError, match=f"landmarks.toml.*{message}"):
        read(film)


def test_a_changed_file_is_read_again(film):
    settings = film.parent / "landmarks.toml"
    settings.write_text(TOML)
    assert folder_spacing(film) == (0.1, 0.2)
    settings.write_text("[files]\nspacing = [0.25, 0.25]\n")
    assert folder_spacing(film) == (0.25, 0.25)
