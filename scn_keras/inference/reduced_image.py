from typing import Any, NamedTuple


class ReducedImage(NamedTuple):
    """A smoothed, thinned-out, normalised image and where its pixels lie.

    Attributes:
        image: float32 `(..., *sizes, 1)`, about -1 to 1.
        to_source: float32 `(..., D + 1, D + 1)`, from its pixels to those of the
            source image.
        grid_to_source: float32 `(..., D + 1, D + 1)`, letterbox, crop or `Placement`:
            from pixels of the grid to those of the source image.
        size: float32 `(..., D)`, the size of the source image in x, y(, z).
    """

    image: Any
    to_source: Any
    grid_to_source: Any
    size: Any


def to_reduced(reduced: ReducedImage, to_source: Any, xp: Any) -> Any:
    """Turns an affine into the source image into one into the reduced image."""
    # `to_source` of the reduced image is diagonal. A matrix product would lose digits
    # where the exported graph runs on a GPU, see `apply_affine`.
    return to_source / _diagonal(reduced.to_source, xp)[..., :, None]


def _diagonal(matrix, xp):
    return xp.stack([matrix[..., k, k] for k in range(matrix.shape[-1])], axis=-1)
