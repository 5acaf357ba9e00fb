"""The images of a recipe's training and held-out samples."""

import dataclasses

import numpy as np
import pytest

from scn_keras.datasets.identity.image_identity import pixel_digest
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.input.prepare_arrays import prepare_arrays
from scn_keras.training.input.split_images import training_images
from scn_keras.training.input.stored_source import StoredSource, training_samples
from tests.datasets.test_folder_deals import Films


@pytest.mark.parametrize(
    "changes", [{}, {"fold": (1, 3), "validation": 0.0}, {"validation": 0.0}]
)
def test_images_are_those_of_the_samples(recipe, dots, tmp_path, changes):
    recipe = dataclasses.replace(recipe, **changes)
    tables = training_images(recipe, dots)
    for samples, table in zip(training_samples(recipe, dots), tables, strict=True):
        samples = [] if samples is None else [*samples.as_numpy_iterator()]
        assert sorted(table.ids) == sorted(s["id"].decode() for s in samples)
        digests = dict(zip(table.ids, table.digests, strict=True))
        for sample in samples:
            assert digests[sample["id"].decode()] == pixel_digest(sample["image"])
    prepare_arrays(recipe, tmp_path / "arrays", dots)
    for source in StoredSource(recipe, dots), ArraySource(recipe, tmp_path / "arrays"):
        for images, table in zip(source.images, tables, strict=True):
            assert (images.ids, images.digests) == (table.ids, table.digests)
            np.testing.assert_array_equal(images.signatures, table.signatures)


def test_arrays_of_an_earlier_version_have_no_images(recipe, dots, tmp_path):
    prepare_arrays(recipe, tmp_path / "arrays", dots)
    (tmp_path / "arrays" / "images.npz").unlink()
    source = ArraySource(recipe, tmp_path / "arrays")
    assert [*map(len, source.images)] == [0, 0]


@pytest.mark.parametrize("train_split", ["train", "train[:9]"])
def test_arrays_hold_out_the_same_images_of_a_changed_set(
    recipe, tmp_path, train_split
):
    films = Films(tmp_path).prepare()
    changes = {"dataset": "landmark_folder/films", "train_split": train_split}
    recipe = dataclasses.replace(recipe, **changes, validation=0.3)
    before = training_images(recipe, films.data)
    assert [*map(len, before)] in ([8, 4], [6, 3])
    others = [name for name in films.films if name not in before[1].ids[:1]]
    renamed = {f"{n:02d}": films.films[name] for n, name in enumerate(others)}
    films.write({**renamed, "new": 60}, shift=1)
    films.prepare()
    after = training_images(recipe, films.data)
    for old, new in zip(before, after, strict=True):
        known = {*before[0].digests, *before[1].digests} & {*new.digests}
        assert known <= {*old.digests}
    assert len(after[1]) >= len(before[1]) - 1
    prepare_arrays(recipe, tmp_path / "arrays", films.data)
    of_arrays = ArraySource(recipe, tmp_path / "arrays").images
    of_set = StoredSource(recipe, films.data).images
    for first, second, third in zip(after, of_set, of_arrays, strict=True):
        assert first.ids == second.ids == third.ids
