"""Finds out whether a training has collapsed, and records its recoveries.

In a collapse, all heatmaps become useless within some steps, and the training does not
recover by itself: in a product of heatmaps, a factor that is zero or constant receives
no gradient.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from scn_keras.files.atomic_write import write_text
from scn_keras.layers import SpatialConfiguration
from scn_keras.models._node_in_network import node_in_network
from scn_keras.optimizers import ScaledSchedule

RECOVERIES_FILE = "recoveries.json"
# After a collapse, the learning rate is multiplied by this factor.
RATE_FACTOR = 0.5
MAX_RECOVERIES = 5
_MAX_IMAGES = 8
# Points are useless if they are farther from the true ones than this share of the mean
# side of the grid. The points of a random pixel are at about half of the side.
_USELESS = 0.125
# Collapsed points must also be this many times farther than the best so far.
_WORSE = 2.5
# tanh beyond this value has a tenth of its slope at 0. In trained networks, less than
# one value in a thousand is beyond it.
_SATURATED = 0.95
_SATURATED_SHARE = 0.5


class CollapseCheck:
    """Finds out whether the network of a training has collapsed.

    A few training images without augmentation are localised at the end of every epoch.
    The training has collapsed if its loss is not finite; if the mean distance of the
    points from the true ones is above an eighth of the grid's side and 2.5 times the
    smallest so far; or if more than half of the values of the spatial configuration
    heatmaps are in the saturation of their tanh.

    Args:
        batches: Function that returns batches `(images, {"points": ..., ...})`. It is
            called once, in the training: in a recipe with a coarse stage, the images
            are placed after that stage has been trained.
    """

    def __init__(self, batches: Callable[[], Iterable[Any]]) -> None:
        self._batches = batches
        self._images: list[np.ndarray] = []
        self._points: list[np.ndarray] = []
        self._spatial: tuple[Any, keras.Model | None] = (None, None)
        self.best = math.inf
        # Mean distances by landmark at the end of the last epoch.
        self._distances = np.zeros(0)

    @property
    def useless(self) -> list[int]:
        """The landmarks whose points were useless at the end of the last epoch."""
        if not self._images:
            return []
        return np.flatnonzero(self._distances > _USELESS * self._side()).tolist()

    def reason(self, model: Any, loss: float) -> str | None:
        """Returns the reason why the model has collapsed, or `None`.

        Args:
            model: `LandmarkModel`.
            loss: Float, the mean loss of the epoch.
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not self._images:
            self._read()
        saturated = self._saturated_share(model.network)
        if saturated > _SATURATED_SHARE:
            return (
                f"{saturated:.0%} of the spatial configuration heatmaps are saturated "
                "(their tanh has no gradient)"
            )
        error = self._error(model)
        useless = _USELESS * self._side()
        if error > max(useless, _WORSE * self.best):
            return (
                f"the points of training images are {error:.3g} pixels of the grid "
                f"from the true ones, after {self.best:.3g}"
            )
        self.best = min(self.best, error)
        return None

    def begin(self, model: Any) -> None:
        """Measures the points of a restored model, if none have been measured.

        Otherwise a collapse in the first epoch after an interruption would have nothing
        to be compared with.

        Args:
            model: `LandmarkModel`.
        """
        if math.isinf(self.best):
            if not self._images:
                self._read()
            self.best = min(self.best, self._error(model))

    def _read(self) -> None:
        """Reads the images, which are kept."""
        for x, y in self._batches():
            self._images.extend(keras.ops.convert_to_numpy(x))
            self._points.extend(keras.ops.convert_to_numpy(y["points"]))
            if len(self._images) >= _MAX_IMAGES:
                break
        del self._images[_MAX_IMAGES:], self._points[_MAX_IMAGES:]

    def _saturated_share(self, network: keras.Model) -> float:
        """Returns the share of saturated values of spatial configuration heatmaps."""
        if self._spatial[0] is not network:
            self._spatial = network, _spatial_heatmaps(network)
        if (model := self._spatial[1]) is None:
            return 0.0
        values = [np.asarray(model.predict_on_batch(i[None])) for i in self._images[:4]]
        return float(np.mean(np.abs(np.concatenate(values)) > _SATURATED))

    def _error(self, model) -> float:
        """Returns the mean distance in pixels; NaN without a true point."""
        found = []
        for image in self._images:
            peaks = model.localizer.predict_on_batch(image[None])
            points = np.asarray(peaks["points"])[0]
            found.append(points if points.ndim == 2 else points[:, 0])  # highest peak
        true = np.stack(self._points)
        distances = np.linalg.norm(np.stack(found) - true, axis=-1)
        present = ~np.isnan(true).any(axis=-1)
        # A point that was not found is as far as that of a random pixel.
        side = self._side()
        distances = np.nan_to_num(distances, nan=side / 2.0, posinf=side / 2.0)
        distances[~present] = 0.0
        number = present.sum(axis=0)
        self._distances = distances.sum(axis=0) / np.maximum(number, 1)
        return float(distances.sum() / number.sum()) if number.any() else math.nan

    def _side(self) -> float:
        return float(np.mean(self._images[0].shape[:-1]))


