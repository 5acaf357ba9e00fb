from typing import Any, NamedTuple


class ReducedImage(NamedTuple):
    """A smoothed, subsampled and normalised image with its maps to the source image.

    Attributes:
        image: float32 `(..., *sizes, 1)`, about -1 to 1.
        to_source: float32 `(..., D + 1, D + 1)`, from pixels of the reduced image to
            pixels of the source image.
        grid_to_source: float32 `(..., D + 1, D + 1)`, from pixels of the grid to pixels
            of the source image, by letterbox, `grid_spacing` or `CoarseToFine`.
        size: float32 `(..., D)`, the size of the source image in x, y(, z).
    """

    image: Any
    to_source: Any
    grid_to_source: Any
    size: Any


def to_reduced(reduced: ReducedImage, to_source: Any, xp: Any) -> Any:
    """Converts an affine to the source image to an affine to the reduced image."""
    # `to_source` of the reduced image is diagonal. A matrix product would lose digits
    # if the exported graph runs on a GPU, see `apply_affine`.
    return to_source / _diagonal(reduced.to_source, xp)[..., :, None]


def _diagonal(matrix, xp):
    return xp.stack([matrix[..., k, k] for k in range(matrix.shape[-1])], axis=-1)
