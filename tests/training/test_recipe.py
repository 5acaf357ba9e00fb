import dataclasses
import inspect
import json
import pathlib
import re

import keras
import numpy as np
import pytest

from scn_keras import models
from scn_keras.inference import ImageToGrid
from scn_keras.layers import heatmap_peak
from scn_keras.training._recipe_checks import PEAKS
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.build import build_model, make_loss
from scn_keras.training.recipe import LOSSES, Recipe
from scn_keras.training.recipe_settings import (
    NETWORKS,
    Network,
    Optimizer,
    Refinement,
    Target,
)

SMALL = Recipe(name="small", dataset="somewhere")
UNUSUAL = Recipe(
    name="unusual",
    dataset="synthetic_hand/large",
    observer="random",
    train_split="train[:50%]",
    validation=0.0,
    image_to_grid=ImageToGrid(grid=(96, 160), normalization="percentile"),
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
    taken = inspect.signature(models.SpatialConfigurationNet).parameters
    passed = {"num_landmarks", "image_shape", "name", "kwargs"}
    assert set(written["network"]) == {"kind", *taken} - passed


def test_what_is_left_out_has_its_default():
    recipe = Recipe.from_dict({"name": "small", "dataset": "somewhere"})
    assert recipe == SMALL


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("seed=5", "seed", 5),
        ("validation=0.25", "validation", 0.25),
        ("validation=0", "validation", 0.0),
        ("image_to_grid.grid=(96, 64)", "image_to_grid.grid", (96, 64)),
        ("image_to_grid.grid=[96,64]", "image_to_grid.grid", (96, 64)),
        ("image_to_grid.grid=(32, 64, 96)", "image_to_grid.grid", (32, 64, 96)),
        (
            "image_to_grid.grid_spacing=(1, 0.5)",
            "image_to_grid.grid_spacing",
            (1.0, 0.5),
        ),
        (
            "image_to_grid.normalization_limits=[0.05,0.95]",
            "image_to_grid.normalization_limits",
            (0.05, 0.95),
        ),
        ("cache=disk", "cache", "disk"),
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


@pytest.mark.parametrize("first", [SMALL, UNUSUAL], ids=["small", "unusual"])
@pytest.mark.parametrize("second", [SMALL, UNUSUAL], ids=["small", "unusual"])
def test_settings_are_what_override_takes(first, second):
    settings = second.settings(first)
    assert first.override(settings) == second
    assert (settings == []) == (first == second)


def test_settings_say_what_differs_and_no_more():
    other = dataclasses.replace(
        SMALL,
        name="12",  # a string that looks like a number
        augmentation=dataclasses.replace(
            SMALL.augmentation, translation=0.0, translation_mm=5.0
        ),
        network=Network(kind="LocalizationUNet", filters=8),
    )
    settings = other.settings(SMALL)
    assert settings[0] == "name='12'"
    assert settings[1].startswith("network={'kind': 'LocalizationUNet',")
    assert settings[2:] == [
        "augmentation.translation=0.0",
        "augmentation.translation_mm=5.0",
    ]
    assert SMALL.override(settings) == other


def test_values_that_go_together_are_set_at_once():
    # Either of the two alone would be refused.
    changed = SMALL.override(
        ["image_to_grid.grid=(40, 24)", "network.spatial_factor=8"]
    )
    assert changed.grid == (40, 24)
    assert (
        SMALL.override(["network.spatial_factor=8", "image_to_grid.grid=(40, 24)"])
        == changed
    )
    with pytest.raises(ValueError, match=r"grid.*Received: grid=\(40, 24\)"):
        SMALL.override(["image_to_grid.grid=(40, 24)"])


def test_overrides_follow_each_other():
    result = SMALL.override(["seed=1", "network.filters=8", "seed=2"])
    assert (result.seed, result.network.filters) == (2, 8)
    assert SMALL.override([]) == SMALL


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", r"`key=value`.*Received: 'seed'"),
        ("sede=1", "no setting `sede`.*name, dataset.*seed"),
        ("network.filter=1", "no argument `filter`.*filters, levels.*network.filter=1"),
        ("seed.deep=1", "`seed` .* has no parts. Received: seed.deep=1"),
        ("seed=1.5", "`seed` must be of type int. Received: seed=1.5"),
        ("seed=True", "`seed` must be of type int"),
        ("validation=True", "`validation` must be of type float"),
        ("validation=lots", "`validation` must be of type float.*'lots'"),
        ("image_to_grid.grid=96", "`image_to_grid.grid` must be of type tuple"),
        ("image_to_grid.grid=(96, 64, 32, 16)", r"`grid`.*grid=\(96, 64, 32, 16"),
        ("image_to_grid.grid=(96,)", r"`grid`.*Received: grid=\(96,\)"),
        ("image_to_grid.grid=(0, 64)", r"Received: grid=\(0, 64\)"),
        ("image_to_grid.grid_spacing=0.5", "grid_spacing` must be of type tuple"),
        ("image_to_grid.grid_spacing=(0.5, 0.5, 0.5)", "must be 2 positive numbers"),
        ("image_to_grid.grid_spacing=(0.5, 0.0)", "must be 2 positive numbers"),
        ("image_to_grid.normalization=window", "normalization_limits=None"),
        (
            "image_to_grid.normalization_limits=(3, 3)",
            r"increasing.*\(3.0, 3.0\)",
        ),
        ("cache=tape", "`cache` must be one of memory, disk"),
        ("augmentation.crop=w", "`crop` of the augmentation"),
        ("image_to_grid.grid=(96.0, 64)", "grid` must be of type int"),
        ("observer=1", "`observer` must be of type str or None"),
        ("network.dropout=few", "`network.dropout` must be of type float.*'few'"),
        ("network=5", "`network` must be of type Network"),
        ("network={'filter': 1}", "no argument `filter`"),
        ("augmentation.scale=1.5", "`augmentation.scale` must be.*below 1.*=1.5"),
        ("image_to_grid.grid=(100, 64)", r"multiple of 8 .*and 16.*grid=\(100, 64\)"),
        ("network.levels=7", r"multiple of 64 .*grid=\(480, 384\)|multiple of 64"),
        ("network.spatial_factor=36", "multiple of 8 .*and 36"),
        ("network.stride=8", "multiple of 64 .*and 128"),
        ("batch_size=0", "`batch_size` must be at least 1. Received: batch_size=0"),
        ("steps=0", "`steps` must be at least 1"),
        ("steps_per_epoch=-1", "`steps_per_epoch` must be at least 1"),
        ("validation=1.0", "`validation` must be .*Received: validation=1.0"),
        ("validation=-0.1", "`validation` must be .*Received: validation=-0.1"),
        ("image_to_grid.normalization=std", "`normalization` must be one of .*'std'"),
        ("peak=mean", "`peak` must be one of argmax, parabola, log_parabola"),
        ("loss_settings=3", "`loss_settings` must be of type dict"),
        ("target.form=round", "`target.form` must be one of isotropic"),
        ("target.missing=skip", "`target.missing` must be one of mask, zero"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        SMALL.override([setting])


def test_parts_that_are_off_cannot_be_set_inside():
    without = SMALL.override(["augmentation=None"])
    with pytest.raises(ValueError, match="no parts.*augmentation.scale=0.1"):
        without.override(["augmentation.scale=0.1"])


def test_a_recipe_of_a_later_version_is_refused():
    written = {**SMALL.to_dict(), "elastic": 3}
    written["network"] = {**written["network"], "attention": True}
    with pytest.raises(ValueError, match="Received: elastic"):
        Recipe.from_dict(written)
    del written["elastic"]
    with pytest.raises(ValueError, match="no argument `attention`"):
        Recipe.from_dict(written)


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_arguments_and_defaults_are_those_of_the_constructors(kind):
    signature = inspect.signature(getattr(models, kind))
    taken = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if name not in ("num_landmarks", "image_shape", "dtype", "name", "kwargs")
    }
    assert Network(kind=kind).arguments == taken
    assert "dtype" in signature.parameters
    assert Network(kind=kind).settings() == {**taken, "dtype": "float32"}


def test_every_loss_and_peak_of_the_table_is_there():
    assert PEAKS == (*heatmap_peak.METHODS, "votes")
    patches = dataclasses.replace(
        SMALL, network=Network(kind="GlobalNet"), loss="patches", peak="votes"
    )
    for name in LOSSES:
        recipe = patches if name == "patches" else SMALL
        loss = make_loss(dataclasses.replace(recipe, loss=name))
        assert isinstance(loss, keras.losses.Loss)
    softer = dataclasses.replace(
        SMALL, loss="coordinate", loss_settings={"temperature": 0.5}
    )
    assert make_loss(softer).temperature == 0.5


def test_a_network_of_another_kind():
    unet = SMALL.override(["network={'kind': 'LocalizationUNet', 'filters': 8}"])
    assert unet.network == Network(kind="LocalizationUNet", filters=8, levels=5)
    assert "spatial_factor" not in unet.network.arguments
    again = Recipe.from_dict(json.loads(json.dumps(unet.to_dict())))
    assert again == unet
    with pytest.raises(ValueError, match="takes no argument `kernel_size`"):
        SMALL.override(["network.kind=LocalizationUNet"])
    with pytest.raises(ValueError, match="`network.kind` must be.*'Transformer'"):
        Network(kind="Transformer")


@pytest.mark.parametrize(
    "changes",
    [
        {
            "image_to_grid": ImageToGrid((16, 16, 32)),
            "network": Network(filters=2, spatial_factor=4),
        },
        {"network": Network(kind="LocalizationUNet", filters=2, levels=3)},
        {"network": Network(kind="ConvolutionalNet", filters=2, levels=3)},
        {"network": Network(kind="scn_miccai2016", filters=2)},
        {"network": Network(kind="scn_mmwhs", filters=2)},
        {
            "image_to_grid": ImageToGrid((16, 16, 32)),
            "network": Network(kind="scn_verse2019", filters=2),
        },
        {
            "image_to_grid": ImageToGrid((32, 32, 32)),
            "network": Network(kind="scn_verse2020", filters=2),
        },
        {"target": Target(sigma=(2.0, 3.0), form="rotated", missing="zero")},
        {"peak": "gaussian_fit", "peak_settings": {"window": 5}},
    ],
    ids=str,
)
def test_a_recipe_builds_its_model(changes):
    small = Network(filters=2, spatial_kernel_size=3)
    recipe = dataclasses.replace(
        SMALL,
        **{"image_to_grid": ImageToGrid((32, 32)), "network": small, **changes},
    )
    model = build_model(recipe, 3)
    found = model.localizer(np.zeros((1, *recipe.grid, 1), "float32"))
    assert found["points"].shape == (1, 3, len(recipe.grid))
    assert model.target.form == recipe.target.form
    assert model.peak.method == recipe.peak
    if recipe.peak_settings:
        assert model.peak.window == 5


def test_recipes_written_before_networks_had_kinds_are_read():
    written = SMALL.to_dict()
    old = {
        "name": "small",
        "dataset": "somewhere",
        "network": {
            "filters": 32,
            "levels": 4,
            "kernel_size": 3,
            "dropout": 0.3,
            "spatial_filters": None,
            "spatial_kernel_size": 11,
            "spatial_factor": 16,
            "spatial_border": "zero",
            "heatmap_initializer": 0.0001,
            "dtype": "mixed_bfloat16",
        },
        "target": {
            "sigma": 2.5,
            "gamma": 100.0,
            "learnable": True,
            "sigma_penalty": 20.0,
        },
        "augmentation": {"translation": 0.05, "rotation": 0.2},
    }
    recipe = Recipe.from_dict(old)
    assert recipe.network == Network(filters=32, dropout=0.3, dtype="mixed_bfloat16")
    assert recipe.target == Target()
    assert recipe.augmentation == Augmentation(rotation=0.2)
    assert set(written) == set(recipe.to_dict())


DOCUMENTED = {
    "Recipe": Recipe,
    "image_to_grid": ImageToGrid,
    "local": Refinement,
    "target": Target,
    "optimizer": Optimizer,
    "augmentation": Augmentation,
}


@pytest.mark.parametrize("part", DOCUMENTED)
def test_every_setting_is_documented_with_its_default(part):
    page = pathlib.Path(__file__).parents[2] / "docs" / "recipes.md"
    if not page.is_file():
        pytest.skip("The documentation is not part of the wheel.")
    section = page.read_text("utf-8").partition(f"\n### {part}\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section.partition("\n### ")[0], re.M)
    documented = dict(rows)
    fields = {field.name: field for field in dataclasses.fields(DOCUMENTED[part])}
    assert list(documented) == list(fields)
    for name, field in fields.items():
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            assert documented[name] == "required"
        elif not dataclasses.is_dataclass(default):
            assert documented[name] == f"`{default!r}`", name


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"grid": "48,40"}, "grid='48,40'"),
        ({"grid": 48}, "grid=48"),
        ({"grid": (48.5, 40)}, r"grid=\(48.5, 40\)"),
        ({"grid_spacing": "0.5,0.5"}, "grid_spacing='0.5,0.5'"),
    ],
)
def test_sizes_of_a_grid_are_numbers(settings, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        ImageToGrid(**settings)
