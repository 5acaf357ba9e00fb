import ast
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation import Augmentation

# The networks of `scn_keras.models` that recipes name, with the arguments that each
# takes and their defaults. A test compares this table with the constructors: they are
# not imported here, so that a recipe is read without waiting for Keras.
NETWORKS: dict[str, dict[str, Any]] = {
    "SpatialConfigurationNet": {
        **{"filters": 128, "levels": 4, "kernel_size": 3, "dropout": 0.5},
        **{"spatial_filters": None, "spatial_kernel_size": 11, "spatial_factor": 16},
        **{"spatial_border": "zero", "heatmap_initializer": 1e-4, "padding": "zero"},
        "stride": 1,
    },
    "LocalizationUNet": {
        **{"filters": 128, "levels": 5, "dropout": 0.0, "stem": False},
        **{"head_kernel_size": 1, "heatmap_initializer": 1e-4, "stride": 1},
    },
    "ConvolutionalNet": {
        **{"filters": 128, "levels": 1, "convolutions": 6, "kernel_size": 11},
        "heatmap_initializer": 1e-4,
    },
    "scn_miccai2016": {
        **{"filters": 128, "kernel_size": 5, "spatial_kernel_size": 15},
        **{"spatial_factor": 8, "heatmap_initializer": 1e-4},
    },
    "scn_mmwhs": {
        **{"filters": 128, "levels": 4, "spatial_kernel_size": 5},
        **{"spatial_factor": 8, "heatmap_initializer": 1e-4},
    },
    "scn_verse2019": {
        **{"filters": 64, "levels": 4, "dropout": 0.5, "spatial_kernel_size": 7},
        **{"spatial_factor": 4, "heatmap_initializer": 1e-3},
    },
    "GlobalNet": {"filters": 16, "blocks": (3, 4, 6, 3), "reductions": 5},
    "scn_verse2020": {
        **{"filters": 96, "levels": 4, "dropout": 0.25, "spatial_factor": 4},
        **{"local_activation": "tanh", "spatial_activation": "tanh"},
        "heatmap_initializer": None,
    },
}

