import numpy as np
from PIL import Image

from scn_keras.datasets.case import reading_stored_pixels
from scn_keras.datasets.check.finding import View
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_prediction, to_jpeg
from scn_keras.pictures.style import grey_limits, to_grey

# In pixels, by the number of landmarks: as small as their names allow.
_SIDES = {20: 600, 40: 800, 10_000: 1000}


def draw_sample(view: View, schema: LandmarkSchema) -> bytes | None:
    """Draws an image with its points and their names as the bytes of a JPEG file.

    Of a volume, the projections are drawn, and slices through the first and the last
    landmark.

    Args:
        view: `View`.
        schema: `LandmarkSchema`.

    Returns:
        Bytes; None if the image cannot be read.
    """
    try:
        with reading_stored_pixels():
            image, affine = view.case.read_image()
    except (ValueError, OSError):
        return None
    points = view.points
    if points is None:
        points = np.full((len(schema), image.ndim), np.nan)
    side = next(side for count, side in _SIDES.items() if len(schema) <= count)
    reduction = max(max(image.shape) / side, 1.0)
    if image.ndim == 2 and reduction > 1.0:
        size = np.maximum(np.round(np.array(image.shape[::-1]) / reduction), 1)
        scale = size / image.shape[::-1]
        grey = Image.fromarray(to_grey(image, grey_limits(image)))
        smaller = grey.resize((int(size[0]), int(size[1])), Image.Resampling.BOX)
        image, points = np.asarray(smaller), (points + 0.5) * scale - 0.5
        affine = affine.copy()
        affine[:2, :2] /= scale
    present = np.flatnonzero(~np.isnan(points).any(axis=-1))
    last = max(len(present) - 1, 0)
    chosen = [int(n) for n in dict.fromkeys(present[[0, last][: len(present)]])]
    drawing = draw_prediction(
        image,
        schema,
        points,
        affine,
        title=view.case.id,
        with_slices=chosen,
        sides=(side - 1, side),  # the reduced side is rounded
    )
    return to_jpeg(drawing, drawing.dpi)
