import numpy as np
import pytest
from keras import ops

from scn_keras.layers import PatchVote
from tests.contract import check_contract

SIZES = {1: (6,), 2: (3, 4), 3: (2, 3, 2)}
SIZE = 8


def vote(votes, **options):
    found = PatchVote(SIZE)(votes.astype("float32"), **options)
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


def votes_for(places, p):
    """Votes of probabilities `(B, *patches, N)` for places `(B, *patches, N, D)`."""
    sizes = places.shape[1:-2]
    votes = np.empty((*places.shape[:-1], 1 + len(sizes)))
    votes[..., 0] = np.log(p) - np.log1p(-p)
    for index in np.ndindex(*sizes):
        centre = SIZE * np.array(index[::-1]) + (SIZE - 1) / 2.0
        away = places[(slice(None), *index)] - centre
        logarithm = np.sign(away) * np.log10(np.abs(away) + 1.0)
        votes[(slice(None), *index, slice(None), slice(1, None))] = logarithm
    return votes


def planted(rank, batch=2, landmarks=3):
    random = np.random.default_rng(rank)
    places = random.uniform(-9.0, 40.0, (batch, *SIZES[rank], landmarks, rank))
    return places, random.uniform(0.01, 0.99, places.shape[:-1])


@pytest.mark.parametrize("rank", SIZES)
def test_points_are_weighted_means_and_covariances_theirs(rank):
    places, p = planted(rank)
    found = vote(votes_for(places, p))
    for b, n in np.ndindex(*found["score"].shape):
        flat = places[b, ..., n, :].reshape(-1, rank)
        weights = p[b, ..., n].ravel()
        mean = np.average(flat, axis=0, weights=weights)
        np.testing.assert_allclose(found["points"][b, n], mean, atol=1e-3)
        spread = np.cov(flat.T, aweights=weights, ddof=0).reshape(rank, rank)
        np.testing.assert_allclose(
            found["covariance"][b, n], spread, rtol=1e-4, atol=1e-2
        )


def test_points_in_whole_pixels():
    places, p = planted(2)
    votes = votes_for(places, p).astype("float32")
    exact, rounded = PatchVote(SIZE)(votes), PatchVote(SIZE, whole_pixels=True)(votes)
    exact, rounded = (ops.convert_to_numpy(v["points"]) for v in (exact, rounded))
    np.testing.assert_array_equal(rounded, np.floor(exact + 0.5))
    assert np.abs(rounded - exact).max() > 0.2
    layer = PatchVote.from_config(PatchVote(SIZE, whole_pixels=True).get_config())
    assert layer.whole_pixels


def test_patches_that_agree_are_exact_whatever_they_weigh():
    p = planted(2)[1]
    places = np.broadcast_to([13.25, 4.75], (*p.shape, 2))
    found = vote(votes_for(places, p))
    np.testing.assert_allclose(found["points"] - [13.25, 4.75], 0.0, atol=1e-4)
    np.testing.assert_allclose(found["covariance"], 0.0, atol=1e-4)


def test_scores_are_those_of_neighbours_together():
    p = np.full((1, 3, 4, 4), 1e-6)
    p[0, 1, 2, 0] = 0.9  # within a patch
    p[0, 2, 3, 1] = 0.7  # in the corner of the image
    p[0, 1, 1:3, 2] = 0.45, 0.5  # at the border of two
    p[0, 0, 0, 3] = p[0, 2, 3, 3] = 0.4  # in two places far from each other
    votes = votes_for(np.zeros((1, 3, 4, 4, 2)), p)
    score = vote(votes)["score"]
    np.testing.assert_allclose(score, [[0.9, 0.7, 0.95, 0.4]], atol=1e-5)
    half = vote(votes, height=np.array([1.0, 1.4, 1.0, 0.8]))["score"]
    np.testing.assert_allclose(half, [[0.9, 0.5, 0.95, 0.5]], atol=1e-5)
    sure = vote(votes_for(np.zeros((1, 3, 4, 1, 2)), np.full((1, 3, 4, 1), 0.9)))
    assert sure["score"] == [[1.0]]


def test_votes_that_see_nothing_have_a_point_and_no_score():
    votes = votes_for(*planted(2))
    votes[..., 0] = -1e4
    found = vote(votes)
    assert np.isfinite(found["points"]).all()
    np.testing.assert_array_equal(found["score"], 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_votes_that_are_no_numbers(bad):
    votes = votes_for(*planted(2))
    votes[0, 1, 1, 0, 0] = bad
    votes[1, 1, 1, 2, 2] = bad
    found = vote(votes)
    lost = np.zeros((2, 3), bool)
    lost[0, 0] = lost[1, 2] = True
    np.testing.assert_array_equal(np.isnan(found["points"]).all(axis=-1), lost)
    np.testing.assert_array_equal(np.isnan(found["covariance"]).all((-2, -1)), lost)
    np.testing.assert_array_equal(found["score"] == 0.0, lost)
    assert np.isfinite(found["points"][~lost]).all()


@pytest.mark.parametrize("rank", SIZES)
def test_contract(rank):
    votes = votes_for(*planted(rank)).astype("float32")
    check_contract(PatchVote, {"patch_size": SIZE}, votes)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"votes of shape .*\(1, 4, 4, 3\)"):
        PatchVote(8)(np.zeros((1, 4, 4, 3), "float32"))