# Losses that recipes name: the class in `scn_keras.losses` and what the name fixes.
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "sum": ("HeatmapSquaredError", {"form": "sum"}),
    "mean": ("HeatmapSquaredError", {"form": "mean"}),
    "adaptive_wing": ("AdaptiveWing", {}),
    "coordinate": ("CoordinateLoss", {}),
    "binary_crossentropy": ("HeatmapBinaryCrossentropy", {}),
    "softmax_crossentropy": ("SpatialSoftmaxCrossentropy", {}),
    "patches": ("PatchLoss", {}),
}
_OF_BOTH_STAGES = (
    *("dataset", "observer", "train_split", "test_split", "validation", "fold"),
    "seed",
)
PEAKS = (
    *("argmax", "parabola", "log_parabola", "dark", "centroid", "soft_argmax"),
    *("gaussian_fit", "votes"),
)


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of a recipe and the arguments that it takes.

    What is `None` becomes the default of that kind of network, so that a recipe says
    all of them; what a kind does not take stays `None`.

    Args:
        kind: Str, a network of `scn_keras.models`, one of `NETWORKS`.
        dtype: Str, the precision that it is trained in.
    """

    filters: int | None = None
    levels: int | None = None
    kernel_size: int | None = None
    dropout: float | None = None
    spatial_filters: int | None = None
    spatial_kernel_size: int | None = None
    spatial_factor: int | None = None
    spatial_border: str | None = None
    heatmap_initializer: float | None = None
    dtype: str = "float32"
    kind: str = "SpatialConfigurationNet"
    padding: str | None = None
    stem: bool | None = None
    head_kernel_size: int | None = None
    convolutions: int | None = None
    local_activation: str | None = None
    spatial_activation: str | None = None
    stride: int | None = None
    blocks: tuple[int, ...] | None = None
    reductions: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in NETWORKS:
            raise ValueError(
                f"`network.kind` must be one of {', '.join(NETWORKS)}. "
                f"Received: network.kind={self.kind!r}"
            )
        defaults = NETWORKS[self.kind]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("kind", "dtype"):
                continue
            if field.name in defaults:
                if value is None:
                    object.__setattr__(self, field.name, defaults[field.name])
            elif value is not None:
                raise ValueError(
                    f"The network {self.kind} takes no `{field.name}`. To change the "
                    f"kind, set the whole: network={{'kind': {self.kind!r}}}. "
                    f"Received: {field.name}={value!r}"
                )

    def settings(self) -> dict[str, Any]:
        """Returns the arguments for the constructor, `dtype` included."""
        names = (*NETWORKS[self.kind], "dtype")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Local:
    """The local networks of a recipe, `LocalRefinement`, and the arguments they take.

    They are trained in the precision of the network.

    Args:
        size: Int, even, the pixels of the grid that a sub-image has along each axis: a
            few times the error of the network that says where to look.
        filters: Int, of the first convolutions; the last have twice as many.
        convolutions: Int, how many come before the pooling.
    """

    size: int = 16
    filters: int = 32
    convolutions: int = 4


@dataclasses.dataclass(frozen=True)
class Target:
    """The Gaussian targets (`GaussianHeatmap`) and the penalty on their sigmas.

    Args:
        missing: `"mask"`, or `"zero"` to train for empty heatmaps (`LandmarkModel`).
    """

    sigma: float | tuple[float, ...] = 2.5
    gamma: float | None = 100.0
    learnable: bool = True
    sigma_penalty: float = 20.0
    form: str = "isotropic"
    minimum_sigma: float = 0.5
    penalty_power: float = 1.0
    missing: str = "mask"


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The optimiser and its learning rate, which rises linearly and falls as a cosine.

    Args:
        name: `"adam"` or `"sgd"` (Nesterov).
        learning_rate: Float, the highest.
        warmup: Float, the share of all steps in which it rises from 0.
        final: Float, the share of the highest at which it ends; 1 for a constant.
        momentum: Float, of `"sgd"`.
        clip_norm: Float or `None`, the bound on the norm of all gradients.
        epsilon: Float, of `"adam"`.
        average: Float or `None`, the momentum of an exponential moving average of all
            weights, such as 0.999; the average is validated and is the model.
        weight_decay: Float, the reference's lambda, a part of the loss.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final: float = 0.0
    momentum: float = 0.99
    clip_norm: float | None = None
    epsilon: float = 1e-7
    average: float | None = None
    weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides how a model comes to be: data, network, training, seed.

    Two runs of one recipe on one machine and backend give the same model.

    Args:
        name: Str.
        dataset: Str, the name of a data set, optionally with a configuration
            (`"synthetic_hand/large"`).
        observer: `None` for a set with one; else one of `observers` of the builder,
            `"mean"`, or `"random"` for one of them at every draw.
        train_split: Str, a TFDS split.
        test_split: Str, the split that `evaluate` takes when it is not told.
        validation: Float, the share of the training groups (patients) held out.
        fold: `(k, n)` to hold out the k-th of n equal parts of the training groups,
            k from 0, instead of a share of them.
        grid: `(rows, columns)` that the network sees, `(slices, rows, columns)` of a
            volume.
        grid_spacing: Floats, mm per pixel of the grid in x, y(, z), which may then be
            larger or smaller than an image; `None` to fit every image into it.
        normalization: `"range"`, `"percentile"` or `"window"`.
        normalization_limits: The two shares of `"percentile"` (0.01 and 0.99 if
            `None`) or the two grey values of `"window"` that become -1 and 1.
        window: Sizes in array order, or `None`: a training step sees a part of the
            grid, of this size, anywhere in it. For networks without a size of their
            own, such as `GlobalNet`.
        network: `Network`.
        local: `Local` or `None`: the image is looked at again around the points that
            the network finds, at the full resolution of the grid, see
            `GlobalToLocalNet`.
        target: `Target`, of networks that make heatmaps.
        loss: `"sum"` or `"mean"`, the form of `HeatmapSquaredError`, or the name of
            another loss, one of `LOSSES`.
        loss_settings: Further arguments of the loss.
        peak: Str, the method of `HeatmapPeak`; `"votes"` of a `GlobalNet`, whose loss
            is `"patches"`.
        peak_settings: Further arguments of `HeatmapPeak`.
        optimizer: `Optimizer`.
        augmentation: `Augmentation` or `None`.
        batch_size: Int.
        steps: Int, the optimiser's steps in all.
        steps_per_epoch: Int, the steps between validations and checkpoints.
        cache: `"memory"` or `"disk"` (in the system's folder of temporary files):
            where decoded and reduced images are kept during a training.
        jit_compile: Bool or `"auto"`, as in Keras. XLA makes training on a CPU with
            TensorFlow about three times slower.
        seed: Int.
        start: Str or `None`, the name of a preset or the folder of a run: the weights
            that the training starts from, see `start_from`.
        coarse: `Recipe` or `None`: coarse to fine. It is trained first, on the same
            data (its data set, splits, observer and seed are those of this recipe,
            whatever it says), and this recipe's grid is laid over the points that it
            finds, in their mean pose and size, see `Placement`. `grid_spacing` is then
            in mm of an image of mean size.

    Raises:
        ValueError: If values do not go together.
    """

    name: str
    dataset: str
    observer: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    validation: float = 0.1
    fold: tuple[int, int] | None = None
    grid: tuple[int, ...] = (480, 384)
    grid_spacing: tuple[float, ...] | None = None
    normalization: str = "range"
    normalization_limits: tuple[float, float] | None = None
    window: tuple[int, ...] | None = None
    network: Network = Network()
    local: Local | None = None
    target: Target = Target()
    loss: str = "sum"
    loss_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    peak: str = "log_parabola"
    peak_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation | None = Augmentation()
    batch_size: int = 1
    steps: int = 1000
    steps_per_epoch: int = 250
    cache: str = "memory"
    jit_compile: bool | str = False
    seed: int = 0
    start: str | None = None
    coarse: "Recipe | None" = None

    def __post_init__(self) -> None:
        stride = self.network.stride or 1
        factors = (
            stride * 2 ** ((self.network.levels or 1) - 1),
            stride * (self.network.spatial_factor or 1),
        )
        if self.network.reductions is not None:
            factors = (2**self.network.reductions, 1)
        if self.network.kind == "scn_verse2020":  # one U-Net on top of the other
            factors = (factors[0], factors[0] * factors[1])
        if len(self.grid) not in (2, 3) or any(
            g < 1 or g % f for g in self.grid for f in factors
        ):
            raise ValueError(
                "`grid` must be (rows, columns) or (slices, rows, columns), multiples "
                f"of {factors[0]} (the network's levels) and {factors[1]} (its spatial "
                f"factor). Received: grid={self.grid}"
            )
        if self.window is not None and (
            len(self.window) != len(self.grid)
            or any(
                w < 1 or w > g or w % f
                for w, g in zip(self.window, self.grid, strict=True)
                for f in factors
            )
        ):
            raise ValueError(
                f"`window` must be {len(self.grid)} sizes up to the grid's, multiples "
                f"of {factors[0]} and {factors[1]}. Received: window={self.window}, "
                f"grid={self.grid}"
            )
        votes = self.network.kind == "GlobalNet"
        if (self.loss == "patches", self.peak == "votes") != (votes, votes):
            raise ValueError(
                'The network GlobalNet, the loss "patches" and the peak "votes" go '
                f"together, and with no others. Received: network.kind="
                f"{self.network.kind!r}, loss={self.loss!r}, peak={self.peak!r}"
            )
        if self.grid_spacing is not None and (
            len(self.grid_spacing) != len(self.grid)
            or not all(0.0 < s < math.inf for s in self.grid_spacing)
        ):
            raise ValueError(
                f"`grid_spacing` must be {len(self.grid)} positive numbers, x, y(, z). "
                f"Received: grid_spacing={self.grid_spacing}"
            )
        if self.normalization == "window" and self.normalization_limits is None:
            raise ValueError(
                'The normalization "window" needs `normalization_limits`, the two grey '
                "values (in CT Hounsfield units) that become black and white."
            )
        if self.normalization_limits is not None and not (
            self.normalization_limits[0] < self.normalization_limits[1]
        ):
            raise ValueError(
                "`normalization_limits` must rise. "
                f"Received: normalization_limits={self.normalization_limits}"
            )
        for field in ("batch_size", "steps", "steps_per_epoch"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"`{field}` must be at least 1. "
                    f"Received: {field}={getattr(self, field)}"
                )
        # Said here, a misspelt name leaves no half-made run behind.
        for field, value, known in (
            ("optimizer.name", self.optimizer.name, ("adam", "sgd")),
            ("normalization", self.normalization, ("range", "percentile", "window")),
            ("loss", self.loss, tuple(LOSSES)),
            ("target.form", self.target.form, ("isotropic", "axis_aligned", "rotated")),
            ("target.missing", self.target.missing, ("mask", "zero")),
            ("cache", self.cache, ("memory", "disk")),
            ("peak", self.peak, PEAKS),
        ):
            if value not in known:
                raise ValueError(
                    f"`{field}` must be one of {', '.join(known)}. "
                    f"Received: {field}={value!r}"
                )
        if self.fold is not None and not 0 <= self.fold[0] < self.fold[1] >= 2:
            raise ValueError(
                "`fold` must be (k, n), the k-th of n parts, with k from 0 to n - 1 "
                f"and n at least 2. Received: fold={self.fold}"
            )
        if not 0.0 <= self.validation < 1.0:
            raise ValueError(
                "`validation` must be a share from 0 to below 1. "
                f"Received: validation={self.validation}"
            )
        if self.coarse is not None:
            if self.grid_spacing is None or len(self.coarse.grid) != len(self.grid):
                raise ValueError(
                    "A recipe with a `coarse` one needs a `grid_spacing`, and both "
                    "grids as many axes. Received: grid_spacing="
                    f"{self.grid_spacing}, grid={self.grid}, coarse.grid="
                    f"{self.coarse.grid}"
                )
            # What is held out of one stage must be held out of the other.
            shared = {name: getattr(self, name) for name in _OF_BOTH_STAGES}
            coarse = dataclasses.replace(
                self.coarse, name=f"{self.name}_coarse", **shared
            )
            object.__setattr__(self, "coarse", coarse)

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """Builds a recipe from what `to_dict` returned, JSON's lists included."""
        return _from_dict(cls, data, "")

    def override(self, settings: Sequence[str]) -> "Recipe":
        """Returns a recipe with values replaced.

        Args:
            settings: Strings `key=value`, the key with dots into the parts
                (`network.filters=64`), the value as in Python.

        Raises:
            ValueError: If a key does not exist or a value has the wrong type.
        """
        changes = []
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise ValueError(
                    "A setting is `key=value`, for example network.filters=64. "
                    f"Received: {setting!r}"
                )
            changes.append((key.split("."), _value(text), key))
        return _changed(self, changes)

    def settings(self, base: "Recipe") -> list[str]:
        """Returns what `override` makes this recipe of another with."""
        return _settings(base, self, "")


