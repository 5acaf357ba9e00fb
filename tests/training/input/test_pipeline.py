import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from scn_keras import warp
from scn_keras.array_api import TENSORFLOW
from scn_keras.inference import ImageToGrid, resample
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import HeatmapPeak
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.input import pipeline

FILMS = 5
SENIOR = np.arange(FILMS * 3 * 2, dtype=np.float32).reshape(FILMS, 3, 2) + 5.0


@pytest.fixture
def samples():
    """Five films of one size, seen by two observers who differ by 10 pixels."""
    images = np.random.default_rng(0).integers(0, 256, (FILMS, 60, 50, 1), np.uint8)
    junior = SENIOR + 10.0
    junior[2, 1] = np.nan
    return tf.data.Dataset.from_tensor_slices(
        {
            "id": [f"film {n}" for n in range(FILMS)],
            "group": [f"patient {n // 2}" for n in range(FILMS)],
            "image": images,
            "points_senior": SENIOR,
            "points_junior": junior,
            "affine": np.stack([np.diag([0.1, 0.1, 1.0])] * FILMS).astype(np.float32),
        }
    )


@pytest.fixture(scope="module")
def observed(recipe):
    return dataclasses.replace(recipe, observer="random")


def arrays(batches):
    return [
        (image, y["points"], y["affine"]) for image, y in batches.as_numpy_iterator()
    ]


def assert_same(first, second):
    assert len(first) == len(second)
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_of_groups(samples):
    kept = pipeline.of_groups(samples, ["patient 2", "patient 0", "patient 9"])
    ids = [sample["id"].decode() for sample in kept.as_numpy_iterator()]
    assert ids == ["film 0", "film 1", "film 4"]


def test_training_batches_have_the_networks_shapes(samples, observed):
    batches = pipeline.training_batches(samples, observed)
    image, y = batches.element_spec
    assert image == tf.TensorSpec((2, 48, 40, 1), tf.float32)
    assert y["points"] == tf.TensorSpec((2, 3, 2), tf.float32)
    assert y["affine"] == tf.TensorSpec((2, 3, 3), tf.float32)
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
    image, points, affine = arrays(batches.take(1))[0]
    assert image.shape == (2, 48, 40, 1)
    assert np.isfinite(image).all() and np.abs(image).max() <= 1.0
    assert points.shape == (2, 3, 2)
    assert affine.shape == (2, 3, 3)


def test_training_batches_are_the_same_from_any_step_on(samples, observed):
    # As `fit` does: seven steps, and again from the third and from the sixth; both
    # lie in other epochs, since an epoch of five films is two and a half steps.
    def stream(first_step, count):
        tf.keras.utils.set_random_seed(observed.seed)
        batches = pipeline.training_batches(samples, observed, first_step)
        return arrays(batches.take(count))

    whole = stream(0, 7)
    assert_same(stream(3, 4), whole[3:])
    assert_same(stream(6, 1), whole[6:])
    assert_same(stream(0, 2), whole[:2])
    # No two of the batches are alike, nor are those of another seed.
    assert len({image.tobytes() for image, _, _ in whole}) == 7
    tf.keras.utils.set_random_seed(observed.seed)
    other = dataclasses.replace(observed, seed=observed.seed + 1)
    different = arrays(pipeline.training_batches(samples, other).take(1))
    assert not np.array_equal(different[0][0], whole[0][0])


def test_every_image_comes_once_an_epoch_in_changing_order(samples, observed):
    plain = dataclasses.replace(
        observed, augmentation=None, observer="senior", batch_size=1
    )
    batches = arrays(pipeline.training_batches(samples, plain).take(4 * FILMS))
    # In millimetres, the points are still those of the film.
    found = [
        affine[0, 0, 0] * points[0, 0, 0] + affine[0, 0, 2]
        for _, points, affine in batches
    ]
    films = np.round((np.array(found) / 0.1 - 5.0) / 6.0).astype(int).reshape(4, -1)
    for epoch in films:
        assert sorted(epoch) == list(range(FILMS))
    assert len({tuple(epoch) for epoch in films}) > 1


