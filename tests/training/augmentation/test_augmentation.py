import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from scipy import ndimage, stats

from scn_keras import warp
from scn_keras.array_api import TENSORFLOW
from scn_keras.training.augmentation import Augmentation, swap_pairs
from scn_keras.warp import NUMPY

GRID = (30, 40)  # rows, columns: the centre is at x 19.5, y 14.5
CENTER = np.array([19.5, 14.5])
NOTHING = Augmentation(0, 0, 0, 0, 0, 0)
EVERYTHING = Augmentation(
    flip=0.5, elastic=0.1, crop="x", blur=1, gamma=0.3, contrast=0.2, noise=0.1, erase=1
)


def turn(angle):
    return [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]


def parameters(**changed):
    """Parameters that change nothing but what is given."""
    result = {
        "translation": [0.0, 0.0],
        "rotation": np.eye(2),
        "scale": [1.0, 1.0],
        "intensity_shift": 0.0,
        "intensity_scale": 1.0,
        **changed,
    }
    return {name: np.asarray(value, np.float32) for name, value in result.items()}


def moved(point, spacing=None, **changed):
    """Where a point of the grid goes: the affine tells where a pixel comes from."""
    affine = Augmentation().affine(parameters(**changed), GRID, spacing).astype(float)
    np.testing.assert_array_equal(affine[2], [0, 0, 1])
    return np.linalg.solve(affine, [*point, 1.0])[:2]


def in_graph(augmentation, grid=GRID, count=2000):
    """The parameters of many seeds, drawn as the pipeline draws them."""
    seeds = tf.data.Dataset.range(count).map(lambda n: tf.stack([n * 0 + 5, n]))
    drawn = seeds.map(lambda seed: augmentation.draw(seed, grid, TENSORFLOW))
    batch = next(iter(drawn.batch(count)))
    return {name: value.numpy() for name, value in batch.items()}


@pytest.fixture(scope="module")
def draws():
    drawn = in_graph(Augmentation(0.05, 0.3, 0.2, 0.1, 0.25, 0.4))
    matrix = drawn["rotation"]
    drawn["rotation"] = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    np.testing.assert_allclose(
        matrix, np.moveaxis(turn(drawn["rotation"]), -1, 0), rtol=0, atol=1e-6
    )
    return drawn


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
    tf.random.set_seed(1)
    first = EVERYTHING.draw(tf.constant([3, 4]), GRID, TENSORFLOW)
    tf.random.set_seed(2)
    draw = tf.function(lambda seed: EVERYTHING.draw(seed, GRID, TENSORFLOW))
    tf.nest.map_structure(
        np.testing.assert_array_equal, first, draw(tf.constant([3, 4]))
    )
    for other in ([3, 5], [4, 4]):
        drawn = draw(tf.constant(other))
        assert all(
            (drawn[name].numpy() != first[name].numpy()).any()
            for name in first
            if name != "flip"
        )
    with_numpy = EVERYTHING.draw(7, GRID)
    again = EVERYTHING.draw(7, GRID)
    assert set(with_numpy) == set(first)
    for name, value in with_numpy.items():
        np.testing.assert_array_equal(value, again[name])
        assert value.shape == first[name].shape


def test_what_is_drawn_first_does_not_depend_on_what_else_is_on():
    few = Augmentation().draw(tf.constant([3, 4]), GRID, TENSORFLOW)
    many = EVERYTHING.draw(tf.constant([3, 4]), GRID, TENSORFLOW)
    for name, value in few.items():
        np.testing.assert_array_equal(value, many[name])


def test_zero_ranges_change_nothing():
    drawn = NOTHING.draw(tf.constant([1, 2]), GRID, TENSORFLOW)
    tf.nest.map_structure(np.testing.assert_array_equal, drawn, parameters())
    np.testing.assert_array_equal(NOTHING.affine(drawn, GRID), np.eye(3))
    assert NOTHING.elastic_displacements(drawn, GRID) is None
    image = np.random.default_rng(0).uniform(-1, 1, (4, 5)).astype("float32")
    np.testing.assert_array_equal(NOTHING.intensity(parameters(), image), image)


