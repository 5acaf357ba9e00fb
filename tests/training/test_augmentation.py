import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from scn_keras.training import preprocessing
from scn_keras.training.augmentation import Augmentation

GRID = (30, 40)  # rows, columns: the centre is at x 19.5, y 14.5
CENTER = np.array([19.5, 14.5])
NOTHING = Augmentation(0, 0, 0, 0, 0, 0)


def parameters(**changed):
    """Parameters that change nothing but what is given."""
    result = {
        "translation": [0.0, 0.0],
        "rotation": 0.0,
        "scale": [1.0, 1.0],
        "intensity_shift": 0.0,
        "intensity_scale": 1.0,
        **changed,
    }
    return {name: tf.constant(value, tf.float32) for name, value in result.items()}


def moved(point, **changed):
    """Where a point of the grid goes: the affine tells where a pixel comes from."""
    affine = Augmentation.affine(parameters(**changed), GRID).numpy().astype(float)
    np.testing.assert_array_equal(affine[2], [0, 0, 1])
    return np.linalg.solve(affine, [*point, 1.0])[:2]


@pytest.fixture(scope="module")
def draws():
    """The parameters of 2,000 seeds, drawn as the pipeline draws them."""
    augmentation = Augmentation(0.05, 0.3, 0.2, 0.1, 0.25, 0.4)
    seeds = tf.data.Dataset.range(2000).map(lambda n: tf.stack([n * 0 + 5, n]))
    batch = next(iter(seeds.map(augmentation.draw).batch(2000)))
    return {name: value.numpy() for name, value in batch.items()}


def test_draws_evenly_from_the_ranges(draws):
    for name, low, high in (
        ("translation", -0.05, 0.05),
        ("rotation", -0.3, 0.3),
        ("intensity_shift", -0.25, 0.25),
        ("intensity_scale", 0.6, 1.4),
    ):
        values = (draws[name].reshape(2000, -1) - low) / (high - low)
        assert values.min() >= -1e-6 and values.max() <= 1 + 1e-6
        # The mean of 2,000 even draws is 0.5 with a standard error of 0.0065.
        np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.026)
        np.testing.assert_allclose(values.std(axis=0), 12**-0.5, atol=0.015)


def test_draws_both_kinds_of_scale(draws):
    x, y = draws["scale"].T
    assert 0.8 * 0.9 <= min(x.min(), y.min()) and max(x.max(), y.max()) <= 1.2 * 1.1
    # Of x / y only what is per axis remains.
    assert (0.9 / 1.1 - 1e-6 <= x / y).all() and (x / y <= 1.1 / 0.9 + 1e-6).all()
    assert (x / y).min() < 0.84 and (x / y).max() > 1.19
    # What both share makes them go together, with the correlation of the variances.
    common, own = 0.2**2, 0.1**2
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(common / (common + own), abs=0.03)


def test_draws_are_independent(draws):
    columns = [draws[n].reshape(2000, -1) for n in sorted(draws) if n != "scale"]
    correlation = np.corrcoef(np.concatenate(columns, axis=1).T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.09


def test_draws_by_seed_alone():
    augmentation = Augmentation()
    tf.random.set_seed(1)
    first = augmentation.draw(tf.constant([3, 4]))
    tf.random.set_seed(2)
    again = tf.function(augmentation.draw)(tf.constant([3, 4]))
    tf.nest.map_structure(np.testing.assert_array_equal, first, again)
    for other in ([3, 5], [4, 4]):
        drawn = augmentation.draw(tf.constant(other))
        assert all((drawn[name].numpy() != first[name].numpy()).all() for name in first)


def test_zero_ranges_change_nothing():
    drawn = NOTHING.draw(tf.constant([1, 2]))
    tf.nest.map_structure(np.testing.assert_array_equal, drawn, parameters())
    np.testing.assert_array_equal(NOTHING.affine(drawn, GRID), np.eye(3))
    image = tf.random.stateless_uniform((4, 5, 1), [0, 0], -1.0, 1.0)
    np.testing.assert_array_equal(NOTHING.intensity(drawn, image), image)


@pytest.mark.parametrize("name", ["translation", "rotation", "intensity_shift"])
def test_negative_ranges_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}=-0.1"):
        Augmentation(**{name: -0.1})
    with pytest.raises(ValueError, match=f"Received: {name}=nan"):
        Augmentation(**{name: float("nan")})


