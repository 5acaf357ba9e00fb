"""User-defined transforms: names, drawing, images and points, errors."""

import dataclasses
import functools
import importlib
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from scn_keras import warp
from scn_keras.array_api import KERAS, NUMPY, TENSORFLOW
from scn_keras.inference import ImageToGrid
from scn_keras.training import augmentation as package
from scn_keras.training.augmentation import (
    Augmentation,
    Blur,
    Clip,
    Crop,
    Elastic,
    Flip,
    Gamma,
    GeometricTransform,
    IntensityTransform,
    NamedTransform,
    Noise,
    Rotation,
    Scale,
    Transform,
    Translation,
)
from scn_keras.training.input import pipeline
from scn_keras.training.input.on_grid import on_grid
from scn_keras.training.recipe import Network, Recipe

HERE = f"{__name__}:"
GRID = (32, 24)
BUILT_IN = Augmentation(flip=0.5, elastic=0.06, noise=0.1, erase=0.5, gamma=0.2)


def lines(image, parameters, xp, strength=0.2, period=4):
    """Grey waves along the rows, with a parameter each for height and phase."""
    d = len(image.shape) - len(parameters.shape) + 1
    height, phase = (warp.add_axes(parameters[..., k], d) for k in range(2))
    rows = warp.grid_axes(image.shape[-d:], xp)[1]
    wave = xp.sin(rows * (2.0 * math.pi / period) + phase * math.pi)
    return image + strength * height * wave


lines.num_parameters = 2


def inverted(image, parameters, xp):
    return -image


class Speckle(IntensityTransform):
    """Multiplies by a field that it draws itself."""

    def __init__(self, strength=0.1):
        self.strength = strength

    def count(self, dimensions):
        return 0

    def draw(self, unit, grid, xp, seed=None):
        shape = (*xp.shape(unit)[:-1], *grid)
        return {"field": xp.cast(xp.normal(seed, shape), "float32") * self.strength}

    def apply(self, image, parameters, xp):
        return image * (1.0 + parameters["field"])


@dataclasses.dataclass(frozen=True)
class Shear(GeometricTransform):
    """Moves each row along x in proportion to its distance from the middle."""

    shear: float
    along: str = "x"

    def count(self, dimensions):
        return 1

    def draw(self, unit, grid, xp, seed=None):
        return {"shear": unit[..., 0] * self.shear}

    def affine(self, parameters, grid, spacing, size, xp):
        d, shear = len(grid), parameters["shear"]
        rows = [[shear * 0.0 + float(i == j) for j in range(d + 1)] for i in range(d)]
        rows[0][1] = rows[0][1] - shear
        rows[0][d] = shear * (0.5 * (grid[-2] - 1))
        rows.append([shear * 0.0 + float(j == d) for j in range(d + 1)])
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


class Bulge(GeometricTransform):
    """Moves one control point of n an axis."""

    def __init__(self, points=5):
        self.points = points

    def count(self, dimensions):
        return 1

    def draw(self, unit, grid, xp, seed=None):
        return {"height": unit[..., 0]}

    def displacements(self, parameters, grid, spacing, xp):
        d = len(grid)
        field = np.zeros((d, *[self.points] * d), "float32")
        field[(0, *[2] * d)] = 1.5
        height = warp.add_axes(parameters["height"], d + 1)
        return height * xp.convert_to_tensor(field)


MINE = dataclasses.replace(BUILT_IN, transforms=(lines, Shear(0.3), Speckle()))


def in_graph(augmentation, seed=3, grid=GRID):
    draw = tf.function(lambda seed: augmentation.draw(seed, grid, TENSORFLOW))
    return {k: v.numpy() for k, v in draw(tf.constant([1, seed], tf.int64)).items()}


# === Names and JSON ===