def test_parameters_are_replayed_from_a_file(tmp_path):
    drawn = EVERYTHING.draw(3, GRID)
    np.savez(tmp_path / "drawn.npz", **drawn)
    read = dict(np.load(tmp_path / "drawn.npz"))
    image = np.random.default_rng(0).uniform(-1, 1, (*GRID, 1)).astype("float32")
    points, affine = np.full((3, 2), 11.0, "f4"), np.eye(3, dtype="f4")
    results = [
        EVERYTHING.apply(parameters, image, points, affine, [(0, 1)], NUMPY)
        for parameters in (drawn, read)
    ]
    tf.nest.map_structure(np.testing.assert_array_equal, *results)


@pytest.mark.parametrize("name", ["translation", "rotation", "intensity_shift"])
def test_negative_ranges_are_refused(name):
    for value in ("-0.1", "nan"):
        message = f"`augmentation.{name}`.*at least 0.*Received: .*{name}={value}$"
        with pytest.raises(ValueError, match=message):
            Augmentation(**{name: float(value)})


@pytest.mark.parametrize("name", ["scale", "scale_per_axis", "intensity_scale"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_scales_that_reach_zero_are_refused(name, value):
    message = f"`augmentation.{name}`.*from 0 to below 1.*Received: .*{name}={value}$"
    with pytest.raises(ValueError, match=message):
        Augmentation(**{name: value})


def test_translation_by_hand():
    # A share of the grid's size: 0.1 of 40 columns to the right, 0.2 of 30 rows up.
    np.testing.assert_allclose(
        moved([3, 4], translation=[0.1, -0.2]), [7, -2], atol=1e-5
    )


def test_quarter_turn_by_hand():
    # From x to y: clockwise on the screen, where y points down.
    quarter = {"rotation": turn(np.pi / 2)}
    np.testing.assert_allclose(moved(CENTER, **quarter), CENTER, atol=1e-5)
    np.testing.assert_allclose(
        moved(CENTER + [5, 0], **quarter), CENTER + [0, 5], atol=1e-5
    )
    np.testing.assert_allclose(
        moved(CENTER + [2, 3], **quarter), CENTER + [-3, 2], atol=1e-5
    )


def test_scale_by_hand():
    # Away from the centre: the image grows.
    np.testing.assert_allclose(
        moved(CENTER + [4, -3], scale=[2.0, 0.5]), CENTER + [8, -1.5], atol=1e-5
    )


def test_scales_then_turns_then_moves():
    found = moved(
        CENTER + [4, 6],
        scale=[2.0, 0.5],
        rotation=turn(np.pi / 2),
        translation=[0.1, 0.1],
    )
    # (4, 6), scaled (8, 3), turned (-3, 8), moved by (4, 3).
    np.testing.assert_allclose(found, CENTER + [1, 11], atol=1e-5)


def test_mirrors_before_it_turns():
    np.testing.assert_allclose(
        moved(CENTER + [4, 6], flip=1.0), CENTER + [-4, 6], atol=1e-5
    )
    found = moved(CENTER + [4, 6], flip=1.0, rotation=turn(np.pi / 2))
    np.testing.assert_allclose(found, CENTER + [-6, -4], atol=1e-5)
    np.testing.assert_allclose(moved([3, 4], flip=0.0), [3, 4], atol=1e-5)


def test_turns_and_moves_in_millimetres():
    # Pixels of 2 mm in x, 0.5 mm in y: 4 mm to the right are 16 px down.
    spacing = np.array([2.0, 0.5], "float32")
    found = moved(CENTER + [2, 0], spacing, rotation=turn(np.pi / 2))
    np.testing.assert_allclose(found, CENTER + [0, 8], atol=1e-5)
    drawn = parameters(translation_mm=[3.0, 3.0])
    del drawn["translation"]
    affine = Augmentation().affine(drawn, GRID, spacing)
    np.testing.assert_allclose(affine[:2, 2], [-1.5, -6.0], atol=1e-5)


def test_crops_anywhere_within_a_larger_image():
    # 100 columns and 20 rows of the grid's size under a grid of 40 x 30.
    size = np.array([100.0, 20.0], "float32")
    for unit, shift in ((-1.0, -30.0), (0.5, 15.0), (1.0, 30.0)):
        drawn = parameters(crop=[unit, unit])
        affine = Augmentation().affine(drawn, GRID, size=size)
        np.testing.assert_allclose(affine[:2, 2], [shift, 0.0], atol=1e-5)
    drawn = in_graph(Augmentation(crop="y"), count=50)["crop"]
    assert (drawn[:, 0] == 0).all() and np.abs(drawn[:, 1]).max() > 0.9


def test_mirrors_as_often_as_asked():
    flips = in_graph(Augmentation(flip=0.25))["flip"]
    assert set(flips) == {0.0, 1.0}
    # A standard error of 0.0097.
    assert flips.mean() == pytest.approx(0.25, abs=0.04)


def test_partners_change_places_in_mirror_images_only():
    points = np.arange(10.0).reshape(5, 2)
    points[2] = np.nan
    found = swap_pairs(points, np.float32(1.0), [(0, 3), (2, 1)], NUMPY)
    np.testing.assert_array_equal(found, points[[3, 2, 1, 0, 4]])
    same = swap_pairs(points, np.float32(0.0), [(0, 3), (2, 1)], NUMPY)
    np.testing.assert_array_equal(same, points)


@pytest.mark.parametrize("grid", [(20, 30), (10, 12, 14)], ids=str)
def test_turns_about_each_axis_as_simpleitk(grid):
    d = len(grid)
    drawn = in_graph(Augmentation(0, 0.5, 0, 0, 0, 0), grid, 200)["rotation"]
    for matrix in drawn:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(d), atol=1e-6)
        if d == 2:
            continue
        # Read off x, y and z, and put together again by SimpleITK: Rz Ry Rx.
        transform = sitk.Euler3DTransform()
        transform.SetComputeZYX(True)
        transform.SetMatrix(matrix.astype(float).ravel().tolist(), 1e-5)
        angles = [transform.GetAngleX(), transform.GetAngleY(), transform.GetAngleZ()]
        assert max(map(abs, angles)) <= 0.5 + 1e-5
        transform.SetRotation(*angles)
        np.testing.assert_allclose(
            np.reshape(transform.GetMatrix(), (3, 3)), matrix, atol=1e-6
        )


def test_all_orientations_are_equally_likely():
    drawn = in_graph(Augmentation(any_rotation=True), (8, 8, 8), 4000)["rotation"]
    np.testing.assert_allclose(
        drawn @ np.swapaxes(drawn, 1, 2), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(drawn), 1.0, atol=1e-5)
    # Where an axis goes is even on the sphere, so each coordinate even on -1..1
    # (Archimedes), and about it the angle t has the density (1 - cos t) / pi (Haar).
    for row in range(3):
        for column in range(3):
            even = stats.kstest(drawn[:, row, column], stats.uniform(-1, 2).cdf)
            assert even.pvalue > 1e-3
    angle = np.arccos(np.clip((np.trace(drawn, axis1=1, axis2=2) - 1) / 2, -1, 1))
    haar = stats.kstest(angle, lambda t: (t - np.sin(t)) / np.pi)
    assert haar.pvalue > 1e-3
    assert np.abs(drawn.mean(axis=0)).max() < 0.04


def test_all_angles_of_an_image():
    drawn = in_graph(Augmentation(any_rotation=True))["rotation"]
    angle = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_elastic_amplitudes():
    spacing = np.array([0.5, 2.0], "float32")
    shares = in_graph(Augmentation(elastic=0.1), count=300)
    pixels = Augmentation().elastic_displacements(shares, GRID)
    assert pixels.shape == (300, 2, 5, 5)
    for axis, size in ((0, 40), (1, 30)):
        assert 0.099 * size < np.abs(pixels[:, axis]).max() <= 0.1 * size + 1e-5
    in_mm = in_graph(Augmentation(elastic_mm=3.0), count=300)
    pixels = Augmentation().elastic_displacements(in_mm, GRID, spacing)
    assert 5.9 < np.abs(pixels[:, 0]).max() <= 6.0 + 1e-5
    assert 1.48 < np.abs(pixels[:, 1]).max() <= 1.5 + 1e-5
    # 0.48 of the distance of control points, 20 and 15 px.
    too_far = Augmentation().elastic_displacements(
        in_graph(Augmentation(elastic=2.0), count=50), GRID
    )
    np.testing.assert_allclose(
        np.abs(too_far).max(axis=(0, 2, 3)), [0.48 * 20, 0.48 * 15], rtol=1e-5
    )


REFERENCE = [  # reference/scn.md section 3.2; degrees of freedom, mm or px, radians
    (
        Augmentation.cephalogram(),
        {"translation_mm": 10, "rotation": 0.25, "scale": 0.2, "scale_per_axis": 0.2},
        {"elastic_mm": 10, "intensity_shift": 0.25, "intensity_scale": 0.25},
        True,
    ),
    (
        Augmentation.hand(),
        {"translation": 10 / 256, "rotation": 0.2, "scale": 0, "scale_per_axis": 0},
        {"elastic": 20 / 256, "intensity_shift": 0.15, "intensity_scale": 0.15},
        False,
    ),
    (
        Augmentation.spine(),
        {"translation_mm": 20, "rotation": 0.2, "scale": 0, "scale_per_axis": 0.1},
        {"elastic_mm": 15, "intensity_shift": 0.15, "intensity_scale": 0.15},
        True,
    ),
]


@pytest.mark.parametrize(
    ("preset", "places", "values", "clip"), REFERENCE, ids=["ceph", "hand", "spine"]
)
def test_presets_are_the_references_table(preset, places, values, clip):
    off = dict.fromkeys(
        ("translation", "translation_mm", "flip", "elastic", "elastic_mm", "blur")
        + ("gamma", "contrast", "noise", "erase", "any_rotation"),
        0,
    )
    expected = {**off, "elastic_points": 5, "clip": clip, **places, **values}
    found = dataclasses.asdict(preset)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert preset.crop == ("z" if preset == Augmentation.spine() else "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": 1.1}, r"\.flip`.*from 0 to 1,.*Received: .*flip=1.1$"),
        ({"erase": -0.1}, r"\.erase`.*from 0 to 1,.*erase=-0.1$"),
        ({"contrast": 1.0}, r"\.contrast`.*below 1,.*contrast=1.0$"),
        ({"noise": -1.0}, r"\.noise`.*noise=-1.0$"),
        ({"translation_mm": 1.0}, "`translation`.*or `translation_mm`"),
        ({"elastic": 0.1, "elastic_mm": 1.0}, "`elastic`.*or `elastic_mm`"),
        ({"elastic_points": 3}, "at least 4. Received: elastic_points=3"),
        ({"crop": "left"}, "axes of 'xyz'. Received: crop='left'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def real_image(shared_data, kind):
    if kind == "volume":
        path = sorted((shared_data / "mouse_skull" / "volumes").glob("*.nii.gz"))[0]
        image = sitk.GetArrayFromImage(sitk.ReadImage(path, sitk.sitkFloat32))
        return np.ascontiguousarray(image[30:120, 30:110, 30:120])
    path = shared_data / "cephalogram" / "RawImage" / "Test1Data" / "151.jpg"
    image = sitk.GetArrayFromImage(sitk.ReadImage(path, sitk.sitkFloat32))
    return np.ascontiguousarray(image[300:2300:2, 200:1800:2])


def simpleitk(image, grid, drawn, spacing):
    """Resamples by SimpleITK's own affine and B-spline, over the grid's pixels."""
    d = len(grid)
    center = [(g - 1) / 2 for g in grid[::-1]]
    affine = sitk.AffineTransform(d)
    scale = drawn["scale"].astype(float)
    if "flip" in drawn:
        scale[0] *= 1 - 2 * drawn["flip"]
    matrix = drawn["rotation"].astype(float) @ np.diag(scale)
    affine.SetMatrix(matrix.ravel().tolist())
    affine.SetCenter(center)
    affine.SetTranslation((drawn["translation_mm"] / spacing).tolist())
    bend = sitk.BSplineTransform(d, 3)
    bend.SetTransformDomainOrigin([-0.5] * d)
    bend.SetTransformDomainPhysicalDimensions([float(g) for g in grid[::-1]])
    bend.SetTransformDomainMeshSize([2] * d)
    bend.SetParameters((drawn["elastic_mm"].astype(float) / spacing).ravel().tolist())
    to_image = sitk.AffineTransform(d)  # the grid's pixels are wider
    zoom = [n / g for n, g in zip(image.shape[::-1], grid[::-1], strict=True)]
    to_image.SetMatrix(np.diag(zoom).ravel().tolist())
    to_image.SetTranslation([(k - 1) / 2 for k in zoom])
    transform = sitk.CompositeTransform([to_image, affine.GetInverse(), bend])

    def resample(array, interpolator, outside):
        return sitk.GetArrayFromImage(
            sitk.Resample(
                sitk.GetImageFromArray(array),
                [int(g) for g in grid[::-1]],
                transform,
                interpolator,
                [0.0] * d,
                [1.0] * d,
                np.eye(d).ravel().tolist(),
                outside,
            )
        )

    # Up to half a pixel outside, SimpleITK repeats the border, and this package
    # blends it with the outside: only what lies within the outer pixels compares.
    within = np.zeros(image.shape, np.uint8)
    within[(slice(1, -1),) * d] = 1
    inside = resample(within, sitk.sitkNearestNeighbor, 0) > 0
    warped = resample(image.astype(np.float64), sitk.sitkLinear, np.nan)
    return warped, inside, transform, zoom


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["radiograph", "volume"])
def test_warps_real_images_and_their_points_as_simpleitk(shared_data, kind, seed):
    image = real_image(shared_data, kind)
    d = image.ndim
    grid = (240, 200) if d == 2 else (60, 50, 56)
    spacing = np.float32(0.7)
    augmentation = Augmentation(
        translation=0, translation_mm=5, rotation=0.4, flip=0.5, elastic_mm=7
    )
    drawn = augmentation.draw(seed + 1, grid)
    expected, inside, transform, zoom = simpleitk(image, grid, drawn, spacing)
    assert inside.mean() > 0.4

    @tf.function
    def ours(image, points, zoom, drawn):
        offset = (zoom - 1.0) * 0.5
        to_image = tf.linalg.diag(tf.concat([zoom, [1.0]], 0))
        to_image += tf.pad(tf.concat([offset, [0.0]], 0)[:, None], [[0, 0], [d, 0]])
        pixel = tf.fill([d], spacing)
        affine = to_image @ augmentation.affine(drawn, grid, pixel, xp=TENSORFLOW)
        elastic = augmentation.elastic_displacements(drawn, grid, pixel, TENSORFLOW)
        places = warp.sampling_grid(affine, grid, elastic, TENSORFLOW)
        bordered = warp.pad_border(image, d, 0.0, TENSORFLOW)
        return (
            warp.interpolate(bordered, places, TENSORFLOW),
            warp.invert_map(affine, points, grid, elastic, TENSORFLOW),
        )

    random = np.random.default_rng(seed)
    start = random.uniform(3, np.array(grid[::-1]) - 4, (20, d))
    points = np.array([transform.TransformPoint(p) for p in start], np.float32)
    found, back = ours(image, points, np.float32(zoom), drawn)
    # Grey levels of 255.
    difference = np.abs(found.numpy() - expected)[inside]
    assert difference.max() <= 1e-2, difference.max()
    np.testing.assert_allclose(back, start, rtol=0, atol=2e-3)