@pytest.mark.parametrize("name", ["scale", "scale_per_axis", "intensity_scale"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_scales_that_reach_zero_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*below 1.0. Rec.*{name}={value}"):
        Augmentation(**{name: value})


def test_translation_by_hand():
    # A share of the grid's size: 0.1 of 40 columns to the right, 0.2 of 30 rows up.
    np.testing.assert_allclose(
        moved([3, 4], translation=[0.1, -0.2]), [7, -2], atol=1e-5
    )


def test_quarter_turn_by_hand():
    # From x to y: clockwise on the screen, where y points down.
    turn = {"rotation": np.pi / 2}
    np.testing.assert_allclose(moved(CENTER, **turn), CENTER, atol=1e-5)
    np.testing.assert_allclose(
        moved(CENTER + [5, 0], **turn), CENTER + [0, 5], atol=1e-5
    )
    np.testing.assert_allclose(
        moved(CENTER + [2, 3], **turn), CENTER + [-3, 2], atol=1e-5
    )


def test_scale_by_hand():
    # Away from the centre: the image grows.
    np.testing.assert_allclose(
        moved(CENTER + [4, -3], scale=[2.0, 0.5]), CENTER + [8, -1.5], atol=1e-5
    )


def test_scales_then_turns_then_moves():
    found = moved(
        CENTER + [4, 6], scale=[2.0, 0.5], rotation=np.pi / 2, translation=[0.1, 0.1]
    )
    # (4, 6), scaled (8, 3), turned (-3, 8), moved by (4, 3).
    np.testing.assert_allclose(found, CENTER + [1, 11], atol=1e-5)


def smooth_image(shape, seed=0):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = random.uniform(0.1, 0.5, (6, 2))
    image = sum(np.sin(a * x + b * y + k) for k, (a, b) in enumerate(waves))
    return (image / np.abs(image).max()).astype(np.float32)


def warp_augmented(image, drawn):
    affine = Augmentation.affine(drawn, image.shape)
    coordinates = preprocessing.grid_coordinates(affine, image.shape)
    return preprocessing.warp(tf.constant(image[..., None]), coordinates).numpy()[
        ..., 0
    ]


def warp_simpleitk(image, drawn):
    """Resamples about the centre: scale, rotate, translate, from its own parts."""
    center = (np.array(image.shape[::-1]) - 1) / 2
    scale, angle = drawn["scale"].numpy(), float(drawn["rotation"])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = sitk.AffineTransform(2)
    forward.SetCenter(center.tolist())
    forward.SetMatrix((turn @ np.diag(scale)).ravel().tolist())
    forward.SetTranslation(
        (drawn["translation"].numpy() * np.array(image.shape[::-1])).tolist()
    )
    source = sitk.GetImageFromArray(image.astype(np.float64))
    warped = sitk.Resample(
        source, source, forward.GetInverse(), sitk.sitkLinear, np.nan
    )
    # Up to half a pixel outside, SimpleITK repeats the border, and this package
    # blends it with the outside: only what lies within the outer pixels compares.
    within = np.zeros(image.shape, np.uint8)
    within[1:-1, 1:-1] = 1
    within = sitk.Resample(
        sitk.GetImageFromArray(within),
        source,
        forward.GetInverse(),
        sitk.sitkNearestNeighbor,
        0,
    )
    return sitk.GetArrayFromImage(warped), sitk.GetArrayFromImage(within) > 0


@pytest.mark.parametrize("seed", range(6))
def test_warps_as_simpleitk(seed):
    image = smooth_image((90, 120), seed)
    drawn = Augmentation(0.1, 0.6, 0.3, 0.2).draw(tf.constant([0, seed]))
    expected, inside = warp_simpleitk(image, drawn)
    assert inside.mean() > 0.4
    found = warp_augmented(image, drawn)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=5e-4)


def test_warps_a_radiograph_as_simpleitk(shared_data):
    path = shared_data / "hand" / "images"
    path = sorted(path.glob("*.jpg"))[0]
    image = sitk.GetArrayFromImage(sitk.ReadImage(path, sitk.sitkFloat32))
    image = np.ascontiguousarray(image[:900:2, :700:2]) / 127.5 - 1.0
    drawn = Augmentation().draw(tf.constant([1, 1]))
    expected, inside = warp_simpleitk(image, drawn)
    assert inside.mean() > 0.4
    found = warp_augmented(image, drawn)
    # A thousandth of the range; next to edges, a place off by 1e-5 px makes 1e-4.
    assert np.abs(found[inside] - expected[inside]).max() <= 2e-3


def test_shifts_then_scales_then_clips_grey_values():
    image = tf.constant([-1.0, -0.5, 0.0, 0.25, 0.9])[:, None, None]
    drawn = parameters(intensity_shift=0.25, intensity_scale=1.2)
    found = Augmentation.intensity(drawn, image)
    np.testing.assert_allclose(
        found[:, 0, 0], [-0.9, -0.3, 0.3, 0.6, 1.0], rtol=0, atol=1e-6
    )
    dark = parameters(intensity_shift=-0.25, intensity_scale=1.2)
    assert float(Augmentation.intensity(dark, image)[0, 0, 0]) == -1.0
