import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.landmark_schema import LandmarkSchema

# Of a radiograph, level 4 makes files as small as TFDS's own 6, in a third of the
# time (0.15 s against 0.47 s for 1935 x 2400 pixels).
_PNG_COMPRESSION = 4


class LandmarkBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]  # mypy skips TFDS
):
    """Base class of the data sets of images with landmarks.

    A subclass says which landmarks it has in `SCHEMA`, and who set them in
    `OBSERVERS` where more than one did; the stored features follow from these two.
    It writes `_split_generators` and `_generate_examples` as every TFDS builder
    does, the latter with `self.sample(...)`. A builder that reads a folder given by
    a person overrides `folder_problems` as well, so that a wrong folder is reported
    whole and before anything is written.

    `SUBSETS` names parts of a split that count on their own, each as the split and
    the ids of its samples: they can be asked for as a split can, and are reported
    beside the whole. `SPACING_RULE` says where the millimetres come from, for people
    who read a result.

    The builder's folder holds `README.md`, `CITATIONS.bib` and `TAGS.txt`.

    Args:
        data_dir: str or path, where prepared data sets lie. Defaults to the
            environment variable `TFDS_DATA_DIR`, then to `~/tensorflow_datasets`.
        config: str or `tfds.core.BuilderConfig`, for builders that have any.
        version: str, an older version to read.

    Raises:
        TypeError: At the definition of a subclass without a `SCHEMA`.

    Example:

    ```python
    class Builder(LandmarkBuilder):
        VERSION = tfds.core.Version("1.0.0")
        SCHEMA = LandmarkSchema(("tip", "base"))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(dl_manager.manual_dir)}

        def _generate_examples(self, folder):
            for path in sorted(folder.glob("*.png")):
                image, affine = read_image(path)
                points = np.loadtxt(path.with_suffix(".txt"))
                yield path.stem, self.sample(
                    path.stem, image, {"points": points}, affine
                )
    ```
    """

    SCHEMA: ClassVar[LandmarkSchema]
    OBSERVERS: ClassVar[tuple[str, ...]] = ()
    SUBSETS: ClassVar[Mapping[str, tuple[str, frozenset[str]]]] = {}
    SPACING_RULE: ClassVar[str] = "as the file of each image says"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not inspect.isabstract(cls) and not hasattr(cls, "SCHEMA"):
            raise TypeError(
                f"A landmark builder needs a `SCHEMA`, a LandmarkSchema with the names "
                f"of its landmarks. Received: class {cls.__qualname__} without one."
            )
        # TFDS infers these from the module's name, which is wrong where packages
        # are mapped (setup.cfg maps datasets/ to scn_keras.datasets): README.md and
        # CITATIONS.bib would not be found in an editable install.
        try:
            code_path = tfds.core.Path(inspect.getfile(cls))
        except (OSError, TypeError):  # defined in a notebook: TFDS copes
            return
        cls.code_path = code_path
        cls.pkg_dir_path = code_path.parent

    def point_features(self) -> tuple[str, ...]:
        """Returns the names of the features that hold points, one an observer."""
        if not self.OBSERVERS:
            return ("points",)
        return tuple(f"points_{observer}" for observer in self.OBSERVERS)

    def landmark_features(self) -> tfds.features.FeaturesDict:
        """Returns the features of a stored sample, the same for every data set.

        - `id`: str, unique within the data set.
        - `group`: str, images of one patient share it.
        - `image`: uint8 `(H, W, 1)`, stored as PNG.
        - `points`, or `points_<observer>` each: float32 `(N, 2)`, x and y in pixels
          of the stored image, a pixel's centre at whole numbers; NaN for missing.
        - `affine`: float32 `(3, 3)`, pixels to mm.
        """
        points = tfds.features.Tensor(shape=(len(self.SCHEMA), 2), dtype=np.float32)
        return tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                "group": tfds.features.Text(),
                "image": tfds.features.Image(
                    shape=(None, None, 1), dtype=np.uint8, encoding_format="png"
                ),
                **dict.fromkeys(self.point_features(), points),
                "affine": tfds.features.Tensor(shape=(3, 3), dtype=np.float32),
            }
        )

    def sample(
        self,
        id: str,
        image: np.ndarray,
        points: Mapping[str, np.ndarray],
        affine: np.ndarray,
        group: str | None = None,
    ) -> dict[str, Any]:
        """Returns one sample in the form of `landmark_features`.

        Args:
            id: str, unique within the data set.
            image: uint8 array `(H, W)` or `(H, W, 1)`.
            points: Mapping of the names in `point_features` to arrays `(N, 2)`.
            affine: Array `(3, 3)`, pixels to mm.
            group: str, the patient. Defaults to `id`: a patient of its own.

        Raises:
            ValueError: If an array has another shape or the image another type.
        """
        import tensorflow as tf  # loaded by preparing, not by reading a schema

        image = np.asarray(image)
        if image.ndim == 2:
            image = image[..., None]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 1:
            raise ValueError(
                f"The image of sample {id!r} must be a uint8 array (H, W) or "
                f"(H, W, 1). Received: {image.dtype} {image.shape}"
            )
        if set(points) != set(self.point_features()):
            raise ValueError(
                f"Sample {id!r} needs the points {list(self.point_features())}. "
                f"Received: {sorted(points)}"
            )
        arrays = {name: np.asarray(p, np.float32) for name, p in points.items()}
        for name, array in arrays.items():
            if array.shape != (len(self.SCHEMA), 2):
                raise ValueError(
                    f"`{name}` of sample {id!r} must have one row x, y for each of the "
                    f"{len(self.SCHEMA)} landmarks. Received: shape {array.shape}"
                )
        return {
            "id": id,
            "group": id if group is None else group,
            "image": tf.io.encode_png(image, compression=_PNG_COMPRESSION).numpy(),
            **arrays,
            "affine": np.asarray(affine, np.float32),
        }

    def folder_problems(self, folder: Path) -> list[str]:
        """Lists everything that is wrong with a folder of source files.

        Called before anything is written. A builder that reads no folder keeps
        this answer: nothing is wrong.

        Args:
            folder: Path, what the user gave as the manual folder; it exists.

        Returns:
            List of str, one sentence a problem, naming the file.
        """
        del folder
        return []

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists what a person should know about a folder in which nothing is wrong.

        Args:
            folder: Path, as for `folder_problems`.

        Returns:
            List of str, one sentence each, for example a split that is left out.
        """
        del folder
        return []

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=self.landmark_features())
