"""The parts of a recipe: network, local networks, targets, optimiser, callbacks."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from scn_keras._references import checked_arguments, name_of, resolve, signature_of
from scn_keras.training._configuration import configuration
from scn_keras.training._learning_rate import check_schedule
from scn_keras.training._ranges import (
    ABOVE_0,
    AT_LEAST_0,
    BELOW_1,
    FRACTION,
    Ranges,
    require_ranges,
)
from scn_keras.training._refinement import Refinement as Refinement

# Networks of `scn_keras.models`, to which recipes refer without a module. Their
# arguments and defaults are defined by the constructors.
NETWORKS = (
    "SpatialConfigurationNet",
    "LocalizationUNet",
    "ConvolutionalNet",
    "scn_miccai2016",
    "scn_mmwhs",
    "scn_verse2019",
    "GlobalNet",
    "scn_verse2020",
)
# Arguments that the recipe itself passes to a network, after the first two.
_PASSED = ("dtype", "name")
_DTYPES = (
    *("float32", "mixed_bfloat16", "mixed_float16"),
    *("bfloat16", "float16", "float64"),
)


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Network:
    """The network of a recipe with its arguments.

    Arguments are validated with the signature of the network. Omitted arguments have
    the defaults of the network, so that a recipe contains all arguments. They are also
    available as attributes, such as `network.filters`.

    Args:
        kind: Str, a network of `scn_keras.models`, one of `NETWORKS`; or your own
            function or class, or its name `"module:function"`. It is called as
            `network(num_landmarks, image_shape, **arguments)` and returns a functional
            `keras.Model(inputs, outputs)` from images `(batch, *spatial, 1)` to
            heatmaps `(batch, *spatial, num_landmarks)`. `image_shape` is
            `(None, None, 1)` or, for volumes, `(None, None, None, 1)`.
        dtype: Str, the precision of the training: `"float32"` or `"mixed_bfloat16"`.
            It is passed to networks that have an argument `dtype`.
        **arguments: Further arguments of the network.

    Raises:
        ValueError: If the network is unknown or does not accept an argument.
        ImportError: If the module of the network cannot be imported.

    Example:

    >>> network = Network(filters=32, stride=2)
    >>> network.kind, network.filters, network.levels
    ('SpatialConfigurationNet', 32, 4)
    """

    kind: str
    dtype: str
    arguments: dict[str, Any]

    def __init__(
        self,
        kind: str | Callable[..., Any] = "SpatialConfigurationNet",
        dtype: str = "float32",
        **arguments: Any,
    ) -> None:
        # `dataclasses.replace` passes a single argument `arguments`.
        arguments = {**arguments.pop("arguments", {}), **arguments}
        name = kind if isinstance(kind, str) else name_of(kind, "network.kind")
        name = name.removeprefix("scn_keras.models:") if _is_built_in(name) else name
        _require_dtype(dtype)
        object.__setattr__(self, "kind", name)
        object.__setattr__(self, "dtype", dtype)
        function = self.function()
        _require_two_positional(function, name)
        passed = (*[*inspect.signature(function).parameters][:2], *_PASSED)
        if name in NETWORKS:
            arguments = self._without_absent(function, arguments)
        checked = checked_arguments(
            function, arguments, "network", passed, named_only=name in NETWORKS
        )
        defaults = inspect.signature(function).parameters
        object.__setattr__(
            self,
            "arguments",
            {
                key: _as_default(
                    value, defaults.get(key), f"network.{key}", name in NETWORKS
                )
                for key, value in checked.items()
            },
        )

    @classmethod
    def stored(
        cls,
        kind: str = "SpatialConfigurationNet",
        dtype: str = "float32",
        **values: Any,
    ) -> "Network":
        """Creates a network from the result of `to_dict`.

        The module of a user-defined network is not imported: it is not required for
        using a trained model. Its arguments are validated when it is built.
        """
        if ":" not in kind or _is_built_in(kind):
            return cls(kind, dtype, **values)
        network = cls.__new__(cls)
        for name, value in (("kind", kind), ("dtype", dtype), ("arguments", values)):
            object.__setattr__(network, name, value)
        return network

    def function(self) -> Callable[..., Any]:
        """Returns the function or class that builds the network."""
        if self.kind in NETWORKS:
            from scn_keras import models  # loads Keras

            return getattr(models, self.kind)
        if ":" not in self.kind:
            raise ValueError(
                f"`network.kind` must be one of {', '.join(NETWORKS)}, or "
                "module:function for your own network. "
                f"Received: network.kind={self.kind!r}"
            )
        return resolve(self.kind, "network.kind")

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments, with `dtype` if the network accepts it."""
        parameters = signature_of(self.function(), "network.kind").parameters
        takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
        arguments = {
            # JSON has no tuples.
            key: _as_default(value, parameters.get(key), f"network.{key}", False)
            for key, value in self.arguments.items()
        }
        if "dtype" in parameters or takes_any:
            return {**arguments, "dtype": self.dtype}
        if self.dtype != "float32":
            raise ValueError(
                f"The network {self.kind} has no argument `dtype` and can be trained "
                f"in float32 only. Received: network.dtype={self.dtype!r}"
            )
        return arguments

    def to_dict(self) -> dict[str, Any]:
        """Returns kind, dtype and arguments as one flat dict."""
        return {"kind": self.kind, "dtype": self.dtype, **self.arguments}

    def replaced(self, **changes: Any) -> "Network":
        """Returns a network with other arguments, kind or dtype."""
        if set(changes) <= {"dtype"}:
            _require_dtype(changes.get("dtype", self.dtype))
            return Network.stored(**{**self.to_dict(), **changes})
        return Network(**{**self.to_dict(), **changes})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        # Arguments read from JSON are lists instead of tuples.
        return _with_lists(self.to_dict()) == _with_lists(other.to_dict())

    def __getattr__(self, name: str) -> Any:
        arguments = self.__dict__.get("arguments", {})
        if name in arguments:
            return arguments[name]
        raise AttributeError(f"The network {self.__dict__.get('kind')} has no {name!r}")

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.to_dict().items())
        return f"Network({arguments})"

    def _without_absent(self, function, arguments):
        """Removes `None` of arguments that recipes before 0.2 have for every kind."""
        parameters = inspect.signature(function).parameters
        kept = {}
        for key, value in arguments.items():
            if value is None and (
                key in _ARGUMENTS_OF_0_1
                and (key not in parameters or parameters[key].default is not None)
            ):
                continue
            kept[key] = value
        return kept