def test_random_observers_change_from_draw_to_draw(samples, observed):
    plain = dataclasses.replace(observed, augmentation=None, batch_size=1)
    batches = arrays(pipeline.training_batches(samples, plain).take(8 * FILMS))
    chosen = {}
    for _, points, affine in batches:
        x = (affine[0, 0, 0] * points[0, 0, 0] + affine[0, 0, 2]) / 0.1
        film = min(
            range(FILMS),
            key=lambda n: min(abs(x - SENIOR[n, 0, 0]), abs(x - SENIOR[n, 0, 0] - 10)),
        )
        chosen.setdefault(film, set()).add(round(x - SENIOR[film, 0, 0]))
    assert set().union(*chosen.values()) == {0, 10}


def test_evaluation_batches_keep_the_order(samples, observed):
    batches = arrays(pipeline.evaluation_batches(samples, observed))
    assert [len(image) for image, _, _ in batches] == [2, 2, 1]
    again = arrays(pipeline.evaluation_batches(samples, observed))
    assert_same(batches, again)
    points = np.concatenate([p for _, p, _ in batches])
    affine = np.concatenate([a for _, _, a in batches])
    found = (
        np.einsum("bij,bnj->bni", affine[:, :2, :2], points) + affine[:, None, :2, 2]
    )
    # Of "random", evaluation takes the mean; the junior lacks a point of film 2.
    expected = (SENIOR + 5.0) * 0.1
    expected[2, 1] = np.nan
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    whole = arrays(pipeline.evaluation_batches(samples, observed, batch_size=5))
    np.testing.assert_array_equal(
        whole[0][0], np.concatenate([image for image, _, _ in batches])
    )


def test_evaluation_images_are_letterboxed_films(samples, observed):
    found = arrays(pipeline.evaluation_batches(samples, observed, batch_size=5))[0][0]
    for image, sample in zip(found, samples.as_numpy_iterator(), strict=True):
        reduced = resample.reduce_image(
            sample["image"] / np.float32(255), observed.image_to_grid, tf.ones(2)
        )
        np.testing.assert_allclose(
            image, resample.resample_to_grid(reduced, observed.grid), rtol=0, atol=1e-5
        )


GRID = (96, 80)


def brightest_on_border(image):
    return max(edge.max() for edge in (image[0], image[-1], image[:, 0], image[:, -1]))


