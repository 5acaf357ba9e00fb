import dataclasses
import time

import pytest

from scn_keras.models import LandmarkModel
from scn_keras.training import budget
from scn_keras.training.budget import steps_within


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
    assert steps_within(1.0, recipe, dots) == pytest.approx(300, rel=0.1)
    without = dataclasses.replace(recipe, validation=0.0)
    assert steps_within(0.5, without, dots) == pytest.approx(300, rel=0.1)


def test_a_real_model_gets_at_least_one_step(recipe, dots, monkeypatch):
    monkeypatch.setattr(budget, "_TIMED_SECONDS", 0.01)
    assert steps_within(1e-6, recipe, dots) == 1
    assert steps_within(1.0, recipe, dots) > 60


def test_no_time(recipe, dots):
    with pytest.raises(ValueError, match="must be positive. Received: minutes=0"):
        steps_within(0, recipe, dots)