# Arguments that recipes of version 0.1 have for every network, `None` if not used.
_ARGUMENTS_OF_0_1 = (
    *("filters", "levels", "kernel_size", "dropout", "spatial_filters"),
    *("spatial_kernel_size", "spatial_factor", "spatial_border"),
    *("heatmap_initializer", "padding", "stem", "head_kernel_size", "convolutions"),
    *("local_activation", "spatial_activation", "stride", "blocks", "reductions"),
)


@dataclasses.dataclass(frozen=True)
class Target:
    """The Gaussian targets (`GaussianHeatmap`) and the penalty on their sigmas.

    Args:
        sigma: Float, or one float per axis, the initial standard deviation in pixels of
            the heatmaps.
        gamma: Float, the reference's height factor; `None` for targets of height 1.
        learnable: Bool, whether sigmas are trained.
        sigma_penalty: Float, at least 0, the reference's alpha.
        form: `"isotropic"`, `"axis_aligned"` or `"rotated"`.
        minimum_sigma: Float, the lower bound of sigmas in pixels of the heatmaps.
        penalty_power: Float, see `GaussianHeatmap`.
        missing: `"mask"` to ignore missing landmarks, or `"zero"` to train their
            heatmaps to be empty, see `LandmarkModel`.
    """

    sigma: float | tuple[float, ...] = 2.5
    gamma: float | None = 100.0
    learnable: bool = True
    sigma_penalty: float = 20.0
    form: str = "isotropic"
    minimum_sigma: float = 0.5
    penalty_power: float = 1.0
    missing: str = "mask"

    def __post_init__(self) -> None:
        require_ranges(self, "target", _TARGET_RANGES, ("gamma",))


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The optimiser of a recipe and the schedule of its learning rate.

    Args:
        name: `"adam"`, `"sgd"` (Nesterov), `"nesterov"` (as in TensorFlow 1, which
            differs if the learning rate changes, see `NesterovMomentum`), the name of
            another class of `keras.optimizers` such as `"AdamW"`, or `"module:Class"`.
        learning_rate: Float, the maximum learning rate.
        warmup: Float, the fraction of all steps in which a cosine schedule rises from
            0.
        final: Float, the final learning rate of a cosine or exponential schedule as a
            fraction of the maximum; 1 for a constant rate.
        momentum: Float, from 0 to below 1, the momentum of `"sgd"` and `"nesterov"`.
        clip_norm: Float or `None`, the maximum global norm of the gradients; or
            `"unit"` for gradients that are scaled to a norm of 1 in each step, see
            `NormalizedGradient`, which prevents collapses at high learning rates; or
            `"moving_average"` for at most twice the moving average of the norm, as in
            VerSe 2020, see `MovingAverageClip`.
        epsilon: Float, the epsilon of `"adam"`.
        average: Float or `None`, the momentum of an exponential moving average of all
            weights, such as 0.999. The averaged weights are validated and saved.
        weight_decay: Float, the reference's lambda, a term of the loss.
        schedule: `"cosine"`; `"constant"`; `"exponential"`, from the maximum to `final`
            over all steps; `"piecewise"`, constant with changes at fractions of all
            steps; the name of a class of `keras.optimizers.schedules` such as
            `"CosineDecayRestarts"`; or `"module:Class"`.
        schedule_settings: Dict. For `"piecewise"`, `at`, increasing fractions of all
            steps, and `factors`, the learning rates after them as fractions of
            `learning_rate`. Otherwise arguments of the class; if it has an argument
            `initial_learning_rate` that is not given, `learning_rate` is passed.
        settings: Dict, further arguments of the optimiser.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final: float = 0.0
    momentum: float = 0.99
    clip_norm: float | str | None = None
    epsilon: float = 1e-7
    average: float | None = None
    weight_decay: float = 0.0
    schedule: str = "cosine"
    schedule_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "schedule"):
            if not isinstance(value := getattr(self, name), str):
                reference = name_of(value, f"optimizer.{name}")
                object.__setattr__(self, name, reference)
        checked = self
        if self.clip_norm in GRADIENT_WRAPPERS:
            checked = dataclasses.replace(self, clip_norm=None)
        elif isinstance(self.clip_norm, str):
            raise ValueError(
                "`optimizer.clip_norm` must be a number above 0, 'unit', "
                "'moving_average', or None. "
                f"Received: optimizer.clip_norm={self.clip_norm!r}"
            )
        require_ranges(
            checked, "optimizer", _OPTIMIZER_RANGES, ("clip_norm", "average")
        )
        # A setting without effect raises an error instead of being ignored.
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        check_schedule(self, defaults)
        for name in ("momentum", "epsilon"):
            if self.name in _OWN or getattr(self, name) == defaults[name]:
                continue
            raise ValueError(
                f"`optimizer.{name}` is used by the optimisers adam, sgd and nesterov "
                f"only. Give the arguments of {self.name} in `optimizer.settings`. "
                f"Received: optimizer.{name}={getattr(self, name)}"
            )

    @classmethod
    def from_keras(cls, optimizer: Any) -> "Optimizer":
        """Returns the settings of a Keras optimiser, including its schedule."""
        from scn_keras import optimizers  # loads Keras

        for clip_norm, name in GRADIENT_WRAPPERS.items():
            if type(optimizer) is (wrapper := getattr(optimizers, name)):
                inner = optimizer.inner_optimizer
                usual, found = wrapper(inner).get_config(), optimizer.get_config()
                if {**usual, "name": None} != {**found, "name": None}:
                    raise ValueError(
                        f"A recipe has no settings for the arguments of {name}. Use "
                        f"its default values. Received: {found}"
                    )
                return dataclasses.replace(cls.from_keras(inner), clip_norm=clip_norm)
        rate = optimizer._learning_rate
        label = f"The optimizer {type(optimizer).__name__}"
        try:
            optimizer.get_config()  # includes that of the schedule
        except NotImplementedError as error:
            raise ValueError(
                "The optimizer and its schedule must define `get_config`. Received: "
                f"optimizer={label.split()[-1]}, schedule={type(rate).__name__}"
            ) from error
        config = configuration(optimizer, label)
        rate, schedule = config.pop("learning_rate"), "constant"
        schedule_settings: dict[str, Any] = {}
        if isinstance(rate, Mapping):
            rate = optimizer._learning_rate
            label = f"The schedule {type(rate).__name__}"
            schedule = name_of(type(rate), "optimizer.schedule")
            schedule_settings = configuration(rate, label)
            rate = cls.learning_rate
        return cls(
            name=name_of(type(optimizer), "optimizer.name"),
            learning_rate=float(rate),
            schedule=schedule,
            schedule_settings=schedule_settings,
            settings={k: v for k, v in config.items() if v is not None},
        )


