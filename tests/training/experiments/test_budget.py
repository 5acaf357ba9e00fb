import dataclasses
import time

import pytest

from scn_keras.models import LandmarkModel
from scn_keras.training.experiments import budget
from scn_keras.training.experiments.budget import recipe_within


def slow(monkeypatch, name, seconds):
    def method(self, *args, **kwargs):
        time.sleep(seconds)

    monkeypatch.setattr(LandmarkModel, name, method)


def test_steps_and_validations_fill_the_time(recipe, dots, monkeypatch):
    # Planted durations: 0.1 s a step, and 0.2 s for the one batch of validation,
    # after every second step, so 0.2 s a step in all.
    monkeypatch.setattr(budget, "_TIMED_SECONDS", 1.0)
    slow(monkeypatch, "train_on_batch", 0.1)
    slow(monkeypatch, "test_on_batch", 0.2)
    assert recipe_within(1.0, recipe, dots).steps == pytest.approx(300, rel=0.1)
    without = dataclasses.replace(recipe, validation=0.0)
    assert recipe_within(0.5, without, dots).steps == pytest.approx(300, rel=0.1)


def test_coarse_and_fine_share_the_time_as_their_own_steps_do(
    recipe, dots, monkeypatch
):
    # 0.1 s a step of either: 60 s are 600 steps, of which the coarse part, which has
    # three times as many of its own, gets three quarters.
    monkeypatch.setattr(budget, "_TIMED_SECONDS", 1.0)
    slow(monkeypatch, "train_on_batch", 0.1)
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
    assert staged.steps == pytest.approx(150, rel=0.1)
    assert staged.coarse.steps == pytest.approx(450, rel=0.1)


def test_a_real_model_gets_at_least_one_step(recipe, dots, monkeypatch):
    monkeypatch.setattr(budget, "_TIMED_SECONDS", 0.01)
    assert recipe_within(1e-6, recipe, dots).steps == 1
    assert recipe_within(1.0, recipe, dots).steps > 60


def test_no_time(recipe, dots):
    with pytest.raises(ValueError, match="must be positive. Received: minutes=0"):
        recipe_within(0, recipe, dots)
