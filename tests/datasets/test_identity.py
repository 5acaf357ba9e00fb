"""What identifies an image under another name: `datasets.identity`."""

import numpy as np
import pytest
import scipy.ndimage

from scn_keras.datasets.identity.image_identity import pixel_digest
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.stored_images import FILE, stored_images


def picture(seed, size=(200, 160)):
    noise = np.random.default_rng(seed).normal(size=size)
    smooth = scipy.ndimage.gaussian_filter(noise, 4.0)
    return np.uint8(np.clip(128 + 400 * smooth, 0, 255))


def sample(id, image):
    return {"id": id.encode(), "group": f"patient of {id}", "image": image[..., None]}


def table(**images):
    return ImageTable.of_samples(sample(id, image) for id, image in images.items())


def test_digest_is_of_values_and_shape():
    image = np.arange(12, dtype="uint8").reshape(3, 4)
    assert pixel_digest(image) == pixel_digest(image.astype("int16")[..., None])
    assert pixel_digest(image) == pixel_digest(image.astype("float32"))
    assert pixel_digest(image) != pixel_digest(image.reshape(4, 3))
    assert pixel_digest(image) != pixel_digest(image + 1)


def test_repeats_are_found_by_pixels_and_by_look():
    film = picture(0)
    brighter = np.uint8(np.clip(film * 0.8 + 30, 0, 255))
    shifted = np.roll(film, 2, axis=1)
    known = table(a=film, b=picture(1), c=picture(2))
    found = table(
        copy=film,
        other=picture(3),
        exposure=brighter,
        scan=shifted,
        negative=255 - film,
    ).repeats_of(known)
    assert [repeat[:2] for repeat in found] == [
        ("copy", "a"),
        ("exposure", "a"),
        ("scan", "a"),
        ("negative", "a"),
    ]
    assert found[0].correlation == 1.0
    assert all(0.7 <= repeat.correlation < 1.0 for repeat in found[1:])


def test_volumes_and_films_are_no_repeats_of_each_other():
    volume = np.random.default_rng(0).normal(size=(20, 24, 28)).astype("float32")
    volumes = ImageTable.of_samples([sample("v", volume)])
    films = table(a=picture(0))
    assert volumes.repeats_of(films) == films.repeats_of(volumes) == []
    assert [r.id for r in volumes.repeats_of(volumes)] == ["v"]


@pytest.mark.parametrize("first", [{}, {"a": 0}])
def test_empty_tables(first, tmp_path):
    some = table(**{id: picture(seed) for id, seed in first.items()})
    assert ImageTable().repeats_of(some) == some.repeats_of(ImageTable()) == []
    assert (some + ImageTable()).ids == (ImageTable() + some).ids == tuple(first)
    some.save(tmp_path / "images.npz")
    assert ImageTable.load(tmp_path / "images.npz").ids == tuple(first)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npz"]


def test_sum_selection_and_file(tmp_path):
    known = table(a=picture(0), b=picture(1))
    both = known + table(b=picture(1), c=picture(2))
    assert both.ids == ("a", "b", "c")
    both.save(tmp_path / "images.npz")
    loaded = ImageTable.load(tmp_path / "images.npz")
    assert loaded.ids == both.ids
    assert loaded.groups == both.groups == tuple(f"patient of {id}" for id in "abc")
    assert loaded.digests == both.digests
    np.testing.assert_array_equal(loaded.signatures, both.signatures)
    assert loaded.select(["c", "a", "z"]).ids == ("a", "c")
    assert loaded.select(["c"]).digests == (pixel_digest(picture(2)),)


def test_prepared_sets_have_the_table(tiny_data):
    from scn_keras.training.input.prepared_sets import prepared_builder

    builder = prepared_builder("tiny_hands", tiny_data)
    path = builder.data_path / FILE
    stored = ImageTable.load(path)
    assert sorted(stored.ids) == sorted(
        sample["id"].decode()
        for split in ("train", "test")
        for sample in builder.read_split(split).as_numpy_iterator()
    )
    # A set that was prepared before has no file.
    content = path.read_bytes()
    path.unlink()
    assert stored_images(builder).digests == stored.digests
    assert path.read_bytes()[:2] == content[:2] == b"PK"