_OWN = ("adam", "sgd", "nesterov")
# The words for `clip_norm`, with the classes of `scn_keras.optimizers`.
GRADIENT_WRAPPERS = {
    "unit": "NormalizedGradient",
    "moving_average": "MovingAverageClip",
}


@dataclasses.dataclass(frozen=True)
class Callback:
    """A Keras callback of a recipe.

    Args:
        name: Str, a class of `keras.callbacks` such as `"TerminateOnNaN"`, or
            `"module:Class"`; in Python also the class.
        arguments: Dict, arguments of its constructor.

    Raises:
        ValueError: If it is an object, or cannot be imported by a name.
    """

    name: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        value: Any = self.name
        if isinstance(value, str):
            return
        if not callable(value) and hasattr(value, "on_epoch_end"):
            kind = type(value).__name__
            raise ValueError(
                "A recipe contains no callback objects. Give the object to "
                f"fit(callbacks=[...]), or write Callback({kind}, {{...}}) with the "
                f"arguments of its constructor. Received: callbacks={value!r}"
            )
        object.__setattr__(self, "name", name_of(value, "callbacks"))


_OPTIMIZER_RANGES: Ranges = {
    "learning_rate": AT_LEAST_0,
    "warmup": FRACTION,
    "final": FRACTION,
    "momentum": BELOW_1,
    "clip_norm": ABOVE_0,
    "epsilon": AT_LEAST_0,
    "average": FRACTION,
    "weight_decay": AT_LEAST_0,
}
_TARGET_RANGES: Ranges = {
    "sigma": ABOVE_0,
    "gamma": ABOVE_0,
    "sigma_penalty": AT_LEAST_0,
    "minimum_sigma": ABOVE_0,
    "penalty_power": ABOVE_0,
}


