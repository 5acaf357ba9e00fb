import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input import stored_source
from scn_keras.training.input.stored_source import training_samples


def test_a_set_that_is_not_prepared_says_how(tmp_path):
    for name in ("cephalogram", "synthetic_hand"):
        with pytest.raises(
            FileNotFoundError,
            match=f"'{name}' is not prepared.*datasets prepare {name}",
        ):
            data.prepared_builder(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_set_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="name='knee'. Known names: cephalogram"):
        data.prepared_builder("knee", tmp_path)


def test_a_prepared_set_is_found(dots):
    builder = data.prepared_builder("dots", dots)
    assert builder.SCHEMA.names == ("large", "middle", "small")
    assert data.prepared_builder("dots", str(dots)).data_dir == builder.data_dir


def test_samples_come_in_one_order(dots):
    first, again = (
        [s["id"] for s in data.load_samples("dots", "train", dots).as_numpy_iterator()]
        for _ in range(2)
    )
    assert first == again
    assert sorted(first) == sorted(f"train{n}".encode() for n in range(10))
    part = data.load_samples("dots", "train[:4]", dots)
    assert [s["id"] for s in part.as_numpy_iterator()] == first[:4]


def test_samples_are_as_stored(dots):
    sample = next(data.load_samples("dots", "test", dots).as_numpy_iterator())
    assert sample["image"].shape == (60, 50, 1)
    assert sample["image"].dtype == np.uint8
    np.testing.assert_array_equal(
        sample["affine"], np.diag([0.5, 0.4, 1.0], 0).astype("f4")
    )


@pytest.mark.parametrize("split", ["validation", "validation[:3]", ""])
def test_an_unknown_split_names_the_known_ones(dots, split):
    with pytest.raises(ValueError, match="has the splits test, train.*split="):
        data.load_samples("dots", split, dots)


def test_sums_of_splits_and_subsets(dots, monkeypatch):
    builder = type(data.prepared_builder("dots", dots))
    subsets = {
        "few": ("train+test", frozenset({"train3", "test1"})),
        "lost": ("train+fold9", frozenset({"train3"})),
    }
    monkeypatch.setattr(builder, "SUBSETS", subsets)

    def ids(split):
        samples = data.load_samples("dots", split, dots).as_numpy_iterator()
        return [sample["id"].decode() for sample in samples]

    assert ids("train[:2]+test") == ids("train[:2]") + ids("test")
    assert set(ids("few")) == {"train3", "test1"}
    source = data.prepared_builder("dots", dots).as_data_source("few")
    assert [sample["id"].decode() for sample in source] == ids("few")
    assert [source[1]["id"], source.__getitems__([1])[0]["id"]] == [b"test1"] * 2
    for split in ("train+fold9", "lost"):
        with pytest.raises(ValueError, match="splits test, train, few. Received"):
            data.load_samples("dots", split, dots)


def test_single_samples_by_id(dots):
    found = data.find_samples("dots", "train", ["train3", "train7"], dots)
    assert sorted(found) == ["train3", "train7"]
    assert found["train3"]["image"].shape == (60, 50, 1)
    assert np.isnan(found["train3"]["points"][1]).all()
    stored = {
        sample["id"].decode(): sample
        for sample in data.load_samples("dots", "train", dots).as_numpy_iterator()
    }
    np.testing.assert_array_equal(found["train7"]["image"], stored["train7"]["image"])
    with pytest.raises(ValueError, match="has no samples test1, test2"):
        data.find_samples("dots", "train", ["test2", "train1", "test1"], dots)


def test_patients_are_held_out_whole(dots, recipe):
    training, validation = training_samples(recipe, dots)
    sides = []
    for samples in (training, validation):
        samples = list(samples.as_numpy_iterator())
        sides.append({s["group"] for s in samples})
        # Every film of each patient.
        assert len(samples) == 2 * len(sides[-1])
    assert len(sides[0]) == 4 and len(sides[1]) == 1
    assert not sides[0] & sides[1]
    again = training_samples(recipe, dots)[1]
    assert {s["group"] for s in again.as_numpy_iterator()} == sides[1]


def test_the_size_of_the_validation_set_is_known(dots, recipe):
    # Keras warns of running out of data otherwise.
    _, validation = training_samples(recipe, dots)
    assert validation.cardinality() == 2


def test_nothing_held_out(dots, recipe):
    everything = dataclasses.replace(recipe, validation=0.0)
    training, validation = training_samples(everything, dots)
    assert validation is None
    assert training.reduce(0, lambda n, _: n + 1) == tf.constant(10)


@pytest.mark.parametrize(
    "setting",
    ["image_to_grid.grid_spacing=(0.5, 0.5)", "augmentation.elastic_mm=5.0"],
)
def test_a_spacing_out_of_the_landmarks_shows_nothing(
    recipe, dots, monkeypatch, setting
):
    def builder(name):
        built = data.prepared_builder(name, dots)
        built.SPACING_FROM_POINTS = True
        return built

    training_samples(recipe.override([setting]), dots)
    with monkeypatch.context() as patch:
        patched = builder(recipe.dataset)
        patch.setattr(stored_source, "prepared_builder", lambda *_: patched)
        with pytest.raises(
            ValueError, match=f"Received: .*{setting.partition('=')[0]}"
        ):
            training_samples(recipe.override([setting]), dots)
        training_samples(recipe, dots)