def test_every_form_becomes_a_name_and_plain_arguments():
    filled = {"strength": 0.5, "period": 4}
    expected = NamedTransform(f"{HERE}lines", filled)
    for form in (
        functools.partial(lines, strength=0.5),
        {"name": lines, "arguments": {"strength": 0.5}},
        {"name": f"{HERE}lines", "arguments": filled},
        NamedTransform(f"{HERE}lines", filled),
    ):
        (named,) = Augmentation(transforms=[form]).transforms
        assert named == expected and hash(named) == hash(expected)
    shear = NamedTransform(f"{HERE}Shear", {"shear": 0.3, "along": "x"})
    assert NamedTransform.of(Shear(0.3)) == shear
    # Of a name alone, the code is not looked up.
    assert NamedTransform.of("nowhere:lines") == NamedTransform("nowhere:lines", {})
    assert NamedTransform.of({"name": lines}).arguments["strength"] == 0.2
    assert NamedTransform.of(Speckle) == NamedTransform.of(Speckle(0.1))


def test_built_in_names_are_short():
    assert NamedTransform.of(Gamma(0.3)) == NamedTransform("Gamma", {"gamma": 0.3})
    long = NamedTransform("scn_keras.training.augmentation:Gamma", {"gamma": 0.3})
    assert long == NamedTransform.of(Gamma(0.3))


def test_round_trip_through_json():
    written = json.loads(json.dumps(dataclasses.asdict(MINE)))
    assert written["transforms"][1] == {
        "name": f"{HERE}Shear",
        "arguments": {"shear": 0.3, "along": "x"},
    }
    read = Augmentation(**written)
    assert read == MINE and hash(read) == hash(MINE)
    assert read != dataclasses.replace(MINE, transforms=MINE.transforms[:2])
    assert dataclasses.asdict(Augmentation())["transforms"] == ()


def test_recipes_hold_transforms():
    recipe = Recipe(name="tiny", dataset="dots", augmentation=MINE)
    written = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(written) == recipe
    plain = Recipe(name="tiny", dataset="dots")
    assert plain.override(recipe.settings(plain)) == recipe
    setting = f"augmentation.transforms=['{HERE}lines']"
    (named,) = plain.override([setting]).augmentation.transforms
    assert named == NamedTransform(f"{HERE}lines")
    listed = Recipe(name="tiny", dataset="dots", augmentation=[Rotation(0.2), lines])
    assert listed.augmentation == Augmentation.from_list([Rotation(0.2), lines])


def test_a_recipe_is_read_without_the_code_of_its_transforms():
    setting = {"name": "module_of_another_machine:lines", "arguments": {"strength": 1}}
    read = Augmentation(transforms=[setting])
    with pytest.raises(ImportError, match="'module_of_another_machine'.*cannot be"):
        read.validate(GRID)


# === Lists of transforms ===


def test_a_list_sets_numbers_and_switches_the_others_off():
    forms = [Rotation(0.2), Elastic(elastic_mm=3.0, elastic_points=6), lines]
    found = Augmentation.from_list([*forms, "Clip", Flip(0.5)])
    off = Augmentation(0, 0, 0, 0, 0, 0, clip=False)
    assert found == dataclasses.replace(
        off, rotation=0.2, clip=True, elastic_mm=3.0, elastic_points=6, flip=0.5,
        transforms=(lines,),
    )  # fmt: skip
    assert Augmentation.from_list([]) == off
    every = [Translation(0.05), Rotation(0.25), Scale(0.2, 0.2), Clip()]
    every += [package.Intensity(0.25, 0.25)]
    assert Augmentation.from_list(every) == Augmentation()


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([Gamma(0.1), lines, Gamma(0.2)], "Received: Gamma twice"),
        (["Clip", Clip()], "Clip twice"),
        ([Gamma(0.1), "Rotation"], r"Received: Rotation\(rotation=0.0"),
        ([Rotation], r"Received: Rotation\(rotation=0.0"),
        ([{"name": "Elastic", "arguments": {"elastic_points": 7}}], "elastic_points=7"),
        (["Gama"], "module:attribute.*Gamma.*Received: .*'Gama'"),
        ([3], "must be a function, or a class.*Received: .*=3"),
        ([{"name": "Gamma", "arguments": {"beta": 1.0}}], "Gamma takes no .*`beta`"),
    ],
)
def test_lists_that_cannot_be_are_refused(transforms, message):
    with pytest.raises(ValueError, match=message):
        Augmentation.from_list(transforms)


# === Drawing ===