def _require_dtype(dtype):
    if dtype not in _DTYPES:
        raise ValueError(
            f"`network.dtype` must be one of {', '.join(_DTYPES)}. "
            f"Received: network.dtype={dtype!r}"
        )


def _require_two_positional(function, name):
    """Validates that a network can be called with landmarks and image shape."""
    parameters = signature_of(function, "network.kind").parameters.values()
    positional = [
        p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_any = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    if len(positional) < 2 and not takes_any:
        raise ValueError(
            "`network.kind` must take two positional arguments, the number of "
            f"landmarks and the shape of the image. Received: network.kind={name!r}, "
            f"which takes {', '.join(p.name for p in positional) or 'none'}"
        )


def _with_lists(value):
    """Returns nested dicts, lists and tuples with lists instead of tuples."""
    if isinstance(value, Mapping):
        return {name: _with_lists(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_lists(item) for item in value]
    return value


def _is_built_in(name):
    package, _, network = name.partition(":")
    return package == "scn_keras.models" and network in NETWORKS


def _as_default(value, parameter, key, strict):
    """Converts a value to the type of the parameter's default.

    For built-in networks (`strict`), values of other types raise an error.
    """
    default = None if parameter is None else parameter.default
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    plain = strict and isinstance(default, (bool, int, float, str, tuple))
    if plain and value is not None and type(value) is not type(default):
        raise ValueError(
            f"`{key}` must be of type {type(default).__name__}. "
            f"Received: {key}={value!r}"
        )
    return value