def apply(affine, points):
    return points @ affine[:2, :2].T + affine[:2, 2]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((192, 160), (1, 1)), ((240, 310), (0.1, 0.1)), ((250, 190), (0.2, 0.3))],
    ids=["exact", "landscape", "anisotropic"],
)
def test_an_augmented_blob_lies_where_its_point_says(shape, spacing, recipe):
    augmentation = Augmentation(0.05, 0.4, 0.2, 0.2, 0.0, 0.0)
    recipe = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=GRID),
        augmentation=augmentation,
    )
    turned = np.array([[0.8, -0.6], [0.6, 0.8]]) * spacing
    affine = np.array([[*turned[0], -120.0], [*turned[1], 75.0], [0, 0, 1]], np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    middle = (np.array(GRID[::-1]) - 1) / 2

    @tf.function
    def element(image, point, seed):
        aspect = warp.aspect_of(tf.constant(affine), TENSORFLOW)
        reduced = resample.reduce_image(image, ImageToGrid(GRID), aspect)
        parameters = augmentation.draw(seed, GRID, TENSORFLOW)
        image, labels = pipeline.grid_element(
            reduced, point, tf.constant(affine), recipe, parameters
        )
        return image, labels

    errors, moved, weighed = [], [], 0
    for seed in range(25):
        random = np.random.default_rng(seed)
        start = middle + random.uniform(-14, 14, 2)
        aspect = np.array(spacing, float)
        fit = max(shape[1] * aspect[0] / GRID[1], shape[0] * aspect[1] / GRID[0])
        scale = fit / aspect
        center = (np.array(shape[::-1]) - 1) / 2 + scale * (start - middle)
        # Round on the grid before augmentation, and round after it as well: the
        # linear part is known, and the blob is drawn with what it undoes.
        drawn = augmentation.draw(tf.constant([1, seed]), GRID, TENSORFLOW)
        undone = augmentation.affine(drawn, GRID, xp=TENSORFLOW).numpy()
        linear = np.diag(scale) @ undone[:2, :2]
        covariance = 3.5**2 * linear @ linear.T
        offset = np.stack([x - center[0], y - center[1]], axis=-1)
        distance = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
        blob = np.exp(-0.5 * distance).astype(np.float32)[..., None]
        points = tf.constant([center, [np.nan, np.nan]], tf.float32)
        image, labels = element(blob, points, tf.constant([1, seed]))
        found, expected = image.numpy() + 1.0, labels["points"].numpy()

        assert np.isnan(expected[1]).all()
        # Points and affine still name the same place in space.
        np.testing.assert_allclose(
            apply(labels["affine"].numpy().astype(float), expected[:1].astype(float)),
            apply(affine.astype(float), center[None]),
            rtol=0,
            atol=1e-3,
        )
        # Where all of the blob lies within both images, it can be weighed.
        if max(brightest_on_border(blob), brightest_on_border(found)) < 1e-3:
            mass = ndimage.center_of_mass(np.where(found > 1e-3, found, 0.0)[..., 0])
            np.testing.assert_allclose(mass[::-1], expected[0], rtol=0, atol=2e-3)
            weighed += 1
        peak = HeatmapPeak()(found[None])["points"][0, 0].numpy()
        errors.append(np.abs(peak - expected[0]).max())
        moved.append(np.linalg.norm(expected[0] - start))
    # The augmentation did move them; linear interpolation between the pixels of the
    # reduced image (two or more to one of the grid, 1.3 where it is magnified) moves
    # a peak by as much as 0.05 px.
    assert np.median(moved) > 2.0
    assert weighed >= 10
    assert np.median(errors) < 0.02
    assert max(errors) < 0.06


def test_intensity_is_augmented_as_drawn(recipe):
    augmentation = Augmentation(0, 0, 0, 0, 0.3, 0.3)
    recipe = dataclasses.replace(recipe, augmentation=augmentation)
    image = tf.random.stateless_uniform((48, 40, 1), [0, 1])
    reduced = resample.reduce_image(image, recipe.image_to_grid, tf.ones(2))
    drawn = augmentation.draw(tf.constant([0, 3]), recipe.grid, TENSORFLOW)
    found, _ = pipeline.grid_element(
        reduced, tf.zeros((1, 2)), tf.eye(3), recipe, drawn
    )
    shift, scale = float(drawn["intensity_shift"]), float(drawn["intensity_scale"])
    assert abs(shift) > 0.02 and abs(scale - 1) > 0.02
    expected = np.clip((image.numpy() * 2 - 1 + shift) * scale, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


MIRRORED = Augmentation(0, 0, 0, 0, 0, 0, flip=1.0)


def test_mirror_images_need_pairs(samples, observed):
    recipe = dataclasses.replace(observed, augmentation=MIRRORED)
    for schema in (None, LandmarkSchema(("left", "right", "middle"))):
        with pytest.raises(ValueError, match="no `pairs`.*augmentation.flip=0"):
            pipeline.training_batches(samples, recipe, schema=schema)


def test_mirror_images_swap_partners(samples, observed):
    schema = LandmarkSchema(("left", "right", "middle"), pairs=((0, 1),))
    plain = dataclasses.replace(observed, observer="senior", augmentation=None)
    mirrored = dataclasses.replace(plain, augmentation=MIRRORED)
    tf.keras.utils.set_random_seed(0)
    before = arrays(pipeline.training_batches(samples, plain).take(2))
    tf.keras.utils.set_random_seed(0)
    after = arrays(pipeline.training_batches(samples, mirrored, schema=schema).take(2))
    for (image, points, affine), (image_2, points_2, affine_2) in zip(
        before, after, strict=True
    ):
        # 1e-3: places are 1e-4 px off, in white noise.
        np.testing.assert_allclose(image_2, image[:, :, ::-1], rtol=0, atol=1e-3)
        mirror = [40 - 1, 0] + points * [-1, 1]
        np.testing.assert_allclose(points_2, mirror[:, [1, 0, 2]], rtol=0, atol=1e-4)
        # The same places in space.
        for row in range(2):
            np.testing.assert_allclose(
                apply(affine_2[row], points_2[row]),
                apply(affine[row], points[row])[[1, 0, 2]],
                rtol=0,
                atol=1e-4,
            )


def test_images_kept_on_disk_are_those_kept_in_memory(samples, observed):
    def stream(cache, first_step):
        tf.keras.utils.set_random_seed(observed.seed)
        recipe = dataclasses.replace(observed, cache=cache)
        return arrays(pipeline.training_batches(samples, recipe, first_step).take(3))

    for first_step in (0, 4):
        assert_same(stream("disk", first_step), stream("memory", first_step))


def test_every_image_is_decoded_once(samples, observed):
    for cache in ("memory", "disk"):
        seen = []

        def look(sample, seen=seen):
            number = tf.py_function(lambda n: seen.append(int(n)), [sample["n"]], [])
            with tf.control_dependencies(number if isinstance(number, list) else []):
                return {k: tf.identity(v) for k, v in sample.items() if k != "n"}

        counted = tf.data.Dataset.zip(samples, tf.data.Dataset.range(FILMS)).map(
            lambda sample, n: look({**sample, "n": n})
        )
        recipe = dataclasses.replace(observed, cache=cache)
        list(pipeline.training_batches(counted, recipe).take(3 * FILMS))
        assert sorted(seen) == list(range(FILMS))


def test_volumes_take_the_same_path(recipe):
    # A blob of known centre in a volume of unlike spacings, turned in any direction.
    grid, spacing = (24, 32, 28), np.array([0.5, 0.6, 0.9])
    augmentation = Augmentation(
        translation=0.03, any_rotation=True, scale_per_axis=0.1, elastic=0.05
    )
    network = recipe.network.replaced(spatial_factor=4)
    recipe = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=grid),
        network=network,
        augmentation=augmentation,
        batch_size=1,
    )
    shape, center = (40, 60, 64), np.array([30.0, 33.0, 20.0])
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1], -1)
    offset = (place - center) * spacing / 3.0
    blob = 30000 * np.exp(-0.5 * (offset**2).sum(-1)) - 15000
    affine = np.diag([*spacing, 1.0]).astype("float32")
    samples = tf.data.Dataset.from_tensors(
        {
            "image": blob[..., None].astype(np.int16),
            "points": np.array([center, [np.nan] * 3], np.float32),
            "affine": affine,
        }
    )
    recipe = dataclasses.replace(
        recipe,
        observer=None,
        image_to_grid=dataclasses.replace(
            recipe.image_to_grid,
            normalization="window",
            normalization_limits=(-15000.0, 15000.0),
        ),
        augmentation=dataclasses.replace(
            augmentation, intensity_shift=0.0, intensity_scale=0.0
        ),
    )
    batches = arrays(pipeline.training_batches(samples, recipe).take(12))
    found = []
    for image, points, _ in batches:
        assert image.shape == (1, *grid, 1)
        assert np.isnan(points[0, 1]).all()
        weights = np.maximum(image[0, ..., 0] + 0.9, 0)
        mass = np.array(ndimage.center_of_mass(weights)[::-1])
        # Not exact: where the deformation is uneven, it moves the centre of mass.
        np.testing.assert_allclose(points[0, 0], mass, rtol=0, atol=0.35)
        found.append(points[0, 0])
    assert np.std(found, axis=0).min() > 0.5