@pytest.mark.parametrize("grid", [GRID, (6, 8, 10)])
@pytest.mark.parametrize("library", ["numpy", "keras", "tensorflow"])
def test_built_in_draws_do_not_depend_on_user_transforms(library, grid):
    def drawn(augmentation):
        if library == "tensorflow":
            return in_graph(augmentation, grid=grid)
        xp = NUMPY if library == "numpy" else KERAS
        return augmentation.draw(11, grid, xp, (2,))

    plain, more = drawn(BUILT_IN), drawn(MINE)
    for name, value in plain.items():
        np.testing.assert_array_equal(more[name], value)
    own = {"transforms.0.parameters", "transforms.1.shear", "transforms.2.field"}
    assert set(more) - set(plain) == own
    # Nor do those of one user transform depend on the next.
    fewer = drawn(dataclasses.replace(BUILT_IN, transforms=(lines,)))
    name = "transforms.0.parameters"
    np.testing.assert_array_equal(fewer[name], more[name])


@pytest.mark.parametrize("library", ["numpy", "keras", "tensorflow"])
def test_user_draws_are_uniform_and_independent(library):
    augmentation = Augmentation(noise=0.1, transforms=(lines, lines, Speckle(1.0)))
    if library == "tensorflow":
        seeds = tf.data.Dataset.range(1000).map(lambda n: tf.stack([n * 0 + 5, n]))
        draws = seeds.map(lambda seed: augmentation.draw(seed, (4, 4), TENSORFLOW))
        drawn = {k: v.numpy() for k, v in next(iter(draws.batch(1000))).items()}
    else:
        xp = NUMPY if library == "numpy" else KERAS
        drawn = augmentation.draw(7, (4, 4), xp, (1000,))
        drawn = {k: keras.ops.convert_to_numpy(v) for k, v in drawn.items()}
    for name, shape in (
        ("transforms.0.parameters", (1000, 2)),
        ("transforms.1.parameters", (1000, 2)),
        ("transforms.2.field", (1000, 4, 4)),
    ):
        assert drawn[name].shape == shape and drawn[name].dtype == np.float32
    for number in (0, 1):
        unit = drawn[f"transforms.{number}.parameters"]
        assert np.abs(unit).max() <= 1.0
        # Standard errors of 0.018 and 0.0094.
        np.testing.assert_allclose(unit.mean(axis=0), 0.0, atol=0.09)
        np.testing.assert_allclose(np.abs(unit).mean(axis=0), 0.5, atol=0.045)
    assert drawn["transforms.2.field"].std() == pytest.approx(1.0, abs=0.03)
    columns = np.concatenate(
        [
            drawn["transforms.0.parameters"],
            drawn["transforms.1.parameters"],
            drawn["transforms.2.field"].reshape(1000, -1)[:, :4],
            drawn["noise"].reshape(1000, -1)[:, :4],
            drawn["translation"],
            drawn["intensity_shift"][:, None],
        ],
        axis=1,
    )
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 0.14


def test_a_seed_generator_serves_user_transforms():
    seeds = keras.random.SeedGenerator(1)
    first, second = (MINE.draw(seeds, GRID, KERAS) for _ in range(2))
    for name in ("transforms.0.parameters", "transforms.2.field"):
        assert (np.asarray(first[name]) != np.asarray(second[name])).all()


# === Images and points ===


def test_grey_values_by_hand():
    image = np.zeros((2, 5, 3), np.float32)
    off = Augmentation.from_list([functools.partial(lines, strength=0.5, period=4)])
    drawn = off.draw(0, (5, 3), batch=(2,))
    drawn["transforms.0.parameters"] = np.float32([[1.0, 0.0], [-0.5, 0.5]])
    found = off.intensity(drawn, image)
    first, second = [0.0, 0.5, 0.0, -0.5, 0.0], [-0.25, 0.0, 0.25, 0.0, -0.25]
    for row, expected in zip(found, (first, second), strict=True):
        np.testing.assert_allclose(row, np.tile(expected, (3, 1)).T, atol=1e-6)


