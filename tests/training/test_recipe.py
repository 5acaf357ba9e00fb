import dataclasses
import json

import pytest

from scn_keras.training.augmentation import Augmentation
from scn_keras.training.recipe import Network, Optimizer, Recipe, Target

SMALL = Recipe(name="small", dataset="somewhere")
UNUSUAL = Recipe(
    name="unusual",
    dataset="synthetic_hand/large",
    observer="random",
    train_split="train[:50%]",
    validation=0.0,
    grid=(96, 160),
    normalization="percentile",
    network=Network(filters=7, levels=3, spatial_filters=5, spatial_factor=8),
    target=Target(gamma=None, learnable=False),
    loss="mean",
    peak="argmax",
    optimizer=Optimizer(name="sgd", clip_norm=1.5),
    augmentation=Augmentation(rotation=0.5),
    jit_compile="auto",
    seed=11,
)


@pytest.mark.parametrize(
    "recipe", [SMALL, UNUSUAL, dataclasses.replace(UNUSUAL, augmentation=None)]
)
def test_round_trip_through_json(recipe):
    read = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert read == recipe
    assert isinstance(read.grid, tuple)
    assert isinstance(read.network, Network)


def test_a_dictionary_holds_every_setting():
    written = SMALL.to_dict()
    assert set(written) == {field.name for field in dataclasses.fields(Recipe)}
    assert set(written["network"]) == {f.name for f in dataclasses.fields(Network)}


def test_what_is_left_out_has_its_default():
    recipe = Recipe.from_dict({"name": "small", "dataset": "somewhere"})
    assert recipe == SMALL


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("seed=5", "seed", 5),
        ("validation=0.25", "validation", 0.25),
        ("validation=0", "validation", 0.0),
        ("grid=(96, 64)", "grid", (96, 64)),
        ("grid=[96,64]", "grid", (96, 64)),
        ("network.filters=64", "network.filters", 64),
        ("network.spatial_filters=None", "network.spatial_filters", None),
        ("network.spatial_filters=9", "network.spatial_filters", 9),
        ("network.dtype=mixed_bfloat16", "network.dtype", "mixed_bfloat16"),
        ("target.gamma=None", "target.gamma", None),
        ("target.gamma=1000", "target.gamma", 1000.0),
        ("target.learnable=False", "target.learnable", False),
        ("optimizer.learning_rate=2e-4", "optimizer.learning_rate", 2e-4),
        ("optimizer.name=sgd", "optimizer.name", "sgd"),
        ("optimizer.name='sgd'", "optimizer.name", "sgd"),
        ("observer=mean", "observer", "mean"),
        ("observer=None", "observer", None),
        ("augmentation=None", "augmentation", None),
        ("augmentation={'scale': 0.1}", "augmentation", Augmentation(scale=0.1)),
        ("augmentation.rotation=0.1", "augmentation.rotation", 0.1),
        ("jit_compile=True", "jit_compile", True),
        ("jit_compile=auto", "jit_compile", "auto"),
        ("dataset=synthetic_hand/large", "dataset", "synthetic_hand/large"),
        ("train_split=train[:50%]", "train_split", "train[:50%]"),
    ],
)
def test_override(setting, path, value):
    result = SMALL.override([setting])
    found = result
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
    # Nothing else has changed.
    back = result.to_dict()
    part = back
    *parents, last = path.split(".")
    for name in parents:
        part = part[name]
    original = SMALL.to_dict()
    for name in parents:
        original = original[name]
    part[last] = original[last]
    assert Recipe.from_dict(back) == SMALL


def test_overrides_follow_each_other():
    result = SMALL.override(["seed=1", "network.filters=8", "seed=2"])
    assert (result.seed, result.network.filters) == (2, 8)
    assert SMALL.override([]) == SMALL


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", r"`key=value`.*Received: 'seed'"),
        ("sede=1", "no setting `sede`.*name, dataset.*seed"),
        ("network.filter=1", "no setting `network.filter`.*filters, levels"),
        ("seed.deep=1", "`seed` has no parts. Received: seed.deep"),
        ("seed=1.5", "`seed` must be of type int. Received: seed=1.5"),
        ("seed=True", "`seed` must be of type int"),
        ("validation=True", "`validation` must be of type float"),
        ("validation=lots", "`validation` must be of type float.*'lots'"),
        ("grid=96", "`grid` must be of type tuple"),
        ("grid=(96, 64, 32)", "`grid` must be of type tuple"),
        ("grid=(96.0, 64)", "`grid` must be of type int"),
        ("observer=1", "`observer` must be of type str or None"),
        ("network.spatial_filters=few", "type int or None"),
        ("network=5", "`network` must be of type Network"),
        ("network={'filter': 1}", "does not know: network.filter"),
        ("augmentation.scale=1.5", "`scale` of the augmentation must be"),
        ("grid=(100, 64)", r"multiples of 8 .*and 16.*grid=\(100, 64\)"),
        ("network.levels=7", r"multiples of 64 .*grid=\(480, 384\)|multiples of 64"),
        ("network.spatial_factor=36", "multiples of 8 .*and 36"),
        ("batch_size=0", "`batch_size` must be at least 1. Received: batch_size=0"),
        ("steps=0", "`steps` must be at least 1"),
        ("steps_per_epoch=-1", "`steps_per_epoch` must be at least 1"),
        ("validation=1.0", "`validation` must be a share.*Received: validation=1.0"),
        ("validation=-0.1", "`validation` must be a share"),
        ("optimizer.name=adamw", "`optimizer.name` must be one of adam, sgd.*'adamw'"),
        ("normalization=std", "`normalization` must be one of range, percentile"),
        ("loss=max", "`loss` must be one of sum, mean. Received: loss='max'"),
        ("peak=mean", "`peak` must be one of log_parabola, parabola, argmax"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        SMALL.override([setting])


def test_parts_that_are_off_cannot_be_set_inside():
    without = SMALL.override(["augmentation=None"])
    with pytest.raises(ValueError, match="`augmentation` has no parts"):
        without.override(["augmentation.scale=0.1"])


def test_a_recipe_of_a_later_version_is_refused():
    written = {**SMALL.to_dict(), "elastic": 3}
    written["network"] = {**written["network"], "attention": True}
    with pytest.raises(ValueError, match="does not know: elastic"):
        Recipe.from_dict(written)
    del written["elastic"]
    with pytest.raises(ValueError, match="does not know: network.attention"):
        Recipe.from_dict(written)
