import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from scn_keras.array_api import NUMPY, sum_of_products
from scn_keras.geometry import apply_affine
from scn_keras.inference.rotations import cofactor_matrix, nearest_rotation

VERSION = 1

_SMALL = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class PointOffsets:
    """Constant offsets between the points of a model and those of other observers.

    Observers of another clinic may place a landmark elsewhere in every image, such as
    4 mm lower on the chin. These offsets are added to the points of a model. They are
    given in a frame that turns and scales with the anatomy, so that they are the same
    in tilted images and in images without spacing: for each landmark, the frame is the
    similarity that maps the points of all *other* landmarks, weighted by their scores,
    to a mean shape.

    Args:
        shape: Array `(N, D)`, the mean shape, x, y(, z) in mm, or in px where no image
            had a spacing. Each image is turned and scaled to it.
        offsets: Array `(N, D)`, the offset of each landmark in the frame of the shape;
            0 for a landmark that stays.
        protocol: Dict, where the offsets come from.

    Raises:
        ValueError: If the shapes of the arrays do not match, or a value is not finite.

    Example:

    >>> shape = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    >>> down = PointOffsets(shape, np.array([[0.0, 2.0]] + 3 * [[0.0, 0.0]]))
    >>> turned = 3.0 * shape[:, ::-1] * [-1.0, 1.0]  # by 90 degrees, three times as big
    >>> moved = down.apply(turned[None], np.ones((1, 4)), np.eye(3)[None])
    >>> np.round(moved - turned, 6)[0, 0].tolist()
    [-6.0, 0.0]
    """

    shape: np.ndarray
    offsets: np.ndarray
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shape, offsets = np.shape(self.shape), np.shape(self.offsets)
        if len(shape) != 2 or shape[1] not in (2, 3) or shape != offsets:
            raise ValueError(
                "`shape` and `offsets` must both be (landmarks, 2) or (landmarks, 3). "
                f"Received: {shape} and {offsets}"
            )
        if not (np.isfinite(self.shape).all() and np.isfinite(self.offsets).all()):
            raise ValueError("`shape` and `offsets` must be finite. Received: NaN")

    def apply(
        self, points: Any, score: Any, grid_to_space: Any, xp: Any = NUMPY
    ) -> Any:
        """Returns the points with the offsets.

        Args:
            points: float32 `(B, N, D)` in pixels of the network's grid.
            score: float32 `(B, N)`.
            grid_to_space: float32 `(B, D + 1, D + 1)`, from the grid to a space without
                distortion: millimetres, or square pixels.
            xp: The array namespace, see `scn_keras.array_api`.

        Returns:
            float32 `(B, N, D)` in pixels of the grid. Points stay where too few others
            are finite, or all of them coincide.
        """
        d = self.shape.shape[1]
        points = xp.cast(points, "float32")
        grid_to_space = xp.cast(grid_to_space, "float32")
        to_frame = self.frames(points, score, grid_to_space, xp)
        # From the frame of each landmark to the grid in one step.
        linear = sum_of_products(to_frame, grid_to_space[:, None, :d, :d])
        determinant, cofactors = cofactor_matrix(linear, xp)
        regular = xp.abs(determinant) > _SMALL
        divisor = xp.where(regular, determinant, 1.0)[..., None]
        offsets = xp.cast(self.offsets, "float32")
        # The inverse is the transposed matrix of cofactors.
        moved = sum(cofactors[..., k, :] * offsets[:, k : k + 1] for k in range(d))
        moved = xp.where(regular[..., None], moved / divisor, 0.0)
        return points + moved

    def frames(
        self, points: Any, score: Any, grid_to_space: Any, xp: Any = NUMPY
    ) -> Any:
        """Returns the maps of vectors at each landmark to the frame of the shape.

        Args:
            points, score, grid_to_space, xp: See `apply`.

        Returns:
            float32 `(B, N, D, D)`, from space to the frame; zeros where there is none.
        """
        n, d = self.shape.shape
        points, score = xp.cast(points, "float32"), xp.cast(score, "float32")
        grid_to_space = xp.cast(grid_to_space, "float32")
        finite = ~xp.isnan(xp.sum(points, axis=-1))
        score = xp.maximum(xp.where(finite, score, 0.0), 0.0)
        points = xp.where(finite[..., None], points, 0.0)
        # NaN in the whole map means that there is no such space.
        space = apply_affine(grid_to_space, points)
        others = xp.cast(1.0 - np.eye(n), "float32")
        weights = others * score[:, None, :]
        weights = weights / xp.maximum(xp.sum(weights, axis=-1), _SMALL)[..., None]
        shape = xp.cast(self.shape - self.shape.mean(0), "float32")
        return _similarities(space[:, None], shape, weights, xp)

    def to_dict(self) -> dict[str, Any]:
        """Returns the offsets as plain values for JSON."""
        return {
            "version": VERSION,
            "shape": np.asarray(self.shape, float).tolist(),
            "offsets": np.asarray(self.offsets, float).tolist(),
            "protocol": dict(self.protocol),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PointOffsets":
        """Creates offsets from the result of `to_dict`.

        Raises:
            ValueError: If they have another version or are damaged.
        """
        if data.get("version") != VERSION:
            raise ValueError(
                f"This version of scn-keras reads offsets of version {VERSION}. Adapt "
                "the run again with `scn-keras adapt`. Received: version="
                f"{data.get('version')!r}"
            )
        if missing := {"shape", "offsets", "protocol"} - set(data):
            raise ValueError(
                "The offsets are damaged. Adapt the run again with `scn-keras adapt`. "
                f"Received: no {', '.join(sorted(missing))}"
            )
        shape, offsets = (np.array(data[key], float) for key in ("shape", "offsets"))
        return cls(shape, offsets, data["protocol"])

    def digest_bytes(self) -> bytes:
        """Returns what distinguishes these offsets from others, for a digest."""
        data = self.to_dict()
        return json.dumps([data["shape"], data["offsets"]]).encode()


def _similarities(points, shape, weights, xp):
    """Returns the linear parts `(B, N, D, D)` of the best similarities to the shape.

    It uses only products and sums, since ONNX and LiteRT lack a decomposition.

    Args:
        points: Array `(B, 1, N, D)`.
        shape: Array `(N, D)`.
        weights: Array `(B, N, N)` whose last axis sums to 1, or is 0.
        xp: The array namespace.
    """
    d = shape.shape[-1]
    points = points - xp.sum(weights[..., None] * points, axis=-2)[..., None, :]
    target = shape - xp.sum(weights[..., None] * shape, axis=-2)[..., None, :]
    variance = xp.sum(weights[..., None] * points * points, axis=(-2, -1))
    products = target[..., :, None] * points[..., None, :]
    moments = xp.sum(weights[..., None, None] * products, axis=-3)
    usable = variance > _SMALL
    variance = xp.where(usable, variance, 1.0)[..., None, None]
    if d == 2:
        cos = moments[..., 0, 0] + moments[..., 1, 1]
        sin = moments[..., 1, 0] - moments[..., 0, 1]
        rows = [xp.stack([cos, -sin], axis=-1), xp.stack([sin, cos], axis=-1)]
        linear = xp.stack(rows, axis=-2) / variance
    else:
        rotation = nearest_rotation(moments, xp)
        scale = xp.sum(rotation * moments, axis=(-2, -1))[..., None, None]
        linear = rotation * scale / variance
    # Also where the space is unknown: NaN is not above any number.
    return xp.where(usable[..., None, None], linear, 0.0)