def test_user_transforms_follow_the_built_in_ones_in_their_order():
    # Clipped to 1, then changed by the first and by the second.
    augmentation = Augmentation(
        0, 0, 0, 0, 0, 0, transforms=(inverted, Speckle(0.0), Clip())
    )
    drawn = augmentation.draw(0, (1, 2))
    drawn["transforms.1.field"] = np.float32([[0.5, 1.0]])
    found = augmentation.intensity(drawn, np.float32([[3.0, -0.25]]))
    np.testing.assert_allclose(found, [[-1.0, 0.5]])
    without_clip = dataclasses.replace(
        augmentation, transforms=augmentation.transforms[:2]
    )
    found = without_clip.intensity(drawn, np.float32([[3.0, -0.25]]))
    np.testing.assert_allclose(found, [[-1.5, 0.5]])


def test_parameters_that_were_not_drawn_leave_the_image_as_it_is():
    drawn = BUILT_IN.draw(0, GRID)
    image = np.random.default_rng(0).uniform(-1, 1, GRID).astype("float32")
    with_lines = dataclasses.replace(BUILT_IN, transforms=(lines, Shear(0.3)))
    np.testing.assert_array_equal(
        with_lines.intensity(drawn, image), BUILT_IN.intensity(drawn, image)
    )
    np.testing.assert_array_equal(
        with_lines.affine(drawn, GRID), BUILT_IN.affine(drawn, GRID)
    )


@pytest.mark.parametrize("grid", [(20, 30), (10, 12, 14)])
def test_a_geometric_transform_moves_after_the_built_in_ones(grid):
    d = len(grid)
    augmentation = Augmentation(
        0.1, 0.4, 0.2, 0.1, 0, 0, elastic=0.05, transforms=(Shear(0.4), Bulge())
    )
    center = (np.array(grid[::-1]) - 1) / 2
    for seed in range(3):
        drawn = augmentation.draw(seed, grid)
        shear = drawn["transforms.1.height"], drawn["transforms.0.shear"]
        built_in = {k: v for k, v in drawn.items() if not k.startswith("transforms")}
        whole = augmentation.affine(drawn, grid)
        before = augmentation.affine(built_in, grid).astype(float)
        # A point goes through the built-in part, then along x by the shear.
        point = np.random.default_rng(seed).uniform(0, 9, d)
        moved = np.linalg.solve(before, [*point, 1.0])[:d]
        moved[0] += shear[1] * (moved[1] - center[1])
        np.testing.assert_allclose(whole @ [*moved, 1.0], [*point, 1.0], atol=1e-4)
        # Displacements add up.
        both = augmentation.elastic_displacements(drawn, grid)
        expected = np.copy(augmentation.elastic_displacements(built_in, grid))
        expected[(0, *[2] * d)] += 1.5 * shear[0]
        limit = warp.INJECTIVE[d] * grid[-1] / 2
        expected[0] = np.clip(expected[0], -limit, limit)
        np.testing.assert_allclose(both, expected, atol=1e-5)


@pytest.mark.parametrize("grid", [(48, 40), (24, 28, 26)])
def test_points_go_through_the_exact_inverse_with_their_image(grid):
    d = len(grid)
    augmentation = Augmentation(
        0.05, 0.3, 0.1, 0.1, 0, 0, flip=0.5, elastic=0.04, clip=False,
        transforms=(Shear(0.3), Bulge(6)) if d == 3 else (Shear(0.3), Bulge()),
        elastic_points=6 if d == 3 else 5,
    )  # fmt: skip
    random = np.random.default_rng(1)
    points = random.uniform(0.4, 0.6, (1, d)) * (np.array(grid[::-1]) - 1)
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij")[::-1], -1)
    dot = np.exp(-0.5 * ((places - points) ** 2).sum(-1) / 1.5**2)
    affine = np.eye(d + 1, dtype="float32")
    for seed in range(4):
        drawn = augmentation.draw(seed, grid)
        image, y = augmentation.apply(
            drawn, dot[..., None].astype("f4"), points.astype("f4"), affine, xp=NUMPY
        )
        # The map takes the found point to where it came from.
        back = augmentation.affine(drawn, grid)
        elastic = augmentation.elastic_displacements(drawn, grid)
        again = warp.map_points(back, y["points"], grid, elastic, NUMPY)
        np.testing.assert_allclose(again, points, rtol=0, atol=1e-3)
        # The dot is where the point is: its centre of mass.
        mass = np.maximum(image[..., 0], 0.0)
        center = (places * mass[..., None]).sum(tuple(range(d))) / mass.sum()
        np.testing.assert_allclose(center, y["points"][0], rtol=0, atol=0.3)
        plain = dataclasses.replace(augmentation, transforms=())
        other = plain.apply(
            drawn, dot[..., None].astype("f4"), points.astype("f4"), affine, xp=NUMPY
        )[1]["points"]
        assert np.abs(other - y["points"]).max() > 0.01


