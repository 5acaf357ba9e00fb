import contextlib
import contextvars
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing

_stored_pixels = contextvars.ContextVar("stored_pixels", default=False)


@contextlib.contextmanager
def reading_stored_pixels() -> Iterator[None]:
    """Images with an orientation tag are read as they are stored, not refused.

    For checks that find out which orientation the points fit.
    """
    token = _stored_pixels.set(True)
    try:
        yield
    finally:
        _stored_pixels.reset(token)


def reads_stored_pixels() -> bool:
    """Returns whether the call is within `reading_stored_pixels`."""
    return _stored_pixels.get()


@dataclasses.dataclass(frozen=True)
class Case:
    """One image of a folder of source files with its points.

    Args:
        id: Str, unique within the folder.
        group: Str, the patient.
        split: Str, for example `"train"` or `"fold1"`; `""` for none.
        image_path: Path, the file, or the folder of a DICOM series.
        points_paths: Tuple of paths, the files of the points.
        points: Mapping of the names of features (`"points"`, `"points_senior"`) to
            arrays `(N, D)`: index coordinates x, y(, z) of the image, NaN for missing.
        affine: Array `(D + 1, D + 1)`, index coordinates to mm (LPS); None for the
            affine of the image file.
        labels: Tuple of str, the labels in the order of the points file and with
            duplicates; empty if the format has none.
        stored_pixels: Bool, see `files.read_image`.

    Example:

    ```python
    for case in builder_class("cephalogram")().cases(folder):
        image, affine = case.read_image()
        print(case.id, image.shape, case.points["points_senior"][0])
    ```
    """

    id: str
    group: str
    split: str
    image_path: pathlib.Path
    points_paths: tuple[pathlib.Path, ...]
    points: Mapping[str, np.ndarray]
    affine: np.ndarray | None
    labels: tuple[str, ...] = ()
    stored_pixels: bool = False

    def read_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image and its affine.

        Returns:
            A pair `(array, affine)`: `((z,) y, x)` in the dtype of the file, and
            float64 `(D + 1, D + 1)`, index coordinates to mm. The linear part of the
            affine is NaN if the spacing is not known.

        Raises:
            ValueError: If the file is missing or damaged, or its number of axes differs
                from that of the points. The message names the file.
        """
        try:
            array, affine = read_image(
                self.image_path,
                stored_pixels=self.stored_pixels or reads_stored_pixels(),
            )
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        dimensions = {points.shape[-1] for points in self.points.values()}
        if dimensions - {array.ndim}:
            raise ValueError(
                f"{self.image_path} must have as many axes as its points have "
                f"coordinates, {min(dimensions)}. Received: an image of shape "
                f"{array.shape}"
            )
        if self.affine is not None:
            affine = self.affine
        elif affine is None:
            affine = affine_from_spacing([np.nan] * array.ndim)
        return array, affine
