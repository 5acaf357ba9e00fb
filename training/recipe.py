import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.training import _recipe_values
from scn_keras.training._part_classes import LOSSES as LOSSES
from scn_keras.training._recipe_checks import check_settings
from scn_keras.training._recipe_objects import replace_objects
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.recipe_settings import (
    Callback,
    Network,
    Optimizer,
    Refinement,
    Target,
)


def _setting(
    default: Any = dataclasses.MISSING,
    *,
    both_stages: bool = False,
    calibration: bool = True,
    factory: Any = dataclasses.MISSING,
) -> Any:
    """Declares a setting of a recipe.

    Args:
        default, factory: As in `dataclasses.field`.
        both_stages: Bool, whether a coarse stage always has the value of the fine
            stage, because the same images must be held out of both stages.
        calibration: Bool, whether a run and the runs that calibrate it must have the
            same value, because their scores and peaks would not be comparable
            otherwise.
    """
    return dataclasses.field(
        default=default,
        default_factory=factory,
        metadata={"both_stages": both_stages, "calibration": calibration},
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The complete settings of an experiment: data, network, training and seed.

    Two runs of one recipe on the same machine and backend give the same model. A recipe
    consists of plain values and names. User-defined functions and classes are stored as
    `"module:attribute"`.

    Args:
        name: Str, the name of the recipe.
        dataset: Str, the name of a data set, optionally with a configuration
            (`"synthetic_hand/large"`). For your own builder, the class,
            `"module:Class"`, or the name under which it is registered with TFDS.
        observer: `None` for a data set with one observer. Otherwise one of `OBSERVERS`
            of the builder, `"mean"`, or `"random"` for a random observer in each step.
        train_split: Str, a TFDS split.
        test_split: Str, the default split of `evaluate`.
        validation: Float from 0 to below 1, the fraction of the training groups
            (patients) that is held out.
        fold: `(k, n)` to hold out the k-th of n equal parts of the training groups, k
            from 0, instead of a fraction; or `None`.
        image_to_grid: `ImageToGrid`, the grid of the network and the preprocessing of
            images.
        window: Sizes in array order, or `None`. With a window, a training step uses a
            part of the grid of this size at a random position. For networks that accept
            any size, such as `GlobalNet`.
        network: `Network`; in Python also a function or class that builds one.
        local: `Refinement` or `None`. Local networks refine the points of the network
            in sub-images at the full resolution of the grid, see `GlobalToLocalNet`.
        target: `Target`, for networks that predict heatmaps.
        loss: Str, a short name of `LOSSES`, the name of a class of `scn_keras.losses`
            or `keras.losses`, or `"module:Class"`; in Python also a class or an
            instance of `keras.losses.Loss`, whose arguments must be in its `get_config`
            or in attributes of the same names. It must return one value for each image
            and landmark.
        loss_settings: Dict, arguments of the loss.
        peak: Str, the method of `HeatmapPeak`; `"votes"` for a network with votes
            (`GlobalNet`) and the loss `"patches"`; or `"module:Class"` of a layer with
            the interface of `HeatmapPeak`.
        peak_settings: Dict, further arguments of the peak layer.
        optimizer: `Optimizer`; in Python also a Keras optimiser.
        augmentation: `Augmentation`, one transform or a list of them, or `None`.
        callbacks: `Callback`s, names of callbacks, classes, or dicts of `name` and
            `arguments`; one or a list of them. Instances are given to `fit` instead.
        batch_size: Int, the number of images per step.
        steps: Int, the total number of optimiser steps.
        steps_per_epoch: Int, the number of steps between validations and checkpoints.
        cache: `"memory"` or `"disk"` (the system's folder of temporary files), where
            decoded and reduced images are kept during a training.
        jit_compile: Bool or `"auto"`, as in Keras. XLA makes training on a CPU with
            TensorFlow about three times slower.
        seed: Int, the seed of all random numbers.
        start: Str or `None`, the name of a preset or the folder of a run whose weights
            initialise the training, see `start_from`.
        method: `"network"` for a Keras network; or `"module:Class"`, your own `Method`,
            which is fitted to the same images.
        method_settings: Dict, arguments of that class.
        coarse: `Recipe` of a coarse stage, or `None`. The coarse stage is trained first
            on the same data: its data set, splits, observer and seed are replaced by
            those of this recipe. Its points place the grid of this recipe in their mean
            pose and size, see `CoarseToFine`. `grid_spacing` is then in mm of an image
            of mean size.

    Raises:
        ValueError: If values are out of range, have a wrong type or do not match, or
            a built-in name does not exist.
        ImportError: If the module of your own network cannot be imported.

    Example:

    >>> recipe = Recipe(
    ...     name="small",
    ...     dataset="synthetic_hand",
    ...     image_to_grid=ImageToGrid((160, 128)),
    ...     network=Network(filters=32),
    ... )
    >>> recipe.override(["image_to_grid.grid=(80, 64)", "steps=100"]).grid
    (80, 64)
    """

    name: str = _setting(calibration=False)
    dataset: str = _setting(both_stages=True)
    observer: str | None = _setting(None, both_stages=True)
    train_split: str = _setting("train", both_stages=True)
    test_split: str = _setting("test", both_stages=True, calibration=False)
    validation: float = _setting(0.1, both_stages=True, calibration=False)
    fold: tuple[int, int] | None = _setting(None, both_stages=True, calibration=False)
    image_to_grid: ImageToGrid = _setting(ImageToGrid())
    window: tuple[int, ...] | None = _setting(None)
    network: Network = _setting(factory=Network)
    local: Refinement | None = _setting(None)
    target: Target = _setting(Target())
    loss: str = _setting("sum")
    loss_settings: dict[str, Any] = _setting(factory=dict)
    peak: str = _setting("log_parabola")
    peak_settings: dict[str, Any] = _setting(factory=dict)
    optimizer: Optimizer = _setting(factory=Optimizer, calibration=False)
    augmentation: Augmentation | None = _setting(factory=Augmentation)
    callbacks: tuple[Callback, ...] = _setting((), calibration=False)
    batch_size: int = _setting(1, calibration=False)
    steps: int = _setting(1000, calibration=False)
    steps_per_epoch: int = _setting(250, calibration=False)
    cache: str = _setting("memory", calibration=False)
    jit_compile: bool | str = _setting(False, calibration=False)
    seed: int = _setting(0, both_stages=True, calibration=False)
    start: str | None = _setting(None)
    method: str = _setting("network")
    method_settings: dict[str, Any] = _setting(factory=dict)
    coarse: "Recipe | None" = _setting(None)

    def __post_init__(self) -> None:
        replace_objects(self)
        check_settings(self)
        if self.coarse is not None:
            object.__setattr__(self, "coarse", self._coarse_of_same_data(self.coarse))

    @property
    def grid(self) -> tuple[int, ...]:
        """The grid of the network, `image_to_grid.grid`."""
        return self.image_to_grid.grid

    @property
    def uses_network(self) -> bool:
        """Whether the recipe trains a Keras network."""
        return self.method == "network"

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain values for JSON."""
        return {
            field.name: _recipe_values.to_plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """Creates a recipe from the result of `to_dict`, also with lists from JSON.

        Recipes of earlier versions are supported. The modules of user-defined parts
        are not imported.
        """
        return _recipe_values.from_plain(cls, _recipe_values.with_stored_networks(data))

    def override(self, settings: Sequence[str]) -> "Recipe":
        """Returns a recipe with values replaced.

        Args:
            settings: Strings `key=value`. A key with dots refers to a part
                (`network.filters=64`), and the value is a Python literal.

        Raises:
            ValueError: If a key does not exist or a value has a wrong type.
        """
        changes = []
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise ValueError(
                    "A setting must be `key=value`, for example network.filters=64. "
                    f"Received: {setting!r}"
                )
            path = _in_new_place(key).split(".")
            changes.append((path, _recipe_values.value_of(text), key))
        return _recipe_values.changed(self, changes)

    def settings(self, base: "Recipe") -> list[str]:
        """Returns the arguments of `override` that turn `base` into this recipe."""
        return _recipe_values.differences(base, self)

    def stored_form(self) -> dict[str, Any]:
        """Returns the content of `recipe.json`, as it is read back.

        Raises:
            ValueError: If JSON cannot represent an argument.
        """
        return _recipe_values.stored_form(self)

    def shared_for_calibration(self) -> dict[str, Any]:
        """Returns the settings that a run shares with the runs that calibrate it.

        Precision and speed may differ.
        """
        shared: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if not field.metadata["calibration"]:
                continue
            value = getattr(self, field.name)
            if isinstance(value, Recipe):
                value = value.shared_for_calibration()
            elif isinstance(value, Network):
                value = value.replaced(dtype="float32")
            shared[field.name] = value
        return shared

    def _coarse_of_same_data(self, coarse: "Recipe") -> "Recipe":
        if self.image_to_grid.tile_step is not None:
            raise ValueError(
                "`image_to_grid.tile_step` is for recipes without a coarse stage, "
                "which places the grid itself. "
                f"Received: tile_step={self.image_to_grid.tile_step}"
            )
        if self.image_to_grid.grid_spacing is None or len(coarse.grid) != len(
            self.grid
        ):
            raise ValueError(
                "A recipe with a coarse stage requires a `grid_spacing`, and the grids "
                "of both stages must have the same number of axes. Received: "
                f"grid_spacing={self.image_to_grid.grid_spacing}, grid={self.grid}, "
                f"coarse.grid={coarse.grid}"
            )
        shared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata["both_stages"]
        }
        return dataclasses.replace(coarse, name=f"{self.name}_coarse", **shared)


def _accept_moved_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Makes the constructor accept settings of version 0.1 that have been moved."""

    def __init__(self: Recipe, *args: Any, **settings: Any) -> None:
        if moved := [name for name in settings if name in _recipe_values.MOVED]:
            _warn_of_move(moved, stacklevel=3)
            settings.setdefault("image_to_grid", ImageToGrid())
            settings = _recipe_values.moved_in(settings)
        function(self, *args, **settings)

    __init__.__doc__, __init__.__wrapped__ = function.__doc__, function  # type: ignore[attr-defined]
    return __init__


Recipe.__init__ = _accept_moved_settings(Recipe.__init__)  # type: ignore[method-assign]


def _in_new_place(key: str) -> str:
    """Returns the present key of a setting."""
    *stages, name = key.split(".")
    if name not in _recipe_values.MOVED or set(stages) - {"coarse"}:
        return key
    _warn_of_move([key], stacklevel=4)
    return ".".join([*stages, _recipe_values.MOVED[name]])


def _warn_of_move(names: Sequence[str], stacklevel: int) -> None:
    new = [_recipe_values.MOVED[name.rpartition(".")[2]] for name in names]
    moves = ", ".join(f"`{a}` to `{b}`" for a, b in zip(names, new, strict=True))
    warnings.warn(
        f"Settings of a recipe have been moved: {moves}. Use "
        f"Recipe(image_to_grid=ImageToGrid(...)) or --set {new[0]}=...",
        FutureWarning,
        stacklevel=stacklevel,
    )


def __getattr__(name: str) -> Any:
    if name == "Local":
        warnings.warn(
            "Local is now Refinement: from scn_keras.training import Refinement",
            FutureWarning,
            stacklevel=2,
        )
        return Refinement
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
