import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing


@dataclasses.dataclass(frozen=True)
class Case:
    """One image of a folder of source files with its points, before it is prepared.

    Args:
        id: Str, unique within the folder.
        group: Str, the patient: images of one patient share it.
        split: Str, for example `"train"` or `"fold1"`; `""` where there is none.
        image_path: Path, the file, or the folder of a DICOM series.
        points_paths: Tuple of paths, the files that the points came from.
        points: Mapping of the names of features (`"points"`, `"points_senior"`) to
            arrays `(N, D)`: index coordinates x, y(, z) of the image, NaN where
            missing.
        affine: Array `(D + 1, D + 1)`, index coordinates to mm (LPS), or None for
            what the image file says.
        labels: Tuple of str, the labels as the points file has them, in its order,
            doubles included; empty where the format has none.

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

    def read_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image and its affine.

        Returns:
            A pair `(array, affine)`: `((z,) y, x)` in the file's own number type, and
            float64 `(D + 1, D + 1)`, index coordinates to mm. The affine's linear
            part is NaN where nobody says how large a pixel is.

        Raises:
            ValueError: If the file is missing or damaged, or has another number of
                axes than the points. The message names it.
        """
        try:
            array, affine = read_image(self.image_path)
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        dimensions = {points.shape[-1] for points in self.points.values()}
        if dimensions - {array.ndim}:
            raise ValueError(
                f"{self.image_path} must have as many axes as its points have "
                f"coordinates, {min(dimensions)}. Received: an image of shape "
                f"{array.shape}."
            )
        if self.affine is not None:
            affine = self.affine
        elif affine is None:
            affine = affine_from_spacing([np.nan] * array.ndim)
        return array, affine