def test_elastic_points_are_where_their_dots_are(recipe):
    # Dots of one pixel of the source: found where the inverse says, to its accuracy.
    grid, shape = (96, 80), (288, 240)
    augmentation = Augmentation(0.05, 0.3, 0.2, 0.1, 0, 0, elastic=0.1)
    recipe = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=grid),
        augmentation=augmentation,
    )
    y, x = np.mgrid[: shape[0], : shape[1]]
    errors = []
    for seed in range(12):
        point = np.random.default_rng(seed).uniform(90, 150, 2)
        distance = (x - point[0]) ** 2 + (y - point[1]) ** 2
        dot = np.exp(-distance / (2 * 4.0**2)).astype("float32")[..., None]
        reduced = resample.reduce_image(tf.constant(dot), ImageToGrid(grid), tf.ones(2))
        drawn = augmentation.draw(tf.constant([0, seed]), grid, TENSORFLOW)
        image, labels = pipeline.grid_element(
            reduced, tf.constant(point[None], tf.float32), tf.eye(3), recipe, drawn
        )
        weights = np.maximum(image.numpy()[..., 0] + 0.7, 0)
        mass = ndimage.center_of_mass(weights)
        errors.append(np.abs(labels["points"][0].numpy() - mass[::-1]).max())
    assert np.median(errors) < 0.05
    assert max(errors) < 0.12
