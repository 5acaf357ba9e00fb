import inspect
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds

# Imported for what it does: `tfds.load` then streams array_record.
import scn_keras.datasets.array_record_stream  # noqa: F401
from scn_keras.datasets.case import Case
from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.landmark_schema import LandmarkSchema

if TYPE_CHECKING:
    import tensorflow as tf

# Of a radiograph, level 4 makes files as small as TFDS's own 6, in a third of the
# time (0.15 s against 0.47 s for 1935 x 2400 pixels).
_PNG_COMPRESSION = 4

# By random access too, and without TensorFlow.
_FILE_FORMAT = "array_record"


class LandmarkBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]  # mypy skips TFDS
):
    """Base class of the data sets of images with landmarks.

    A subclass says which landmarks it has in `SCHEMA`, of how many `DIMENSIONS`, in
    images of which `IMAGE_DTYPE`, and who set them in `OBSERVERS` where more than one
    did; the stored features follow from these. `GROUND_TRUTHS` names points beside
    those of the observers that are to train on or to score with, but take no part in
    their mean. One that reads a folder given by a person writes

    - `cases(folder)`, the images of the folder with their points and splits;
    - `layout_problems(folder)` where these do not say all that may be wrong, so that
      a wrong folder is reported whole and before anything is written;
    - `folder_notes(folder)`, what a person should know of a folder that is right;
    - `describe(folder)` where the folder decides any of the attributes here: it sets
      them on the instance. They are stored with the prepared set, and an instance
      that finds a prepared set has the attributes that it was prepared with.

    One that reads none writes `_split_generators` and `_generate_examples`, as every
    TFDS builder does, the latter with `self.sample(...)`.

    `SUBSETS` names parts of the data set that count on their own, each as a split (or
    several, `"fold1+fold2"`) and the ids of its samples: `as_dataset` and `tfds.load`
    take their names as they take a split's, and results report them beside the whole.
    `SPACING_RULE` says where the millimetres come from, for people who read a result.
    `SPACING_FROM_POINTS` says that they come from the very landmarks that are to be
    found: training then refuses settings that would show them to the network.
    `LICENSE` says in one sentence under which terms a model of the images may be used,
    and `LIMITS` what such a model is not for: the card of a preset repeats them. Where
    a folder is anyone's, `LICENSE` is empty.

    Sets are stored as `array_record`: streamed by `tfds.load`, and read by random
    access by `tfds.data_source` and Grain, without TensorFlow. A set that was
    prepared as `tfrecord` is streamed as well.

    The builder's folder holds `README.md`, `CITATIONS.bib` and `TAGS.txt`.

    Args:
        folder: str or path, the folder of source files to prepare. Only needed where
            the builder has `describe`.
        data_dir: str or path, where prepared data sets lie. Defaults to the
            environment variable `TFDS_DATA_DIR`, then to `~/tensorflow_datasets`.
        config: str or `tfds.core.BuilderConfig`, for builders that have any.
        version: str, an older version to read.
        file_format: str, in which TFDS stores a set that is not prepared yet.

    Raises:
        TypeError: At the definition of a subclass without a `SCHEMA`.

    Example:

    ```python
    class Builder(LandmarkBuilder):
        VERSION = tfds.core.Version("1.0.0")
        SCHEMA = LandmarkSchema(("tip", "base"))
        MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder of NAME.png and NAME.txt."

        def cases(self, folder, problems=None):
            for path in sorted(folder.glob("*.png")):
                table = path.with_suffix(".txt")
                points = {"points": np.loadtxt(table)}
                yield Case(path.stem, path.stem, "train", path, (table,), points, None)
    ```
    """

    SCHEMA: LandmarkSchema
    DIMENSIONS: int = 2
    IMAGE_DTYPE: str = "uint8"
    OBSERVERS: tuple[str, ...] = ()
    GROUND_TRUTHS: tuple[str, ...] = ()
    SUBSETS: Mapping[str, tuple[str, frozenset[str]]] = {}
    SPACING_RULE: str = "as the file of each image says"
    SPACING_FROM_POINTS: bool = False
    LICENSE: str = ""
    LIMITS: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "SCHEMA"):
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

    def __init__(
        self, *, folder: str | os.PathLike[str] | None = None, **kwargs: Any
    ) -> None:
        if folder is not None:
            self.describe(Path(folder).expanduser())
        super().__init__(**kwargs)
        if kwargs.get("file_format") is None and not self.info.initialized:
            self.info.set_file_format(_FILE_FORMAT, override=True)

    def cases(self, folder: Path, problems: list[str] | None = None) -> Iterable[Case]:
        """Lists the images of a folder of source files with their points and splits.

        Reads the points, but no image.

        Args:
            folder: Path, what the user gave as the manual folder; it exists.
            problems: List to which everything wrong is appended, one sentence a
                problem, naming file and line. What can be read is returned, also if
                points lie outside of their image.

        Raises:
            DatasetFolderError: If anything is wrong and `problems` is None.
            ValueError: If the builder reads no folder.
        """
        del problems
        raise ValueError(
            f"The data set {self.name!r} reads no folder of source files. Received: "
            f"folder={os.fspath(folder)}"
        )

    def describe(self, folder: Path) -> None:
        """Sets on the instance what a folder decides: its landmarks, its subsets.

        Keeps what the class says, unless overridden.

        Args:
            folder: Path, a folder in which nothing is wrong.
        """

    def layout_problems(self, folder: Path) -> list[str]:
        """Lists what is wrong with a folder, its points included, but not its images.

        Args:
            folder: Path, what the user gave as the manual folder; it exists.

        Returns:
            List of str, one sentence a problem, naming the file.
        """
        problems: list[str] = []
        list(self.cases(folder, problems))
        return problems

    def folder_problems(self, folder: Path) -> list[str]:
        """Lists everything that is wrong with a folder, decoding every image.

        Called before anything is written.

        Args:
            folder: Path, as for `layout_problems`.

        Returns:
            List of str, one sentence a problem, naming the file.
        """
        if self.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
            return []
        problems = self.layout_problems(folder)
        if problems:
            return problems
        self.describe(folder)
        for case in tfds.core.utils.tqdm(
            list(self.cases(folder)),
            desc="Checking images",
            unit=" images",
            leave=False,
        ):
            try:
                image, affine = self.read_image(case)
                self._check(str(case.image_path), image, case.points, affine)
            except ValueError as error:
                problems.append(str(error).replace(f"{folder}/", ""))
        return problems

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists what a person should know about a folder in which nothing is wrong.

        They are stored with the prepared set, as `builder.info.metadata["notes"]`.

        Args:
            folder: Path, as for `layout_problems`.

        Returns:
            List of str, one sentence each, for example a split that is left out.
        """
        del folder
        return []

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image of a case, in the form that is stored, and its affine.

        Raises:
            ValueError: If the file is damaged. The message names it.
        """
        return case.read_image()

    def point_features(self) -> tuple[str, ...]:
        """Returns the names of the features that hold points, one an observer."""
        if not self.OBSERVERS:
            return ("points",)
        return tuple(f"points_{name}" for name in self.OBSERVERS + self.GROUND_TRUTHS)

    def landmark_features(self) -> tfds.features.FeaturesDict:
        """Returns the features of a stored sample, the same for every data set.

        - `id`: str, unique within the data set.
        - `group`: str, images of one patient share it.
        - `image`: `(H, W, 1)` or `(D, H, W, 1)`, stored as PNG if it is 2D and uint8,
          else compressed by zlib: what TFDS decodes with and without TensorFlow.
        - `points`, or `points_<observer>` each: float32 `(N, 2)` or `(N, 3)`, x, y(, z)
          in pixels of the stored image, a pixel's centre at whole numbers; NaN for
          missing.
        - `affine`: float32 `(3, 3)` or `(4, 4)`, pixels to mm.
        """
        d = self.DIMENSIONS
        points = tfds.features.Tensor(shape=(len(self.SCHEMA), d), dtype=np.float32)
        shape = (*[None] * d, 1)
        dtype = np.dtype(self.IMAGE_DTYPE)
        if self._is_png():
            image = tfds.features.Image(shape=shape, dtype=dtype, encoding_format="png")
        else:
            image = tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")
        return tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                "group": tfds.features.Text(),
                "image": image,
                **dict.fromkeys(self.point_features(), points),
                "affine": tfds.features.Tensor(shape=(d + 1, d + 1), dtype=np.float32),
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
            image: Array `((z,) y, x)` or `((z,) y, x, 1)` of the builder's type.
            points: Mapping of the names in `point_features` to arrays `(N, D)`.
            affine: Array `(D + 1, D + 1)`, pixels to mm.
            group: str, the patient. Defaults to `id`: a patient of its own.

        Raises:
            ValueError: If an array has another shape or the image another type.
        """
        image, arrays, affine = self._check(id, image, points, affine)
        return {
            "id": id,
            "group": id if group is None else group,
            "image": _png(image[..., 0]) if self._is_png() else image,
            **arrays,
            "affine": affine,
        }

    def _check(
        self,
        name: str,
        image: np.ndarray,
        points: Mapping[str, np.ndarray],
        affine: np.ndarray,
    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Returns the arrays of a sample as they are stored, see `sample`."""
        d = self.DIMENSIONS
        image = np.asarray(image)
        if image.ndim == d:
            image = image[..., None]
        if (
            image.dtype != self.IMAGE_DTYPE
            or image.ndim != d + 1
            or image.shape[-1] != 1
        ):
            axes = {2: "H, W", 3: "D, H, W"}[d]
            raise ValueError(
                f"The image of sample {name!r} must be a {self.IMAGE_DTYPE} array "
                f"({axes}) or ({axes}, 1). Received: {image.dtype} {image.shape}"
            )
        if set(points) != set(self.point_features()):
            raise ValueError(
                f"Sample {name!r} needs the points {list(self.point_features())}. "
                f"Received: {sorted(points)}"
            )
        arrays = {key: np.asarray(p, np.float32) for key, p in points.items()}
        for key, array in arrays.items():
            if array.shape != (len(self.SCHEMA), d):
                raise ValueError(
                    f"`{key}` of sample {name!r} must have one row "
                    f"{', '.join('xyz'[:d])} for each of the {len(self.SCHEMA)} "
                    f"landmarks. Received: shape {array.shape}"
                )
        affine = np.asarray(affine, np.float32)
        if affine.shape != (d + 1, d + 1):
            raise ValueError(
                f"The affine of sample {name!r} must be {d + 1} x {d + 1}. Received: "
                f"shape {affine.shape}"
            )
        return image, arrays, affine

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        folder = Path(dl_manager.manual_dir)
        if problems := self.layout_problems(folder):
            raise DatasetFolderError(
                self.name, folder, problems, self.MANUAL_DOWNLOAD_INSTRUCTIONS
            )
        self.describe(folder)
        if repr(self.landmark_features()) != repr(self.info.features):
            raise ValueError(
                f"The landmarks of {self.name!r} are decided by the folder, which the "
                "builder must know from the beginning: give it as `folder`, or call "
                f"`scn_keras.datasets.prepare`. Received: {folder}"
            )
        self.info.metadata.update(self._description(), notes=self.folder_notes(folder))
        splits: dict[str, list[Case]] = {}
        for case in self.cases(folder):
            splits.setdefault(case.split or "train", []).append(case)
        return {
            split: self._generate_examples(cases) for split, cases in splits.items()
        }

    # As TFDS lets them, subclasses that override this choose the arguments.
    def _generate_examples(
        self, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        (cases,) = args
        for case in cases:
            image, affine = self.read_image(case)
            sample = self.sample(case.id, image, case.points, affine, case.group)
            yield case.id, sample

    def _as_dataset(self, split: Any, **kwargs: Any) -> "tf.data.Dataset":
        name, ids = self._subset(split)
        samples = super()._as_dataset(split=name, **kwargs)
        if ids is None:
            return samples
        import tensorflow as tf

        wanted = tf.constant(sorted(ids))
        return samples.filter(
            lambda sample: tf.reduce_any(sample["id"] == wanted)
        ).apply(tf.data.experimental.assert_cardinality(len(ids)))

    def _should_cache_ds(self, split: Any, *args: Any, **kwargs: Any) -> bool:
        return super()._should_cache_ds(self._subset(split)[0], *args, **kwargs)

    def _subset(self, split: Any) -> tuple[Any, frozenset[str] | None]:
        """Returns the split that a name stands for, and the ids to take from it."""
        if isinstance(split, str) and split in self.SUBSETS:
            return self.SUBSETS[split]
        return split, None

    def _is_png(self) -> bool:
        return self.DIMENSIONS == 2 and self.IMAGE_DTYPE == "uint8"

    def _description(self) -> dict[str, Any]:
        """Returns what a reader without the builder's code must know, for JSON."""
        return {
            "landmarks": self.SCHEMA.to_dict(),
            "dimensions": self.DIMENSIONS,
            "image_dtype": self.IMAGE_DTYPE,
            "observers": list(self.OBSERVERS),
            "ground_truths": list(self.GROUND_TRUTHS),
            "subsets": {
                name: {"split": split, "ids": sorted(ids)}
                for name, (split, ids) in self.SUBSETS.items()
            },
            "spacing_rule": self.SPACING_RULE,
        }

    def _restore(self, description: Mapping[str, Any]) -> None:
        self.SCHEMA = LandmarkSchema.from_dict(description["landmarks"])
        self.DIMENSIONS = description["dimensions"]
        self.IMAGE_DTYPE = description["image_dtype"]
        self.OBSERVERS = tuple(description["observers"])
        self.GROUND_TRUTHS = tuple(description["ground_truths"])
        self.SUBSETS = {
            name: (subset["split"], frozenset(subset["ids"]))
            for name, subset in description["subsets"].items()
        }
        self.SPACING_RULE = description["spacing_rule"]

    def _info(self) -> tfds.core.DatasetInfo:
        stored = Path(self.data_dir) / "metadata.json"
        # What a folder decided; sets of builders without `describe` are as their code.
        if type(self).describe is not LandmarkBuilder.describe and stored.is_file():
            self._restore(json.loads(stored.read_text("utf-8")))
        return self.dataset_info_from_configs(
            features=self.landmark_features(),
            metadata=tfds.core.MetadataDict(self._description()),
        )


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=_PNG_COMPRESSION)
    return file.getvalue()
