"""Builds the objects of a recipe: model, loss, optimiser, callbacks, method."""

import dataclasses
import inspect
import pathlib
from typing import Any

import keras

import scn_keras.losses
import scn_keras.optimizers
from scn_keras._references import resolve
from scn_keras.files.model_file import require_sound_model
from scn_keras.layers import (
    GaussianHeatmap,
    HeatmapPeak,
    LocalRefinement,
    PatchTarget,
    PatchVote,
    PyramidRefinement,
)
from scn_keras.metrics import PointError, SuccessDetectionRate
from scn_keras.models import GlobalToLocalNet, LandmarkModel
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE, from_preset
from scn_keras.training._learning_rate import (
    SCHEDULES,
    arguments_of_schedule,
    make_built_in_schedule,
)
from scn_keras.training._part_classes import (
    LOSSES,
    built_in_optimizers,
    find_class,
)
from scn_keras.training._trial import attempt, make, try_model
from scn_keras.training.method import Method
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import GRADIENT_WRAPPERS


def compiled_model(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """Returns the untrained, compiled model of a recipe.

    Its loss and its peak layer have been tried on a small dummy batch.

    Raises:
        ValueError: If a part fails, or parts do not match.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = build_model(recipe, num_landmarks)
    model.compile(
        make_optimizer(recipe),
        make_loss(recipe),
        metrics=[PointError(), SuccessDetectionRate(2.0)],
        jit_compile=jit_compile(recipe),
    )
    try_model(model, recipe, num_landmarks)
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
    layer = LocalRefinement if recipe.local.scales is None else PyramidRefinement
    arguments = recipe.local.layer_arguments()
    local = layer(num_landmarks, **arguments, dtype=recipe.network.dtype, name="local")
    return GlobalToLocalNet(network, local, frozen=recipe.local.frozen, **parts)


def build_network(recipe: Recipe, num_landmarks: int) -> keras.Model:
    """Builds the network of a recipe and validates its inputs and outputs.

    Raises:
        ValueError: If it is not a Keras model from an image with one channel to one
            heatmap per landmark.
    """
    kind, rank = recipe.network.kind, len(recipe.grid)
    function, settings = recipe.network.function(), recipe.network.settings()
    label, image_shape = f"The network {kind!r}", (*[None] * rank, 1)
    if ":" in kind:
        network = attempt(label, function, num_landmarks, image_shape, **settings)
    else:
        network = function(num_landmarks, image_shape, **settings)
    if not isinstance(network, keras.Model) or (
        len(getattr(network, "inputs", None) or ()) != 1
    ):
        raise ValueError(
            f"The network {kind} must return a keras.Model with one input, the image, "
            "in the functional form keras.Model(inputs, outputs). For a subclass of "
            "keras.Model: x = keras.Input(image_shape); keras.Model(x, subclass(x)). "
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
        function = find_class(recipe.loss, "loss")
    return make(function, {**fixed, **recipe.loss_settings}, "loss_settings")


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Returns the optimiser of a recipe, with its learning-rate schedule.

    Raises:
        ValueError: If the optimiser or the schedule is unknown.
    """
    settings = recipe.optimizer
    arguments: dict[str, Any] = {"learning_rate": make_schedule(recipe)}
    wrapper = None
    if isinstance(settings.clip_norm, str):
        name = GRADIENT_WRAPPERS[settings.clip_norm]
        wrapper = getattr(scn_keras.optimizers, name)
    elif settings.clip_norm is not None:
        arguments["global_clipnorm"] = settings.clip_norm
    if settings.average is not None:
        arguments |= {"use_ema": True, "ema_momentum": settings.average}
    if settings.name == "sgd":
        function = keras.optimizers.SGD
        arguments |= {"momentum": settings.momentum, "nesterov": True}
    elif settings.name == "nesterov":
        function = scn_keras.optimizers.NesterovMomentum
        arguments["momentum"] = settings.momentum
    elif settings.name == "adam":
        function = keras.optimizers.Adam
        arguments["epsilon"] = settings.epsilon
    else:
        function = find_class(settings.name, "optimizer.name")
    arguments |= settings.settings
    optimizer = make(function, arguments, "optimizer.settings")
    return optimizer if wrapper is None else wrapper(optimizer)


def make_callbacks(recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Returns new instances of the callbacks of a recipe.

    Raises:
        ValueError: If a callback is unknown.
    """
    return [
        make(
            find_class(callback.name, "callbacks"),
            callback.arguments,
            f"callbacks.{callback.name}",
        )
        for callback in recipe.callbacks
    ]


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
    return make(function, recipe.method_settings, "method_settings")


def require_parts(recipe: Recipe) -> None:
    """Validates the parts of a recipe that can be created without its data.

    Raises:
        ValueError: If a part does not exist, is of another kind, or does not accept its
            arguments.
        ImportError: If the module of a user-defined part cannot be imported.
    """
    make_callbacks(recipe)
    if not recipe.uses_network:
        make_method(recipe).validate(recipe)
    else:
        recipe.network.function()
        make_loss(recipe)
        make_optimizer(recipe)
        if ":" in recipe.peak:
            find_class(recipe.peak, "peak")
    if recipe.coarse is not None:
        require_parts(recipe.coarse)


def load_model(recipe: Recipe, path: pathlib.Path, compile: bool = True) -> Any:
    """Loads a model of a recipe with Keras.

    Keras needs the modules of user-defined classes, which need not be registered. The
    module of a network that consists of layers of Keras is not required.

    Args:
        recipe: `Recipe`.
        path: A `.keras` file, or the folder of a preset.
        compile: Bool, as in Keras, for a file.

    Raises:
        ImportError: If Keras cannot load the model and the module of a user-defined
            part cannot be imported.
        ValueError: If the file may do harm, see `files.model_file`.
    """
    is_preset = (path / CONFIG_FILE).is_file()
    weights = path / WEIGHTS_FILE if is_preset else path
    objects, errors = own_objects(recipe)
    try:
        if weights.exists():
            require_sound_model(weights)
        with keras.saving.custom_object_scope({**built_in_optimizers(), **objects}):
            if is_preset:
                return from_preset(path)
            return keras.models.load_model(path, compile=compile)
    except RecursionError as error:
        raise ValueError(f"The layers in {path} are nested too deeply.") from error
    except Exception as error:
        if errors:
            raise errors[0] from error
        raise


def own_objects(recipe: Recipe) -> tuple[dict[str, Any], list[Exception]]:
    """Returns the user-defined classes and functions of a recipe, by name.

    Returns:
        The objects, and the errors of those that cannot be imported.
    """
    names = {
        "network.kind": recipe.network.kind,
        "loss": recipe.loss,
        "peak": recipe.peak,
        "optimizer.name": recipe.optimizer.name,
        "optimizer.schedule": recipe.optimizer.schedule,
    }
    objects: dict[str, Any] = {}
    errors: list[Exception] = []
    for what, name in names.items():
        if ":" not in name:
            continue
        try:
            value = resolve(name, what)
        except (ImportError, ValueError) as error:
            errors.append(error)
        else:
            objects[value.__name__] = value
    return objects, errors


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
        arguments = {"method": recipe.peak, **recipe.peak_settings}
        return make(HeatmapPeak, arguments, "peak_settings")
    function = find_class(recipe.peak, "peak")
    peak = make(function, recipe.peak_settings, "peak_settings")
    if not isinstance(getattr(peak, "num_peaks", None), int):
        raise ValueError(
            f"The peak layer {recipe.peak!r} must have an attribute `num_peaks`, 1 for "
            "one point per landmark, as HeatmapPeak has. Received: num_peaks="
            f"{getattr(peak, 'num_peaks', 'no attribute')}"
        )
    return peak


def make_schedule(
    recipe: Recipe,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate of a recipe, or its schedule over the steps."""
    settings = recipe.optimizer
    if settings.schedule in SCHEDULES:
        return make_built_in_schedule(settings, recipe.steps)
    function = find_class(settings.schedule, "optimizer.schedule")
    arguments = arguments_of_schedule(settings, function)
    return make(function, arguments, "optimizer.schedule_settings")