def _changed(part: Any, changes: list[tuple[list[str], Any, str]]) -> Any:
    """Changes all at once: values that go together may come one after the other."""
    known = {
        field.name: getattr(part, field.name) for field in dataclasses.fields(part)
    }
    hints = typing.get_type_hints(type(part))
    whole: dict[str, Any] = {}
    inner: dict[str, list[tuple[list[str], Any, str]]] = {}
    for (name, *rest), value, key in changes:
        if name not in known:
            raise ValueError(
                f"The recipe has no setting `{key}`. There are, at this place: "
                f"{', '.join(known)}."
            )
        if rest:
            inner.setdefault(name, []).append((rest, value, key))
        else:
            whole[name] = _coerce(hints[name], value, key)
            inner.pop(name, None)
    for name, among in inner.items():
        current = whole.get(name, known[name])
        if not dataclasses.is_dataclass(current):
            raise ValueError(
                f"The recipe's `{name}` has no parts. Received: {among[0][2]}"
            )
        whole[name] = _changed(current, among)
    return dataclasses.replace(part, **whole)


def _value(text: str) -> Any:
    """Reads a value as in Python; what is none is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _settings(base: Any, part: Any, prefix: str) -> list[str]:
    settings: list[str] = []
    for field in dataclasses.fields(part):
        old, new = getattr(base, field.name), getattr(part, field.name)
        key = prefix + field.name
        if old == new:
            continue
        # Another kind of network takes other arguments, so it is set whole.
        kinds = [getattr(value, "kind", None) for value in (old, new)]
        if dataclasses.is_dataclass(new) and not isinstance(new, type):
            if type(old) is type(new) and kinds[0] == kinds[1]:
                settings += _settings(old, new, f"{key}.")
                continue
            new = dataclasses.asdict(new)
        plain = isinstance(new, str) and _value(new) == new
        settings.append(f"{key}={new if plain else repr(new)}")
    return settings


def _from_dict(cls: type, data: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(
            f"The recipe has settings that this version does not know: "
            f"{', '.join(prefix + name for name in unknown)}."
        )
    values = {
        name: _coerce(hints[name], value, prefix + name) for name, value in data.items()
    }
    return cls(**values)


def _coerce(annotation: Any, value: Any, key: str) -> Any:
    """Brings a value to an annotated type where that loses nothing, or refuses it."""
    choices = (
        typing.get_args(annotation)
        if isinstance(annotation, types.UnionType)
        else (annotation,)
    )
    for choice in choices:
        if dataclasses.is_dataclass(choice) and isinstance(choice, type):
            if isinstance(value, Mapping):
                return _from_dict(choice, value, f"{key}.")
            if isinstance(value, choice):
                return value
        elif typing.get_origin(choice) is tuple:
            items = typing.get_args(choice)
            if isinstance(value, (list, tuple)) and items[-1] is Ellipsis:
                return tuple(_coerce(items[0], v, key) for v in value)
            if isinstance(value, (list, tuple)) and len(value) == len(items):
                return tuple(
                    _coerce(item, v, key) for item, v in zip(items, value, strict=True)
                )
        elif typing.get_origin(choice) is dict:
            if isinstance(value, Mapping):
                return dict(value)
        elif choice is float:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        elif choice is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif isinstance(value, choice):
            return value
    names = " or ".join(getattr(c, "__name__", str(c)) for c in choices)
    raise ValueError(f"`{key}` must be of type {names}. Received: {key}={value!r}")
