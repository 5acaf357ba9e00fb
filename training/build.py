"""Builds the objects of a recipe: model, loss, optimiser, callbacks, method."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import scn_keras.losses
from scn_keras._references import checked_arguments, resolve
from scn_keras.layers import (
    GaussianHeatmap,
    HeatmapPeak,
    LocalRefinement,
    PatchTarget,
    PatchVote,
)
from scn_keras.metrics import PointError, SuccessDetectionRate
from scn_keras.models import GlobalToLocalNet, LandmarkModel
from scn_keras.training.method import Method
from scn_keras.training.recipe import LOSSES, Recipe


def compiled_model(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """Returns the untrained, compiled model of a recipe."""
    keras.utils.set_random_seed(recipe.seed)
    model = build_model(recipe, num_landmarks)
    loss = make_loss(recipe)
    _check_loss(loss, recipe, num_landmarks)
    model.compile(
        make_optimizer(recipe),
        loss,
        metrics=[PointError(), SuccessDetectionRate(2.0)],
        jit_compile=jit_compile(recipe),
    )
    return model


def jit_compile(recipe: Recipe) -> bool | str:
    """Returns whether models of a recipe are compiled by XLA."""
    # Without compilation, JAX executes each operation separately.
    return recipe.jit_compile or keras.backend.backend() == "jax"


def build_model(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """Builds the model of a recipe without compiling it.

    It is a `GlobalToLocalNet` if the recipe has local networks.

    Raises:
        ValueError: If a part does not fit the recipe, such as a network that is not a
            Keras model or has a wrong number of heatmaps.
    """
    network = build_network(recipe, num_landmarks)
    target = recipe.target
    parts: dict[str, Any] = {
        "weight_decay": recipe.optimizer.weight_decay,
        "missing": target.missing,
    }
    if hasattr(network, "patch_size"):
        parts["target"] = PatchTarget(num_landmarks, network.patch_size)
        parts["peak"] = PatchVote(network.patch_size, **recipe.peak_settings)
    else:
        parts["target"] = GaussianHeatmap(
            num_landmarks,
            sigma=target.sigma,
            gamma=target.gamma,
            learnable=target.learnable,
            form=target.form,
            minimum_sigma=target.minimum_sigma,
            penalty_power=target.penalty_power,
        )
        parts["peak"] = _make_peak(recipe)
        parts["sigma_penalty"] = target.sigma_penalty
    if recipe.local is None:
        return LandmarkModel(network, **parts)
    local = LocalRefinement(
        num_landmarks,
        **dataclasses.asdict(recipe.local),
        dtype=recipe.network.dtype,
        name="local",
    )
    return GlobalToLocalNet(network, local, **parts)


def build_network(recipe: Recipe, num_landmarks: int) -> keras.Model:
    """Builds the network of a recipe and validates its inputs and outputs.

    Raises:
        ValueError: If it is not a Keras model from an image with one channel to one
            heatmap per landmark.
    """
    kind, rank = recipe.network.kind, len(recipe.grid)
    network = recipe.network.function()(
        num_landmarks, (*[None] * rank, 1), **recipe.network.settings()
    )
    if not isinstance(network, keras.Model) or len(network.inputs or ()) != 1:
        raise ValueError(
            f"The network {kind} must return a keras.Model with one input, the image. "
            f"Received: {network!r}"
        )
    image = tuple(network.inputs[0].shape)
    if len(image) != rank + 2 or image[-1] != 1:
        raise ValueError(
            f"The network {kind} must have an input of shape (batch, "
            f"{'z, ' * (rank == 3)}y, x, 1). Received: input shape={image}"
        )
    shape = tuple(getattr(network, "output_shape", ()))
    landmarks = shape[rank + 1] if len(shape) in (rank + 2, rank + 3) else None
    if landmarks != num_landmarks:
        raise ValueError(
            f"The last axis of the output of the network {kind} must have "
            f"{num_landmarks} heatmaps, one for each landmark. "
            f"Received: output shape={shape}"
        )
    if ":" in kind:
        _check_stride(network, kind, recipe)
    return network


def _check_stride(network, kind, recipe):
    """Validates the size of the heatmaps against the network's attributes."""
    name = "patch_size" if hasattr(network, "patch_size") else "heatmap_stride"
    stride = getattr(network, name, 1)
    sizes = recipe.window or recipe.grid
    output = tuple(network.compute_output_shape((1, *sizes, 1)))[1 : len(sizes) + 1]
    expected = tuple(size // stride for size in sizes)
    if output != expected:
        raise ValueError(
            f"The heatmaps of the network {kind} have the size {output} for a grid of "
            f"{sizes}, but its attribute `{name}` corresponds to {expected}. Set it to "
            "the ratio of the image's to the heatmaps' size. "
            f"Received: {name}={stride}"
        )


def make_loss(recipe: Recipe) -> keras.losses.Loss:
    """Returns the loss of a recipe.

    Raises:
        ValueError: If the loss is unknown or its name is ambiguous.
    """
    fixed: dict[str, Any] = {}
    if recipe.loss in LOSSES:
        name, fixed = LOSSES[recipe.loss]
        function = getattr(scn_keras.losses, name)
    else:
        modules = (scn_keras.losses, keras.losses)
        function = _find(recipe.loss, "loss", modules, tuple(LOSSES))
    arguments = {**fixed, **recipe.loss_settings}
    loss = _made(function, arguments, "loss_settings")
    if not isinstance(loss, keras.losses.Loss):
        raise ValueError(
            "`loss` must name a subclass of keras.losses.Loss. "
            f"Received: loss={recipe.loss!r}, which returns {loss!r}"
        )
    return loss


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Returns the optimiser of a recipe, with its learning-rate schedule.

    Raises:
        ValueError: If the optimiser or the schedule is unknown.
    """
    settings = recipe.optimizer
    arguments: dict[str, Any] = {"learning_rate": _make_schedule(recipe)}
    if settings.clip_norm is not None:
        arguments["global_clipnorm"] = settings.clip_norm
    if settings.average is not None:
        arguments |= {"use_ema": True, "ema_momentum": settings.average}
    if settings.name == "sgd":
        function = keras.optimizers.SGD
        arguments |= {"momentum": settings.momentum, "nesterov": True}
    elif settings.name == "adam":
        function = keras.optimizers.Adam
        arguments["epsilon"] = settings.epsilon
    else:
        name, known = settings.name, ("adam", "sgd")
        function = _find(name, "optimizer.name", (keras.optimizers,), known)
    arguments |= settings.settings
    optimizer = _made(function, arguments, "optimizer.settings")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "`optimizer.name` must name a subclass of keras.optimizers.Optimizer. "
            f"Received: optimizer.name={settings.name!r}"
        )
    return optimizer


def make_callbacks(recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Returns new instances of the callbacks of a recipe.

    Raises:
        ValueError: If a callback is unknown.
    """
    callbacks = []
    for callback in recipe.callbacks:
        function = _find(callback.name, "callbacks", (keras.callbacks,), ())
        instance = _made(function, callback.arguments, f"callbacks.{callback.name}")
        if not isinstance(instance, keras.callbacks.Callback):
            raise ValueError(
                "`callbacks` must name subclasses of keras.callbacks.Callback. "
                f"Received: {callback.name!r}, which returns {instance!r}"
            )
        callbacks.append(instance)
    return callbacks


def make_method(recipe: Recipe) -> Method:
    """Returns the method of a recipe that does not train a network.

    Raises:
        ValueError: If the method is unknown.
    """
    function = resolve(recipe.method, "method")
    if not (inspect.isclass(function) and issubclass(function, Method)):
        raise ValueError(
            "`method` must be 'network' or name a subclass of "
            "scn_keras.training.Method. "
            f"Received: method={recipe.method!r}"
        )
    return _made(function, recipe.method_settings, "method_settings")


def own_objects(recipe: Recipe) -> dict[str, Any]:
    """Returns the custom objects that Keras needs to load a checkpoint, by name.

    They are the user-defined classes and functions of a recipe, which need not be
    registered with Keras.
    """
    names = {
        "network.kind": recipe.network.kind,
        "loss": recipe.loss,
        "peak": recipe.peak,
        "optimizer.name": recipe.optimizer.name,
        "optimizer.schedule": recipe.optimizer.schedule,
    }
    objects = [resolve(name, what) for what, name in names.items() if ":" in name]
    return {value.__name__: value for value in objects}


def in_float32(
    model: LandmarkModel, recipe: Recipe, num_landmarks: int
) -> LandmarkModel:
    """Returns the model of a recipe in float32, with the weights of `model`."""
    # In bfloat16, points of the same weights differ between programs by more than
    # 0.01 px. The weights themselves are float32.
    network = recipe.network.replaced(dtype="float32")
    result = build_model(dataclasses.replace(recipe, network=network), num_landmarks)
    result.set_weights(model.get_weights())
    return result


def _make_peak(recipe):
    if ":" not in recipe.peak:
        return HeatmapPeak(recipe.peak, **recipe.peak_settings)
    function = resolve(recipe.peak, "peak")
    return _made(function, recipe.peak_settings, "peak_settings")


def _make_schedule(recipe):
    settings = recipe.optimizer
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "cosine":
        warmup = round(settings.warmup * recipe.steps)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else settings.learning_rate,
            max(recipe.steps - warmup, 1),
            alpha=settings.final,
            warmup_target=settings.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    schedules = keras.optimizers.schedules
    function = _find(
        settings.schedule, "optimizer.schedule", (schedules,), ("cosine", "constant")
    )
    arguments = dict(settings.schedule_settings)
    if "initial_learning_rate" in inspect.signature(function).parameters:
        arguments.setdefault("initial_learning_rate", settings.learning_rate)
    schedule = _made(function, arguments, "optimizer.schedule_settings")
    if not isinstance(schedule, schedules.LearningRateSchedule):
        raise ValueError(
            "`optimizer.schedule` must name a subclass of "
            "keras.optimizers.schedules.LearningRateSchedule. "
            f"Received: optimizer.schedule={settings.schedule!r}"
        )
    return schedule


def _find(
    name: str, what: str, modules: Sequence[Any], short_names: Sequence[str]
) -> Any:
    """Finds a class by `"module:Class"`, or by its name in one of the modules."""
    if ":" in name:
        return resolve(name, what)
    classes = {module.__name__: getattr(module, name, None) for module in modules}
    homes = [module for module, value in classes.items() if inspect.isclass(value)]
    if len(homes) > 1 and len({id(classes[home]) for home in homes}) > 1:
        raise ValueError(
            f"`{what}` is ambiguous. Use {' or '.join(f'{h}:{name}' for h in homes)}. "
            f"Received: {what}={name!r}"
        )
    if not homes:
        short = f"one of {', '.join(short_names)}, " if short_names else ""
        raise ValueError(
            f"`{what}` must be {short}a class of {' or '.join(classes)}, or "
            f"module:Class for your own class. Received: {what}={name!r}"
        )
    return classes[homes[0]]


def _made(function, arguments, what):
    """Calls a function or class with validated arguments."""
    checked_arguments(function, arguments, what)
    try:
        return function(**arguments)
    except TypeError as error:  # arguments in **kwargs are not validated before
        raise ValueError(
            f"{getattr(function, '__name__', function)} does not accept the "
            f"arguments: {error}. Received: {what}={dict(arguments)}"
        ) from error


def _check_loss(loss: keras.losses.Loss, recipe: Recipe, num_landmarks: int) -> None:
    """Validates on empty heatmaps that a loss has one value per image and landmark."""
    if getattr(loss, "on_points", False) or getattr(loss, "on_votes", False):
        return
    shape = (2, *[4] * len(recipe.grid), num_landmarks)
    maps = keras.ops.convert_to_tensor(np.zeros(shape, "float32"))
    value = loss.call(maps, maps)
    if tuple(value.shape) != (2, num_landmarks):
        raise ValueError(
            f"The loss {recipe.loss} must return one value for each image and "
            "landmark, (batch, landmarks), so that missing landmarks can be excluded. "
            f"Received: shape={tuple(value.shape)} for heatmaps of shape {shape}"
        )
