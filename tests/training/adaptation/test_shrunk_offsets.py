import numpy as np
import pytest

from scn_keras.training.adaptation.shrunk_offsets import shrunk_offsets

TRUE = np.zeros((12, 2))
TRUE[0], TRUE[1], TRUE[2] = (0.0, 4.0), (2.0, -2.0), (-3.0, 0.0)


def drawn(n, seed, true=TRUE, deviation=1.0):
    random = np.random.default_rng(seed)
    return true + deviation * random.normal(size=(n, *true.shape))


def error(offsets, true=TRUE):
    return np.linalg.norm(offsets - true, axis=1)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_better_than_means_and_than_none(n):
    # Over 30 draws: landmarks without an offset stay nearly where they are, and those
    # with one lose little of it.
    estimates = [shrunk_offsets(drawn(n, seed)) for seed in range(30)]
    means = [drawn(n, seed).mean(0) for seed in range(30)]
    of_estimate = np.mean([error(e.offsets) for e in estimates], axis=0)
    of_mean = np.mean([error(mean) for mean in means], axis=0)
    assert of_estimate[3:].mean() < 0.5 * of_mean[3:].mean()
    assert of_estimate[:3].mean() < 1.3 * of_mean[:3].mean()
    assert of_estimate.mean() < of_mean.mean() < error(np.zeros_like(TRUE)).mean()


def test_evidence_grows_with_the_number_of_images():
    few, many = (
        [shrunk_offsets(drawn(n, seed)) for seed in range(20)] for n in (2, 40)
    )
    assert min(estimate.evidence[:3].min() for estimate in many) > 0.99
    assert np.mean([estimate.evidence[3:] for estimate in many]) < 0.3
    assert np.mean([estimate.evidence[:3] for estimate in few]) < 0.98
    np.testing.assert_allclose(many[0].offsets[:3], TRUE[:3], atol=0.5)


def test_without_offsets_nothing_moves_far():
    true = np.zeros((12, 3))
    estimates = [shrunk_offsets(drawn(5, seed, true)).offsets for seed in range(20)]
    # A mean of five has a length of 0.71 on average: sqrt(8 / pi / 5).
    assert np.mean([error(offsets, true) for offsets in estimates]) < 0.18


def test_one_wrong_point_has_little_influence():
    vectors = drawn(6, 1)
    expected = shrunk_offsets(vectors).offsets
    vectors[2, 5] = [80.0, -60.0]
    np.testing.assert_allclose(shrunk_offsets(vectors).offsets, expected, atol=0.5)


def test_known_deviations_tell_an_offset_from_an_error():
    # Two vectors of 3 and -1 are noise where errors of 3 are usual.
    vectors = 0.3 * drawn(2, 2, np.zeros((12, 2)))
    vectors[:, 0] += [1.0, 0.0]
    precise = shrunk_offsets(vectors, np.full(12, 0.3))
    coarse = np.full(12, 0.3)
    coarse[0] = 3.0
    assert precise.offsets[0, 0] > 0.7
    assert abs(shrunk_offsets(vectors, coarse).offsets[0, 0]) < 0.3


def test_scale_of_the_space_does_not_matter():
    vectors = drawn(5, 3)
    small = shrunk_offsets(0.01 * vectors)
    np.testing.assert_allclose(
        100.0 * small.offsets, shrunk_offsets(vectors).offsets, atol=1e-6
    )


def test_missing_points():
    vectors = drawn(6, 4)
    vectors[:, 4] = np.nan  # a landmark that the clinic does not mark
    vectors[1:, 5] = np.nan  # one that is marked once
    vectors[0, 0] = np.nan
    estimate = shrunk_offsets(vectors)
    np.testing.assert_array_equal(estimate.offsets[4], 0.0)
    assert estimate.evidence[4] == 0.0
    assert np.isfinite(estimate.offsets).all()
    np.testing.assert_allclose(estimate.offsets[0], TRUE[0], atol=1.5)
    with pytest.raises(ValueError, match="at least two images"):
        shrunk_offsets(vectors[:1])
