"""What a run has learned about its own errors, on every backend."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.inference.calibration import (
    Calibration,
    radius_factors,
    scale,
    trust_limit,
    uncertainty,
)
from scn_keras.inference.held_out_images import HeldOutImages

NAN = np.nan


def on_numpy(found):
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


def spaces(count, d=2, spacing=1.0):
    return np.tile(np.diag([*[spacing] * d, 1.0]), (count, 1, 1))


def peaks(count, landmarks, d=2, variance=4.0):
    return np.tile(variance * np.eye(d), (count, landmarks, 1, 1))


def shapes(count, d=2, noise=1.0, seed=0):
    """Five landmarks that hang together, anywhere in a grid of about 100 px."""
    random = np.random.default_rng(seed)
    mean = np.array([[10, 10, 0], [60, 0, 5], [40, 40, 50], [0, 80, 20], [70, 90, 40]])
    size = random.uniform(0.95, 1.05, (count, 1, 1))
    place = random.uniform(-10.0, 10.0, (count, 1, d))
    return size * mean[:, :d] + place + noise * random.normal(size=(count, 5, d))


def fitted(truth, score=None, error=1.0, folds=4, **settings):
    random = np.random.default_rng(1)
    count, landmarks, d = truth.shape
    found = truth + error * random.normal(size=truth.shape)
    found = np.where(np.isnan(found), 50.0, found)
    if score is None:
        score = random.uniform(0.6, 0.9, (count, landmarks))
    return Calibration.fit(
        HeldOutImages(
            found,
            score,
            peaks(count, landmarks, d),
            truth,
            spaces(count, d),
            np.arange(count) % folds,
        ),
        **settings,
    )


# By hand: the ceil(0.9 (n + 1))-th of n.
@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (np.arange(1.0, 100.0)[:, None], [90.0]),
        # The 19th of 20, each landmark for itself, in whatever order.
        (
            np.stack([np.arange(20.0, 0.0, -1.0), np.arange(101.0, 121.0)], -1),
            [19, 119],
        ),
        (np.append(np.arange(1.0, 10.0), [NAN] * 3)[:, None], [9.0]),
        # Fewer than 9: those of all landmarks join in, to nine in weight, of which 8.1
        # must be reached. 5 * 1 + 5 * 4 / 6 is 8.33 at the fifth; 5 * 8 / 6 and
        # 5 * 9 / 6 are not enough before the last.
        (np.stack([np.arange(1.0, 6.0), [7.0] + [NAN] * 4, [NAN] * 5], -1), [5, 7, 7]),
        # Ninety ones and a ten: the landmark that has none has a one.
        (np.stack([np.append(np.ones(90), 10.0), np.full(91, NAN)], -1), [1, 1]),
    ],
)
def test_quantiles_are_those_of_hand_arithmetic(ratio, expected):
    np.testing.assert_array_equal(radius_factors(ratio), expected)


def test_nine_in_ten_points_lie_within_their_radius():
    random = np.random.default_rng(0)
    spread = np.array([0.5, 1.0, 4.0])  # of three landmarks, in mm
    covered, count = [], 100

    def draw(number):
        # The peak says how wide an image's errors are, up to a factor of its landmark.
        wide = random.uniform(1.0, 5.0, (number, 3, 1))
        error = wide * spread[:, None] * random.normal(size=(number, 3, 2))
        covariance = (np.square(wide)[..., None] - 0.25) * np.eye(2)
        return wide[..., 0], error, np.ones((number, 3)), covariance

    for _ in range(20):
        _, error, score, covariance = draw(count)
        factors = radius_factors(
            np.linalg.norm(error, axis=-1)
            / ops.convert_to_numpy(scale(score, covariance, spaces(count)))
        )
        wide, error, score, covariance = draw(500)
        radius = factors * ops.convert_to_numpy(scale(score, covariance, spaces(500)))
        within = np.linalg.norm(error, axis=-1) <= radius
        covered.append([within, wide > 3.0])
    within, high = np.concatenate(covered, axis=1)
    # 91 of 101 in the mean. Each calibration on 100 images is off by 3 % (one standard
    # deviation), and 500 images by 1.3 %: the mean of 20 by 0.7 %.
    assert within.mean() == pytest.approx(91 / 101, abs=0.02)
    np.testing.assert_allclose(within.mean(0), 91 / 101, atol=0.025)
    assert within[high].mean() == pytest.approx(within[~high].mean(), abs=0.02)


def test_radii_grow_with_the_peak_and_shrink_with_its_score():
    calibration = fitted(shapes(60))
    narrow, wide = peaks(1, 5, variance=2.0), peaks(1, 5, variance=3.0)
    high, low = np.full((1, 5), 0.9), np.full((1, 5), 0.5)

    def radius(score, covariance, spacing=1.0):
        space = spaces(1, spacing=spacing)
        return ops.convert_to_numpy(calibration.radius(score, covariance, space))

    assert (radius(high, wide) > radius(high, narrow)).all()
    assert (radius(low, wide) > radius(high, wide)).all()
    # Of a score of 0 it is a number.
    assert np.isfinite(radius(0.0 * low, wide)).all()
    np.testing.assert_allclose(
        radius(low, wide, 0.1), 0.1 * radius(low, wide), rtol=1e-5
    )


def test_the_scale_is_the_width_in_space():
    turned = np.array([[0.0, -0.5, 7.0], [0.2, 0.0, 9.0], [0.0, 0.0, 1.0]])
    covariance = np.array([[9.0 - 0.25, 1.0], [1.0, 4.0 - 0.25]])
    # 0.2 mm a pixel along x, whose variance is 9, and 0.5 mm along y.
    expected = math.sqrt((0.04 * 9.0 + 0.25 * 4.0) / 0.25)
    found = scale([[0.25]], covariance[None, None], turned[None])
    assert float(ops.convert_to_numpy(found)[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_presence_is_told_where_landmarks_are_missing():
    truth = shapes(40)
    score = np.random.default_rng(2).uniform(0.6, 0.9, (40, 5))
    truth[:10, 1], score[:10, 1] = NAN, np.linspace(0.05, 0.2, 10)
    truth[5, 3], score[5, 3] = NAN, 0.1
    calibration = fitted(truth, score)
    assert calibration.always.tolist() == [True, False, True, False, True]
    present = ops.convert_to_numpy(calibration.present(score))
    np.testing.assert_array_equal(present, ~np.isnan(truth[..., 0]))
    # Halfway between the two.
    lowest = score[10:, 1].min()
    assert calibration.least_score[1] == pytest.approx(0.5 * (0.2 + lowest))


def test_no_threshold_lies_between_equal_scores():
    truth, score = shapes(40), np.full((40, 5), 0.8)
    truth[:6, 1] = NAN
    score[:7, 1] = 0.0  # the seventh is there, and was not seen
    present = ops.convert_to_numpy(fitted(truth, score).present(score))
    np.testing.assert_array_equal(present[:, 1], score[:, 1] > 0.0)


def test_a_run_that_is_surer_than_its_parts_is_believed_less():
    """Half as wide peaks, so twice the factor; twice the score, twice the threshold."""
    truth = shapes(40)
    alike, surer = fitted(truth), fitted(truth, scale_of_run=0.5, score_of_run=2.0)
    np.testing.assert_allclose(surer.radius_factor, 2.0 * alike.radius_factor)
    np.testing.assert_allclose(surer.least_score, 2.0 * alike.least_score)
    np.testing.assert_allclose(surer.usual_score, 2.0 * alike.usual_score)


def test_a_landmark_that_was_not_found_is_beyond_any_radius():
    truth = shapes(99)
    found = np.array(truth)
    found[:9, 0], found[:10, 1] = NAN, NAN
    made = Calibration.fit(
        HeldOutImages(
            *(found, np.ones((99, 5)), peaks(99, 5), truth, spaces(99)),
            np.arange(99) % 4,
        ),
    )
    # The ceil(0.9 * 100) = 90th of 99 is found, or not.
    assert np.isfinite(made.radius_factor).tolist() == [True, False, True, True, True]
    nowhere = np.full((99, 3, 3), NAN)
    with pytest.raises(ValueError, match="none of them finite"):
        Calibration.fit(
            HeldOutImages(
                *(truth, np.ones((99, 5)), peaks(99, 5), truth, nowhere),
                np.arange(99) % 4,
            ),
        )


def test_where_nothing_is_missing_only_the_lowest_scores_are_absent():
    truth = shapes(200)
    score = np.full((200, 5), 0.8)
    score[:50] = np.linspace(0.4, 0.8, 50)[:, None]
    calibration = fitted(truth, score)
    # Half of what 1 % of the scores are below.
    expected = 0.5 * np.quantile(score, 0.01)
    np.testing.assert_allclose(calibration.least_score, expected, rtol=1e-6)


def turned(points, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    plane = np.eye(points.shape[-1])
    plane[:2, :2] = [[c, -s], [s, c]]
    return points @ plane.T


@pytest.mark.parametrize("d", [2, 3])
def test_unlike_images_are_not_trusted(d):
    calibration = fitted(shapes(60, d))
    truth = shapes(200, d, seed=7)
    score = np.random.default_rng(3).uniform(0.6, 0.9, (200, 5))

    def trusted(points, score=score):
        return ops.convert_to_numpy(calibration.trusted(points, score)).mean()

    assert trusted(truth) >= 0.95
    assert trusted(truth + 300.0) == trusted(truth)  # wherever it lies
    assert trusted(turned(truth, 3.0)) >= 0.9
    # Scores as high as ever: the shape tells.
    for points in (
        *(turned(truth, degrees) for degrees in (90, 180, 270)),
        truth * ([-1.0] + [1.0] * (d - 1)),
        0.5 * truth,
        truth[:, ::-1],
        np.full_like(truth, 40.0),
        np.random.default_rng(4).uniform(0.0, 100.0, truth.shape),
    ):
        assert trusted(points) <= 0.02
    # A shape as it should be: the scores tell.
    assert trusted(truth, 0.1 * score) == 0.0


@pytest.mark.parametrize("d", [2, 3])
def test_small_rotations_do_not_change_the_novelty(d):
    calibration = fitted(shapes(60, d))
    truth = shapes(20, d, seed=7)
    score = np.full((20, 5), 0.75)

    def shape_novelty(points, calibration=calibration):
        return ops.convert_to_numpy(calibration.novelty(points, score))

    unchanged = shape_novelty(truth)
    # The shapes themselves are rotated by less than two degrees.
    for degrees in (-10.0, 5.0, 10.0):
        np.testing.assert_allclose(
            shape_novelty(turned(truth, degrees)), unchanged, atol=1e-3
        )
    # Of 20 degrees, 8 remain.
    eight = dataclasses.replace(calibration, max_rotation=0.0)
    np.testing.assert_allclose(
        np.median(shape_novelty(turned(truth, 20.0))),
        np.median(shape_novelty(turned(truth, 8.0), eight)),
        rtol=0.2,
    )
    if d == 3:  # about another axis, by exchanged coordinates
        other = turned(truth[..., [1, 2, 0]], 10.0)[..., [2, 0, 1]]
        np.testing.assert_allclose(shape_novelty(other), unchanged, atol=1e-3)


def test_lost_points_do_not_spoil_the_rotation():
    calibration = fitted(shapes(60))
    points, score = shapes(20, seed=7), np.full((20, 5), 0.75)
    points[:, 4] = NAN

    def novelty(points):
        return ops.convert_to_numpy(calibration.novelty(points, score))

    np.testing.assert_allclose(novelty(turned(points, 8.0)), novelty(points), atol=1e-3)


def test_the_margin_of_scores_by_hand():
    calibration = dataclasses.replace(
        fitted(shapes(60)),
        usual_score=np.full(5, 0.8),
        usual=np.array([0.02, 0.05]),
        spread=np.array([0.05, 0.1]),
        limit=3.0,
        score_margin=1.0,
        max_rotation=0.0,
    )
    tolerant = calibration.with_tolerances()
    assert (tolerant.score_margin, tolerant.max_rotation) == (2.0, 12.0)
    assert tolerant.limit == calibration.limit
    # A deficit of 0.02 + 3 * 0.05 is the limit, with the margin 0.02 + 6 * 0.05.
    points = shapes(1, noise=0.0)
    for deficit, before, after in (
        (0.16, 1, 1),
        (0.18, 0, 1),
        (0.31, 0, 1),
        (0.33, 0, 0),
    ):
        score = np.full((1, 5), 0.8 * (1.0 - deficit))
        assert bool(calibration.trusted(points, score)[0]) == before
        assert bool(tolerant.trusted(points, score)[0]) == after
    # It ends at a deficit of one half, and never makes the limit stricter.
    wide = dataclasses.replace(calibration, spread=np.array([0.12, 0.1]))
    assert wide.with_tolerances().score_margin == pytest.approx(0.48 / 0.36)
    wider = dataclasses.replace(calibration, spread=np.array([0.3, 0.1]))
    assert wider.with_tolerances().score_margin == 1.0


def test_calibrations_of_earlier_versions_are_as_before():
    """Their novelty by plain NumPy, and their files without the new fields."""
    made = fitted(shapes(60))
    old = dataclasses.replace(made, max_rotation=0.0, score_margin=1.0).to_dict()
    assert set(made.to_dict()) - set(old) == {"max_rotation", "score_margin"}
    read = Calibration.from_dict(json.loads(json.dumps(old)))
    assert (read.max_rotation, read.score_margin) == (0.0, 1.0)
    assert read.to_dict() == old
    points = turned(shapes(4, seed=7), 10.0)
    score = np.random.default_rng(5).uniform(0.3, 0.8, (4, 5))
    expected = []
    for image, scores in zip(points, score, strict=True):
        error = image[:, None] - image[None] - read.shape_mean
        ratio = np.mean((error / read.shape_deviation[..., None]) ** 2, axis=-1)
        deviations = [
            1.0 - np.mean(scores / read.usual_score),
            np.mean(ratio / (ratio + 9.0)),
        ]
        expected.append(np.max((deviations - read.usual) / read.spread))
    found = ops.convert_to_numpy(read.novelty(points, score))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (ops.convert_to_numpy(made.novelty(points, score)) < found - 0.1).all()


def test_landmarks_that_may_be_absent_do_not_matter():
    truth = shapes(60)
    score = np.random.default_rng(2).uniform(0.6, 0.9, (60, 5))
    for image in range(60):
        truth[image, image % 3], score[image, image % 3] = NAN, 0.05
    calibration = fitted(truth, score)
    points = shapes(30, seed=7)
    high = np.full((30, 5), 0.75)

    def trusted(points, score):
        return ops.convert_to_numpy(calibration.trusted(points, score)).mean()

    lacking = high.copy()
    lacking[:, :3] = 0.05
    anywhere = points.copy()
    anywhere[:, :3] = 5.0
    assert trusted(anywhere, lacking) == trusted(points, lacking) >= 0.9
    nowhere = points.copy()
    nowhere[:, :3] = NAN
    assert trusted(nowhere, lacking) == trusted(points, lacking)
    assert trusted(anywhere, high) == 0.0
    # Where nothing is found, or no number, nothing is trusted.
    assert trusted(points, 0.0 * high) == 0.0
    assert trusted(NAN * points, 0.0 * high) == 0.0


def test_false_alarms_are_as_many_as_were_asked_for():
    calibration = fitted(shapes(400))
    seen = shapes(2000, seed=9)
    score = np.random.default_rng(3).uniform(0.6, 0.9, (2000, 5))
    found = seen + np.random.default_rng(4).normal(size=seen.shape)
    alarms = 1.0 - ops.convert_to_numpy(calibration.trusted(found, score)).mean()
    assert 0.002 <= alarms <= 0.05


def test_one_landmark_has_no_shape_but_a_score():
    calibration = fitted(shapes(30)[:, :1])
    points = np.full((2, 1, 2), 20.0)
    found = ops.convert_to_numpy(calibration.trusted(points, [[0.75], [0.05]]))
    assert found.tolist() == [True, False]


def test_units_do_not_matter_to_trust():
    calibration = fitted(shapes(30))
    points, score = shapes(4), np.full((4, 5), 0.7)
    found = on_numpy(
        uncertainty(calibration, points, score, peaks(4, 5), NAN * spaces(4))
    )
    assert np.isnan(found["radius90"]).all()
    assert found["present"].all() and found["trusted"].all()
    assert found["present"].dtype == found["trusted"].dtype == bool
    assert found["radius90"].dtype == np.float32


def test_radii_are_at_most_the_diagonal_of_the_grid():
    calibration = fitted(shapes(30))
    score = np.full((2, 5), 0.7)
    # A grid of 40 columns and 30 rows, of 0.5 mm: a diagonal of 25 mm.
    wide = peaks(2, 5, variance=1e8)
    inputs = (calibration, shapes(2), score, wide, spaces(2, spacing=0.5))
    found = on_numpy(uncertainty(*inputs, (30, 40)))
    np.testing.assert_allclose(found["radius90"], 25.0, rtol=1e-6)
    assert (on_numpy(uncertainty(*inputs))["radius90"] > 25.0).all()
    # Anisotropic: 40 columns of 0.5 mm and 30 rows of 3 mm, sqrt(20² + 90²).
    space = np.tile(np.diag([0.5, 3.0, 1.0]), (2, 1, 1))
    found = on_numpy(uncertainty(*inputs[:4], space, (30, 40)))
    np.testing.assert_allclose(found["radius90"], np.hypot(20, 90), rtol=1e-6)
    # Usual radii are unchanged.
    usual = (calibration, shapes(2), score, peaks(2, 5), spaces(2))
    np.testing.assert_array_equal(
        on_numpy(uncertainty(*usual, (200, 200)))["radius90"],
        on_numpy(uncertainty(*usual))["radius90"],
    )


def test_a_landmark_with_a_score_of_0_is_not_present():
    calibration = fitted(shapes(30), np.zeros((30, 5)))
    found = ops.convert_to_numpy(calibration.present([[0.0, 1e-6, 0.5, 0.0, 0.1]]))
    assert found.tolist() == [[False, True, True, False, True]]


def test_without_a_calibration_nothing_is_vouched_for():
    score = [[0.0, 0.01, 0.9]] * 2
    found = on_numpy(uncertainty(None, shapes(2)[:, :3], score, peaks(2, 3), spaces(2)))
    assert np.isnan(found["radius90"]).all()
    assert found["present"].tolist() == [[False, True, True]] * 2
    assert found["trusted"].tolist() == [False, False]


def test_json_and_back():
    truth = shapes(20)
    truth[:, 1] = NAN  # never there
    made = fitted(truth, weights="abc", protocol={"folds": 4})
    text = json.dumps(made.to_dict(), allow_nan=False)
    read = Calibration.from_dict(json.loads(text))
    for field in dataclasses.fields(Calibration):
        value, other = getattr(made, field.name), getattr(read, field.name)
        np.testing.assert_array_equal(value, other, err_msg=field.name)
    inputs = shapes(3), np.full((3, 5), 0.7), peaks(3, 5), spaces(3)
    for value, other in zip(
        on_numpy(uncertainty(made, *inputs)).values(),
        on_numpy(uncertainty(read, *inputs)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(value, other)


def test_files_that_are_none():
    data = fitted(shapes(12)).to_dict()
    with pytest.raises(ValueError, match="Calibrate the run again.*version=99"):
        Calibration.from_dict({**data, "version": 99})
    with pytest.raises(ValueError, match="damaged"):
        Calibration.from_dict({k: v for k, v in data.items() if k != "limit"})
    with pytest.raises(ValueError, match="`least_score` of a calibration of 5"):
        Calibration.from_dict({**data, "least_score": [0.5]})
    with pytest.raises(ValueError, match="12 images without any"):
        fitted(np.full((12, 5, 2), NAN))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModels are TensorFlow's"
)
def test_it_goes_into_a_graph_of_any_batch():
    import tensorflow as tf

    calibration = fitted(shapes(30))
    graph = tf.function(
        lambda *arrays: uncertainty(calibration, *arrays),
        input_signature=[
            tf.TensorSpec((None, *shape)) for shape in ((5, 2), (5,), (5, 2, 2), (3, 3))
        ],
    )
    linear = ("Matrix", "Inverse", "Svd", "Cholesky", "Qr", "SelfAdjoint")
    operations = graph.get_concrete_function().graph.get_operations()
    assert not [o.type for o in operations if o.type.startswith(linear)]
    for count in (0, 1, 3):
        inputs = (
            *(shapes(count), np.full((count, 5), 0.7), peaks(count, 5)),
            spaces(count).reshape(-1, 3, 3),
        )
        inputs = [np.float32(one) for one in inputs]
        found = on_numpy(graph(*map(tf.constant, inputs)))
        expected = on_numpy(uncertainty(calibration, *inputs))
        for name, value in expected.items():
            assert value.shape[0] == count
            np.testing.assert_allclose(found[name], value, rtol=1e-5)


# By hand: the ceil(0.98 (n + 1))-th of n in order, 1.5 times the largest of too few.
@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, 1.5),
        (48, 72.0),  # 0.98 * 49 is 48.02: there is no 49th
        (49, 49.0),  # 0.98 * 50 is 49
        (50, 50.0),
        (99, 98.0),  # 0.98 * 100 is 98
        (100, 99.0),  # 0.98 * 101 is 98.98
        (150, 148.0),  # 0.98 * 151 is 147.98
        (199, 196.0),
    ],
)
def test_the_rank_of_the_limit_of_trust(count, expected):
    novelty = np.random.default_rng(0).permutation(np.arange(1.0, count + 1.0))
    assert trust_limit(novelty) == expected


def test_the_shape_of_an_image_is_compared_with_other_folds_only():
    # Two landmarks, so far apart in the images of each fold, give or take.
    distances = np.array([[10.0, 10.5, 11.0], [20.0, 20.5, 21.5], [40.0, 41.0, 42.0]])
    fold = np.repeat(np.arange(3), 3)
    truth = np.zeros((9, 2, 2))
    truth[:, 1, 0] = distances.ravel()
    held_out = HeldOutImages(
        truth, np.full((9, 2), 0.5), peaks(9, 2), truth, spaces(9), fold
    )
    expected = []
    for k in range(3):
        others = distances[np.arange(3) != k].ravel()
        center = others.mean()
        # The mean over both axes, of which one has no variance, and the tolerance.
        variance = 0.5 * np.var(others, ddof=1) + (0.05 * center) ** 2 + 1.0
        squared = 0.5 * (distances[k] - center) ** 2 / variance
        # A pair counts in both directions, and each landmark once with itself.
        expected += (2.0 * squared / (squared + 9.0) / 4.0).tolist()
    found = Calibration.fit(held_out)
    median, high = np.percentile(expected, (50, 90))
    np.testing.assert_allclose(found.usual, [0.0, median], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.spread, [0.01, high - median], rtol=1e-4)


def test_an_image_at_the_limit_is_trusted():
    made = fitted(shapes(60))
    points, score = shapes(1, seed=7), np.full((1, 5), 0.4)
    novelty = float(ops.convert_to_numpy(made.novelty(points, score))[0])
    for limit, trusted in (
        (novelty, True),
        (np.nextafter(novelty, -9.0) - 1e-5, False),
    ):
        found = dataclasses.replace(made, limit=limit).trusted(points, score)
        assert ops.convert_to_numpy(found).tolist() == [trusted]