def test_shifts_then_scales_then_clips_grey_values():
    image = np.array([[-1.0, -0.5, 0.0, 0.25, 0.9]], np.float32)
    drawn = parameters(intensity_shift=0.25, intensity_scale=1.2)
    found = NOTHING.intensity(drawn, image)
    np.testing.assert_allclose(found[0], [-0.9, -0.3, 0.3, 0.6, 1.0], rtol=0, atol=1e-6)
    dark = parameters(intensity_shift=-0.25, intensity_scale=1.2)
    assert NOTHING.intensity(dark, image)[0, 0] == -1.0
    free = dataclasses.replace(NOTHING, clip=False)
    np.testing.assert_allclose(free.intensity(dark, image)[0, 0], -1.5, atol=1e-6)


def test_gamma_and_contrast_by_hand():
    image = np.array([[-1.0, -0.5, 0.0, 1.0]], np.float32)
    found = NOTHING.intensity(parameters(gamma=2.0), image)
    np.testing.assert_allclose(found[0], [-1.0, -0.875, -0.5, 1.0], atol=1e-5)
    found = NOTHING.intensity(parameters(contrast=0.5), image)
    np.testing.assert_allclose(found[0], [-0.5625, -0.3125, -0.0625, 0.4375], atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 31), (10, 12, 14)], ids=str)
