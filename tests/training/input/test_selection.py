import numpy as np
import pytest

from scn_keras.training import Augmentation, Recipe
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
    half = selection.observed_points(TWO, "random", np.float32(0.5))
    np.testing.assert_array_equal(half, TWO["points_senior"])
    # Of a batch, each image has its own.
    batch = {name: np.stack([points] * 100) for name, points in TWO.items()}
    together = selection.observed_points(batch, "random", draws)
    np.testing.assert_array_equal(together, np.stack(found))


@pytest.mark.parametrize(
    ("sample", "observer", "message"),
    [
        (TWO, None, "junior, senior, mean, random.*observer=None"),
        (TWO, "chief", "junior, senior, mean, random.*observer='chief'"),
        ({"points": 1}, "mean", "one observer.*Received: observer='mean'"),
        ({"points": 1}, "senior", "one observer.*Received: observer='senior'"),
    ],
)
def test_unknown_observers_are_refused(sample, observer, message):
    with pytest.raises(ValueError, match=message):
        selection.observed_points(sample, observer)
    recipe = Recipe("tiny", "dots", observer=observer)
    with pytest.raises(ValueError, match=f"The data set dots.*{message}"):
        selection.require_observer(sample, (), recipe)


@pytest.mark.parametrize("observer", ["mean", "random", "senior", "consensus"])
def test_observers_and_ground_truths_are_accepted(observer):
    recipe = Recipe("tiny", "dots", observer=observer)
    sample = {**TWO, "points_consensus": None}
    selection.require_observer(sample, ["consensus"], recipe)
    selection.require_observer(["points"], [], Recipe("tiny", "dots"))


@pytest.mark.parametrize("observer", ["mean", "consensus"])
def test_other_ground_truths_do_not_enter_the_mean(observer):
    truths = ("consensus", "second")
    sample = {
        **TWO,
        "id": "a",
        **{f"points_{name}": np.zeros((2, 2)) for name in truths},
    }
    recipe = Recipe("tiny", "dots", observer=observer)
    kept = selection.without_other_truths(sample, truths, recipe)
    own = {"points_consensus"} if observer == "consensus" else set()
    assert set(kept) == {"id", "points_junior", "points_senior"} | own


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
    with pytest.raises(ValueError, match="Increase it.*validation=0.1, 3 groups"):
        selection.split_groups(["a", "b", "c"], 0.1, seed=1)
    with pytest.raises(ValueError, match="Decrease it.*validation=0.9, 2 groups"):
        selection.split_groups(["a", "b"], 0.9, seed=1)


@pytest.mark.parametrize(("count", "parts"), [(20, 4), (23, 5), (7, 7), (9, 2)])
def test_folds_never_train_on_what_they_hold_out(count, parts):
    groups = [f"patient {n}" for n in range(count)]
    held_out = []
    for part in range(parts):
        # Several images of each patient, in another order each time.
        images = np.random.default_rng(part).permutation(groups * 3).tolist()
        training, validation = selection.fold_groups(images, (part, parts), seed=5)
        assert set(training).isdisjoint(validation)
        assert sorted([*training, *validation]) == sorted(groups)
        assert len(validation) in (count // parts, -(-count // parts))
        held_out += validation
    assert sorted(held_out) == sorted(groups)  # each once


def test_folds_are_dealt_by_seed():
    groups = [f"patient {n}" for n in range(12)]
    folds = {
        tuple(selection.fold_groups(groups, (0, 3), seed=seed)[1]) for seed in range(9)
    }
    assert len(folds) > 5


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(ValueError, match=r"fold=\(0, 3\), 2 groups"):
        selection.fold_groups(["a", "b", "b"], (0, 3), seed=0)


@pytest.mark.parametrize(
    "setting",
    [
        *("image_to_grid.grid_spacing=(0.5, 0.5)", "augmentation.elastic_mm=5.0"),
        "augmentation.translation_mm=5.0",
    ],
)
def test_millimetres_out_of_the_landmarks_are_refused(setting):
    recipe = Recipe("tiny", "dots", augmentation=Augmentation(translation=0.0))
    selection.refuse_millimetres(recipe, "the wrist is 50 mm wide")
    with pytest.raises(ValueError, match=f"Received: {setting.partition('=')[0]}$"):
        selection.refuse_millimetres(recipe.override([setting]), "the wrist")
