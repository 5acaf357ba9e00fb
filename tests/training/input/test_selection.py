import numpy as np
import pytest

from scn_keras.training.input import selection

TWO = {
    "points_senior": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "points_junior": np.array([[3.0, 2.0], [np.nan, np.nan]]),
}


def test_the_only_points():
    points = np.array([[1.0, 2.0]])
    assert selection.observed_points({"points": points, "id": 1}, None) is points


@pytest.mark.parametrize("name", ["senior", "junior"])
def test_one_observer(name):
    found = selection.observed_points(TWO, name)
    np.testing.assert_array_equal(found, TWO[f"points_{name}"])


def test_the_mean_lacks_what_any_observer_lacks():
    found = selection.observed_points(TWO, "mean")
    np.testing.assert_array_equal(found, [[2.0, 2.0], [np.nan, np.nan]])


def test_random_takes_each_observer_half_the_time():
    draws = (np.arange(100) + 0.5) / 100
    found = [
        selection.observed_points(TWO, "random", np.float32(draw)) for draw in draws
    ]
    junior = sum(np.array_equal(f, TWO["points_junior"], equal_nan=True) for f in found)
    senior = sum(np.array_equal(f, TWO["points_senior"]) for f in found)
    assert (junior, senior) == (50, 50)
    last = selection.observed_points(TWO, "random", np.float32(1 - 2**-24))
    np.testing.assert_array_equal(last, TWO["points_senior"])
    # Of a batch, each image has its own.
    batch = {name: np.stack([points] * 100) for name, points in TWO.items()}
    together = selection.observed_points(batch, "random", draws)
    np.testing.assert_array_equal(together, np.stack(found))


@pytest.mark.parametrize(
    ("sample", "observer", "message"),
    [
        (TWO, None, "observers .'junior', 'senior', 'mean', 'random'.*observer=None"),
        (TWO, "chief", "'junior', 'senior', 'mean', 'random'.*observer='chief'"),
        ({"points": 1}, "mean", r"observers \[None\]. Received: observer='mean'"),
        ({"points": 1}, "senior", r"observers \[None\]. Received: observer='senior'"),
    ],
)
def test_unknown_observers_are_refused(sample, observer, message):
    with pytest.raises(ValueError, match=message):
        selection.observed_points(sample, observer)


def test_groups_are_split_whole():
    groups = [f"patient {n % 20}" for n in range(50)]
    training, validation = selection.split_groups(groups, 0.25, seed=1)
    assert len(validation) == 5
    assert len(training) == 15
    assert sorted(training + validation) == sorted(set(groups))


def test_groups_are_split_by_seed_whatever_their_order():
    groups = [f"patient {n}" for n in range(20)]
    first = selection.split_groups(groups, 0.25, seed=1)
    assert selection.split_groups(reversed(groups * 2), 0.25, seed=1) == first
    others = {tuple(selection.split_groups(groups, 0.25, seed=s)[1]) for s in range(9)}
    assert len(others) > 5


def test_nothing_held_out():
    assert selection.split_groups(["b", "a"], 0.0, seed=1) == (["a", "b"], [])


def test_a_split_with_an_empty_side_is_refused():
    with pytest.raises(ValueError, match="10% of 3 groups, which is none. Raise it"):
        selection.split_groups(["a", "b", "c"], 0.1, seed=1)
    with pytest.raises(ValueError, match="90% of 2 groups, which leaves none"):
        selection.split_groups(["a", "b"], 0.9, seed=1)
