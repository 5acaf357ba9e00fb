import dataclasses

import pytest

from scn_keras.models import LandmarkModel
from scn_keras.training.experiments import budget
from scn_keras.training.experiments.budget import recipe_within


class Clock:
    """Time that passes only in the planted durations, on a busy machine as well."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(budget, "time", self)
        monkeypatch.setattr(budget, "_TIMED_SECONDS", 1.0)

    def monotonic(self):
        return self.now

    def plant(self, owner, name, seconds, works=False):
        original = getattr(owner, name)

        def function(*args, **kwargs):
            self.now += seconds
            return original(*args, **kwargs) if works else None

        self._monkeypatch.setattr(owner, name, function)


@pytest.fixture
def clock(monkeypatch):
    """5 s to open the data, 0.1 s for a step, 0.2 s for a batch of validation."""
    clock = Clock(monkeypatch)
    clock.plant(budget, "open_source", 5.0, works=True)
    clock.plant(LandmarkModel, "train_on_batch", 0.1)
    clock.plant(LandmarkModel, "test_on_batch", 0.2)
    return clock


def test_start_steps_and_validations_fill_the_time(recipe, dots, clock):
    # A validation of one batch after every second step: 0.2 s for a step. The start is
    # 5 s, three steps and a batch of validation: 5.5 s, once here and once in the
    # training. The measurement: 11 steps until more than 1 s has passed, and 2 batches.
    # 60 - 2 * 5.5 - 1.1 - 0.4 = 47.5 s.
    assert recipe_within(1.0, recipe, dots).steps == pytest.approx(237, abs=1)
    assert clock.now == pytest.approx(7.0)
    without = dataclasses.replace(recipe, validation=0.0)
    # 30 - 2 * 5.3 - 1.1 = 18.3 s of steps of 0.1 s.
    assert recipe_within(0.5, without, dots).steps == pytest.approx(183, abs=1)


def test_coarse_and_fine_share_the_time_as_their_own_steps_do(recipe, dots, clock):
    # Twice a start of 5.3 s here and in the training, and 1.1 s of measurement:
    # 60 - 4 * 5.3 - 2.2 = 36.6 s are 366 steps, of which the coarse part, which has
    # three times as many of its own, gets three quarters.
    recipe = dataclasses.replace(recipe, validation=0.0, steps=10)
    coarse = dataclasses.replace(recipe, steps=30)
    staged = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(
            recipe.image_to_grid, grid_spacing=(1.0, 1.0)
        ),
        coarse=coarse,
    )
    staged = recipe_within(1.0, staged, dots)
    assert staged.steps == pytest.approx(91, abs=1)
    assert staged.coarse.steps == pytest.approx(274, abs=1)


def test_a_real_model_gets_at_least_one_step(recipe, dots, monkeypatch):
    monkeypatch.setattr(budget, "_TIMED_SECONDS", 0.01)
    assert recipe_within(1e-6, recipe, dots).steps == 1
    assert recipe_within(20.0, recipe, dots).steps > 60


def test_no_time(recipe, dots):
    with pytest.raises(ValueError, match="must be positive. Received: minutes=0"):
        recipe_within(0, recipe, dots)