@dataclasses.dataclass(frozen=True)
class Recovery:
    """A collapse of a training, and how it went on.

    Args:
        step: Int, the number of steps after which the collapse was found.
        back_to: Int, the number of steps of the restored state, 0 for new weights.
        reason: Str, how the collapse was recognised.
        factor: Float, the factor of the learning rate after all recoveries so far.
        history: Dict, the row of the history of the collapsed epoch.
    """

    step: int
    back_to: int
    reason: str
    factor: float
    history: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def message(self) -> str:
        origin = f"step {self.back_to}" if self.back_to else "new weights"
        return (
            f"The training collapsed before step {self.step}: {self.reason}. It "
            f"continues from {origin} with {self.factor:.3g} times the learning rate."
        )


def read_recoveries(run: pathlib.Path) -> list[Recovery]:
    """Returns the recoveries of a run, in order."""
    path = run / RECOVERIES_FILE
    if not path.is_file():
        return []
    return [Recovery(**entry) for entry in json.loads(path.read_text("utf-8"))]


def add_recovery(
    run: pathlib.Path, step: int, back_to: int, reason: str, row: Mapping[str, float]
) -> Recovery:
    """Records a recovery in a run.

    Raises:
        RuntimeError: If there have been too many.
    """
    earlier = read_recoveries(run)
    if len(earlier) >= MAX_RECOVERIES:
        raise RuntimeError(
            f"The training collapsed {len(earlier) + 1} times, the last time before "
            f"step {step} with {RATE_FACTOR ** len(earlier):.3g} times the learning "
            f"rate: {reason}. Look at the data with `scn-keras datasets check`. Then "
            "start a new training with a lower optimizer.learning_rate, with "
            "optimizer.clip_norm=unit, or with another loss. The state before the "
            f"collapse is in {run / 'checkpoints'}."
        )
    factor = RATE_FACTOR ** (len(earlier) + 1)
    recovery = Recovery(step, back_to, reason, factor, _finite(row))
    entries = [dataclasses.asdict(entry) for entry in (*earlier, recovery)]
    write_text(run / RECOVERIES_FILE, json.dumps(entries, indent=2) + "\n")
    return recovery


def apply_recoveries(run: pathlib.Path, step: int, optimizer: Any) -> None:
    """Lowers the learning rate of a state to which recoveries have returned.

    Later states contain the lower rate.

    Args:
        run: The folder of the run.
        step: Int, the number of steps of the state.
        optimizer: Keras optimiser of the state.
    """
    count = sum(recovery.back_to == step for recovery in read_recoveries(run))
    if not count:
        return
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    factor, rate = RATE_FACTOR**count, optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        optimizer.learning_rate = ScaledSchedule(rate, factor)
    else:
        value = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        optimizer.learning_rate = factor * value


def _finite(row):
    """Returns a row with `None` for values that JSON does not have."""
    return {
        name: value if math.isfinite(value) else None for name, value in row.items()
    }


def _spatial_heatmaps(network: keras.Model) -> keras.Model | None:
    """Returns a model of the last spatial configuration heatmaps, or `None`."""
    layers = [
        layer
        for layer in network.layers
        if isinstance(layer, SpatialConfiguration) and layer.activation == "tanh"
    ]
    if not layers:
        return None
    return keras.Model(network.inputs, node_in_network(network, layers[-1]).outputs[0])
