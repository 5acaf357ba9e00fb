"""Learning rates over the steps of a training."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

# Built-in schedules, with those settings of the optimiser that each uses.
SCHEDULES: Mapping[str, tuple[str, ...]] = {
    "cosine": ("warmup", "final"),
    "constant": (),
    "exponential": ("final",),
    "piecewise": ("schedule_settings",),
}


def check_schedule(optimizer: Any, defaults: Mapping[str, Any]) -> None:
    """Validates the settings of an `Optimizer` that belong to its schedule.

    Raises:
        ValueError: If a setting has no effect or does not match.
    """
    schedule, own = optimizer.schedule, ("schedule_settings",)
    used = SCHEDULES.get(schedule, own)
    for name in ("warmup", "final"):
        if name not in used and getattr(optimizer, name) != defaults[name]:
            users = [key for key, names in SCHEDULES.items() if name in names]
            raise ValueError(
                f"`optimizer.{name}` is used by the schedule {' or '.join(users)} "
                f"only. Received: optimizer.{name}={getattr(optimizer, name)}, "
                f"optimizer.schedule={schedule!r}"
            )
    settings = optimizer.schedule_settings
    if settings and "schedule_settings" not in used:
        raise ValueError(
            f"The schedule {schedule} has no `optimizer.schedule_settings`. "
            f"Received: optimizer.schedule_settings={settings}"
        )
    if schedule == "exponential" and not optimizer.final > 0.0:
        raise ValueError(
            "The schedule exponential requires `optimizer.final` above 0, the last "
            "learning rate as a fraction of the first. Received: "
            f"optimizer.final={optimizer.final}"
        )
    if schedule == "piecewise" and not _are_pieces(settings):
        raise ValueError(
            "The schedule piecewise requires `optimizer.schedule_settings` with `at`, "
            "increasing fractions of all steps, and as many `factors` of the learning "
            'rate, such as {"at": (0.5, 0.75), "factors": (0.5, 0.1)}. Received: '
            f"optimizer.schedule_settings={settings}"
        )


def make_built_in_schedule(
    optimizer: Any, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate of a built-in schedule over a number of steps."""
    rate, schedules = optimizer.learning_rate, keras.optimizers.schedules
    if optimizer.schedule == "constant":
        return rate
    if optimizer.schedule == "exponential":
        return schedules.ExponentialDecay(rate, steps, optimizer.final)
    if optimizer.schedule == "piecewise":
        settings = optimizer.schedule_settings
        boundaries = [round(at * steps) for at in settings["at"]]
        return schedules.PiecewiseConstantDecay(
            boundaries, [rate, *(rate * factor for factor in settings["factors"])]
        )
    warmup = round(optimizer.warmup * steps)
    return schedules.CosineDecay(
        0.0 if warmup else rate,
        max(steps - warmup, 1),
        alpha=optimizer.final,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def arguments_of_schedule(optimizer: Any, function: Any) -> dict[str, Any]:
    """Returns the arguments of a schedule's class."""
    arguments = dict(optimizer.schedule_settings)
    if "initial_learning_rate" in inspect.signature(function).parameters:
        arguments.setdefault("initial_learning_rate", optimizer.learning_rate)
    return arguments


def _are_pieces(settings):
    if set(settings) != {"at", "factors"}:
        return False
    at, factors = settings["at"], settings["factors"]
    if not all(isinstance(part, (list, tuple)) for part in (at, factors)):
        return False
    if not all(isinstance(v, (int, float)) for v in (*at, *factors)):
        return False
    edges = (0.0, *at, 1.0)
    increasing = all(a < b for a, b in zip(edges, edges[1:], strict=False))
    return bool(at) and len(at) == len(factors) and increasing and min(factors) >= 0.0