def recipe_of(augmentation, grid=GRID, seed=2):
    return Recipe(
        name="tiny",
        dataset="dots",
        image_to_grid=ImageToGrid(grid),
        network=Network(levels=1, spatial_factor=1),
        augmentation=augmentation,
        seed=seed,
    )


def sample_of(grid=GRID):
    random, d = np.random.default_rng(5), len(grid)
    image = random.integers(0, 256, [2 * g for g in grid] + [1]).astype("uint8")
    points = random.uniform(4, 2 * min(grid) - 4, (3, d)).astype("float32")
    affine = np.diag([*np.linspace(0.5, 0.8, d), 1.0]).astype("float32")
    return {"image": image, "points": points, "affine": affine}


@pytest.mark.parametrize("grid", [GRID, (8, 12, 10)])
def test_tf_data_and_batches_give_the_same_values(grid):
    recipe = recipe_of(MINE, grid)
    sample = {k: tf.constant(v) for k, v in sample_of(grid).items()}
    prepared = pipeline.prepare(sample, recipe)
    # As training reads it: in a graph of tf.data, compiled by XLA.
    numbers = tf.data.Dataset.range(3)
    elements = numbers.map(lambda n: pipeline.augment(prepared, n, recipe, [(0, 1)]))
    images, labels = next(iter(elements.batch(3)))
    drawn = [
        recipe.augmentation.draw(
            tf.constant([recipe.seed, n], tf.int64), grid, TENSORFLOW
        )
        for n in range(3)
    ]
    batch = {k: np.stack([d[k].numpy() for d in drawn]) for k in drawn[0]}

    def repeated(value):
        return np.stack([np.asarray(value)] * 3)

    reduced, sizes, affine, points = (
        tf.nest.map_structure(repeated, prepared[name])
        for name in ("reduced", "sizes", "affine", "points")
    )
    for xp in (NUMPY, KERAS):
        arrays = tf.nest.map_structure(
            xp.convert_to_tensor, (reduced, sizes, affine, points)
        )
        parameters = {k: xp.convert_to_tensor(v) for k, v in batch.items()}
        found, y = on_grid(*arrays, recipe, parameters, [(0, 1)], xp)
        np.testing.assert_allclose(found, images, rtol=0, atol=5e-4)
        np.testing.assert_allclose(y["points"], labels["points"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(y["affine"], labels["affine"], rtol=0, atol=1e-4)
    plain = dataclasses.replace(recipe, augmentation=BUILT_IN)
    other, _ = pipeline.augment(prepared, tf.constant(0, tf.int64), plain, [(0, 1)])
    assert np.abs(other - images[0]).max() > 0.05


def test_steps_are_compiled_once():
    recipe = recipe_of(MINE, (16, 24))
    sample = {k: tf.constant(v) for k, v in sample_of((16, 24)).items()}
    prepared = pipeline.prepare(sample, recipe)
    before = pipeline._compiled_image.experimental_get_tracing_count()
    for step in range(4):
        pipeline.augment(prepared, tf.constant(step, tf.int64), recipe)
    # An equal recipe, as one that was read from a file.
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    pipeline.augment(prepared, tf.constant(4, tf.int64), again)
    after = pipeline._compiled_image.experimental_get_tracing_count()
    assert after == before + 1


def test_edited_code_is_compiled_anew(tmp_path, monkeypatch):
    path = tmp_path / "edited_transforms.py"
    code = "def shade(image, parameters, xp):\n    return image * 0.0 + {}\n"
    path.write_text(code.format(0.25))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("edited_transforms")
    recipe = recipe_of(Augmentation(transforms=(module.shade,)))
    sample = {k: tf.constant(v) for k, v in sample_of().items()}
    prepared = pipeline.prepare(sample, recipe)
    number = tf.constant(0, tf.int64)
    assert (pipeline.augment(prepared, number, recipe)[0].numpy() == 0.25).all()
    path.write_text(code.format(-0.125))  # longer, so that no old bytecode is taken
    importlib.reload(module)
    assert (pipeline.augment(prepared, number, recipe)[0].numpy() == -0.125).all()


# === Built-in transforms on their own ===


@pytest.mark.parametrize("grid", [(20, 30), (10, 12, 14)])
@pytest.mark.parametrize(
    "transform",
    [
        *(Translation(0.1), Translation(translation_mm=3.0), Rotation(0.4)),
        *(Scale(0.2, 0.1), Flip(0.9), Crop("xy")),
    ],
)
def test_one_transform_is_the_augmentation_of_it_alone(transform, grid):
    d = len(grid)
    random = np.random.default_rng(0)
    spacing, size = np.linspace(0.5, 1.5, d, dtype="f4"), np.full(d, 40.0, "f4")
    for batch in ((), (2,)):
        unit = random.uniform(-1, 1, (*batch, transform.count(d))).astype("float32")
        drawn = transform.draw(unit, grid, NUMPY)
        found = transform.affine(drawn, grid, spacing, size, NUMPY)
        alone = Augmentation.from_list([transform])
        whole = {**alone.draw(0, grid, batch=batch), **drawn}
        expected = alone.affine(whole, grid, spacing, size)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        assert np.abs(found - np.eye(d + 1)).max() > 1e-3


def test_built_in_transforms_can_follow_the_others():
    # After the erased box, as a user-defined one.
    augmentation = Augmentation(0, 0, 0, 0, 0, 0, transforms=(Blur(2.0), Noise(0.2)))
    augmentation.validate(GRID)
    drawn = augmentation.draw(4, GRID)
    image = np.random.default_rng(0).uniform(-1, 1, GRID).astype("float32")
    expected = Blur(2.0).apply(image, {"blur": drawn["transforms.0.blur"]}, NUMPY)
    expected = expected + drawn["transforms.1.noise"]
    np.testing.assert_array_equal(augmentation.intensity(drawn, image), expected)


def test_every_built_in_transform_has_its_numbers_in_the_augmentation():
    kinds = [
        kind
        for name, kind in vars(package).items()
        if isinstance(kind, type)
        and issubclass(kind, Transform)
        and kind not in (Transform, GeometricTransform, IntensityTransform)
    ]
    assert len(kinds) == 13
    names = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    fields = [field.name for field in dataclasses.fields(Augmentation)]
    assert sorted([*names, "transforms"]) == sorted(fields)


# === Errors ===


def of_another_shape(image, parameters, xp):
    return image[..., 1:, :]


def of_another_dtype(image, parameters, xp):
    return xp.cast(image, "float16") if xp is KERAS else np.float64(image)


def of_no_array(image, parameters, xp):
    return 0.5


def not_for_batches(image, parameters, xp):
    return image + xp.reshape(parameters, (-1,))[0]


def with_its_own_dice(image, parameters, xp):
    return image + np.float32(np.random.default_rng().uniform())


def of_numpy_alone(image, parameters, xp):
    return image + xp.tanh(image)


def failing(image, parameters, xp):
    raise KeyError("grey")


def too_few(image, parameters):
    return image


class Mirror(GeometricTransform):
    def count(self, dimensions):
        return 0

    def draw(self, unit, grid, xp, seed=None):
        return {"sign": np.float32(-1.0) * np.ones(unit.shape[:-1], "float32")}

    def affine(self, parameters, grid, spacing, size, xp):
        sign = parameters["sign"][..., None, None]
        return (
            np.eye(len(grid) + 1, dtype="f4")
            * np.ones_like(sign)
            * np.where(np.eye(len(grid) + 1)[0] == 1, sign, 1).astype("f4")
        )


class NoAffine(Mirror):
    def affine(self, parameters, grid, spacing, size, xp):
        return np.ones((3, len(grid) + 1, len(grid) + 1), "float32")


class Narrow(Mirror):
    def affine(self, parameters, grid, spacing, size, xp):
        return np.eye(2, dtype="float32")


class Misspelt(Mirror):
    affine = GeometricTransform.affine

    def affin(self, parameters, grid, spacing, size, xp):
        return np.tile(np.eye(len(grid) + 1, dtype="float32"), (3, 1, 1))


class Endless(Mirror):
    def affine(self, parameters, grid, spacing, size, xp):
        result = np.tile(np.eye(len(grid) + 1, dtype="float32"), (3, 1, 1))
        result[:, 0, 0] = np.inf
        return result


def of_no_number(image, parameters, xp):
    return image * np.float32(np.nan)


class OneForAll(Speckle):
    def draw(self, unit, grid, xp, seed=None):
        return {"field": np.float32(0.1)}


class Forgetful(IntensityTransform):
    def __init__(self, strength):
        pass


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (of_another_shape, r"of_another_shape'.*shape=\(3, 32, 24\).*\(3, 31, 24\)"),
        (of_another_dtype, "dtype=float32. Received: .*dtype=float64"),
        (of_no_array, "'.*of_no_array'.*Received: shape=None"),
        (not_for_batches, "not_for_batches' must return the same"),
        (with_its_own_dice, "with_its_own_dice' must return the same"),
        (of_numpy_alone, "of_numpy_alone' failed .*no attribute 'tanh'"),
        (failing, "failing' failed .*KeyError: 'grey'"),
        (Mirror(), "Mirror' must return an affine that does not mirror.*=-1"),
        (NoAffine(), "NoAffine' must return an affine.*last row"),
        (Narrow(), r"Narrow' returned an affine.*\(3, 3, 3\).*shape=\(2, 2\)"),
        (Misspelt(), "Misspelt' must define `affine` or `displacements`"),
        (Endless(), "`affine` of .*Endless' must be finite. Received: .*inf"),
        (of_no_number, "of_no_number' must return finite .*Received: 2304 values"),
        (OneForAll(), "OneForAll' must draw .*each image.*'field'"),
        (Bulge(3), "Bulge' must return displacements of at least 4 control points"),
        (f"{HERE}nothing", "has no 'nothing'"),
        (f"{HERE}GRID", "must be a function, or a class"),
        ({"name": f"{HERE}lines", "arguments": {"width": 2}}, "no argument `width`"),
        (f"{HERE}Shear", "needs the argument `shear`"),
        (f"{HERE}too_few", r"must take \(image, parameters, xp\).*too_few\(image, par"),
    ],
)
def test_bad_transforms_are_refused_before_a_training(transform, message):
    augmentation = Augmentation(transforms=[transform])
    with pytest.raises(ValueError, match=message) as caught:
        augmentation.validate(GRID)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (lambda image, parameters, xp: image, "`transforms`.*must be a list"),
        ("my_hands:lines", "must be a list"),
        ([lambda image, parameters, xp: image], "lambda or a nested function"),
        ([too_few], r"must take \(image, parameters, xp\)"),
        ([np.sin], "must be a function, or a class"),
        ([Transform], "must be a function, or a class"),
        (["my_hands"], "module:attribute.*Received: .*'my_hands'"),
        (["my_hands.lines"], "module:attribute"),
        (["my hands:lines"], "module:attribute"),
        ([{"arguments": {}}], "{'name': ..., 'arguments': {...}}"),
        ([{"name": "m:f", "strength": 1}], "{'name': ..., "),
        ([{"name": "m:f", "arguments": {"a": np.ones(2)}}], "'m:f' must be values"),
        ([{"name": "m:f", "arguments": {"a": math.nan}}], "'m:f' must be values"),
        ([functools.partial(lines, width=2)], "takes no argument `width`"),
        ([Forgetful(0.1)], "Forgetful must keep its argument `strength`"),
        ([Flip(0.5)], "Mirror images by `flip`"),
        ([Blur()], r"Received: Blur\(blur=0.0\)"),
    ],
)
def test_what_is_no_transform_is_refused_at_once(transforms, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(transforms=transforms)


def test_elastic_transforms_have_as_many_control_points():
    augmentation = Augmentation(elastic=0.1, transforms=(Bulge(6),))
    with pytest.raises(ValueError, match=r"same number.*\(5, 5\) and \(6, 6\)"):
        augmentation.validate(GRID)


def test_good_transforms_pass():
    for grid in (GRID, (8, 10, 6)):
        dataclasses.replace(MINE, transforms=(*MINE.transforms, Bulge())).validate(grid)
        Augmentation().validate(grid)