def test_blurs_as_scipy_away_from_borders(shape):
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    found = NOTHING.intensity(parameters(blur=0.8), image)
    expected = ndimage.gaussian_filter(image.astype(float), 0.8, truncate=8)
    inner = (slice(4, -4),) * len(shape)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=2e-5)
    flat = NOTHING.intensity(parameters(blur=2.0), np.full(shape, 0.3, np.float32))
    np.testing.assert_allclose(flat, 0.3, rtol=0, atol=1e-6)


def test_noise_is_white_and_as_strong_as_drawn():
    augmentation = dataclasses.replace(NOTHING, noise=0.2, clip=False)
    drawn = in_graph(augmentation, (50, 60), 40)["noise"]
    level = drawn.std(axis=(1, 2))
    assert 0 < level.min() and level.max() < 0.21
    assert 0.07 < level.mean() < 0.13
    next_to_each_other = (drawn[:, :, 1:] * drawn[:, :, :-1]).mean(axis=(1, 2))
    assert (np.abs(next_to_each_other) < 0.1 * level**2).all()
    noise = np.float32(0.1) * np.ones((4, 5), np.float32)
    found = augmentation.intensity(parameters(noise=noise), np.zeros_like(noise))
    np.testing.assert_allclose(found, 0.1, rtol=1e-6)


@pytest.mark.parametrize("grid", [(40, 50), (12, 14, 16)], ids=str)
def test_erases_a_box(grid):
    augmentation = dataclasses.replace(NOTHING, erase=0.5, erase_size=0.4)
    image = np.full(grid, 7.0, np.float32)
    erased = 0
    for seed in range(60):
        drawn = augmentation.draw(seed, grid)
        drawn["intensity_scale"] = np.float32(1.0)
        found = dataclasses.replace(augmentation, clip=False).intensity(drawn, image)
        changed = found != 7.0
        if not changed.any():
            continue
        erased += 1
        assert len(set(found[changed])) == 1 and abs(found[changed][0]) <= 1
        sides = [
            np.flatnonzero(changed.any(axis=tuple({*range(len(grid))} - {a})))
            for a in range(len(grid))
        ]
        assert changed.sum() == np.prod([len(s) for s in sides])
        for side, size in zip(sides, grid, strict=True):
            assert len(side) <= 0.4 * size + 1
    assert 15 < erased < 45
