import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds

# The import registers streaming of array_record with TFDS.
import scn_keras.datasets.array_record_stream  # noqa: F401
from scn_keras.datasets._checked_samples import checked_cases, checked_splits
from scn_keras.datasets._description import (
    compare_with_stored,
    description,
    restore,
    stored_description,
)
from scn_keras.datasets._sample_format import SampleFormat
from scn_keras.datasets._subsets import check_split, data_source, selection, subset
from scn_keras.datasets._tfds_class import (
    check_attributes,
    check_version,
    forget_earlier_definition,
    set_code_path,
)
from scn_keras.datasets.case import Case
from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.landmark_schema import LandmarkSchema

if TYPE_CHECKING:
    import tensorflow as tf

# Can also be read by random access and without TensorFlow.
_FILE_FORMAT = "array_record"


class LandmarkBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]  # mypy skips TFDS
):
    """Base class of TFDS builders for images with landmarks.

    A subclass defines its landmarks in `SCHEMA`, and the stored features with
    `DIMENSIONS`, `IMAGE_DTYPE` and, if there is more than one observer, `OBSERVERS`.
    `GROUND_TRUTHS` names further points to train on or to evaluate with, which are not
    part of the mean of the observers.

    A subclass that reads a folder of the user implements

    - `cases(folder)`: the images of the folder with their points and splits;
    - `layout_problems(folder)`, optionally: problems that `cases` does not find, so
      that all are reported before anything is written;
    - `folder_notes(folder)`, optionally: information on a folder without problems;
    - `describe(folder)`, if the folder determines any of the attributes: sets them on
      the instance. They are stored with the prepared set, and an instance that finds a
      prepared set restores them.

    A subclass that reads no folder implements `_split_generators` and
    `_generate_examples` as any TFDS builder, the latter with `self.sample(...)`.

    Further attributes:

    - `SUBSETS`: named subsets, each with a split (or several, `"fold1+fold2"`) and the
      ids of its samples. Their names are accepted as splits, and results list them.
    - `PUBLISHED_SPLITS`: whether the splits are those of a publication: results on them
      are given, and marked, even where test images repeat training images.
    - `SPACING_RULE`: the source of the millimetres, for readers of a result.
    - `SPACING_FROM_POINTS`: whether the millimetres are derived from the true
      landmarks. Training then rejects settings that would show them to the network.
    - `LICENSE`, `LIMITS`: one sentence each on the terms for models of the images and
      on their limits, for model cards; empty for data of the user.

    Data sets are stored as `array_record`: streamed by `tfds.load`, and read by random
    access by `tfds.data_source` and Grain, without TensorFlow. A set that was prepared
    as `tfrecord` is streamed as well.

    A prepared set is stored under the name of the class (`Crosses` in `crosses/1.0.0`)
    with the class and its landmarks, and another class of the same name is rejected. A
    class needs a new `VERSION` when its landmarks, images or points change.

    The folder of the module may contain `README.md`, `CITATIONS.bib` and `TAGS.txt`.

    Args:
        folder: Str or path, the folder of source files to prepare. Only needed for
            builders with `describe`.
        data_dir: Str or path, the folder of prepared data sets. Defaults to the
            environment variable `TFDS_DATA_DIR`, then to `~/tensorflow_datasets`.
        config: Str or `tfds.core.BuilderConfig`, for builders with configurations.
        version: Str, an older version to read.
        file_format: Str, the format in which TFDS stores a set that is not prepared
            yet.

    Raises:
        ValueError: At the definition of a subclass without a `SCHEMA`.

    Example:

    ```python
    import numpy as np
    import tensorflow_datasets as tfds

    from scn_keras import LandmarkSchema
    from scn_keras.datasets import Case, LandmarkBuilder


    class Knees(LandmarkBuilder):
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
    PUBLISHED_SPLITS: bool = False
    SPACING_RULE: str = "as the file of each image says"
    SPACING_FROM_POINTS: bool = False
    LICENSE: str = ""
    LIMITS: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        forget_earlier_definition(cls)
        super().__init_subclass__(**kwargs)
        check_attributes(cls)
        set_code_path(cls)

    def __init__(
        self, *, folder: str | os.PathLike[str] | None = None, **kwargs: Any
    ) -> None:
        check_version(type(self))
        if folder is not None:
            self.describe(Path(folder).expanduser())
        super().__init__(**kwargs)
        if kwargs.get("file_format") is None and not self.info.initialized:
            self.info.set_file_format(_FILE_FORMAT, override=True)

    def cases(self, folder: Path, problems: list[str] | None = None) -> Iterable[Case]:
        """Lists the images of a folder of source files with their points and splits.

        Reads the points, but no image.

        Args:
            folder: Path, the existing folder of source files.
            problems: List of str, to which a sentence with file and line is appended
                for each problem. Cases without problems are returned, including those
                with points outside of their image.

        Raises:
            DatasetFolderError: If there are problems and `problems` is None.
            ValueError: If the builder reads no folder.
        """
        del problems
        raise ValueError(
            f"The data set {self.name!r} reads no folder of source files. Received: "
            f"folder={os.fspath(folder)}"
        )

    def describe(self, folder: Path) -> None:
        """Sets the attributes that a folder determines: landmarks or subsets.

        By default the attributes of the class are kept.

        Args:
            folder: Path, a folder without problems.
        """

    def layout_problems(self, folder: Path) -> list[str]:
        """Lists the problems of a folder that are found without decoding images.

        Args:
            folder: Path, the existing folder of source files.

        Returns:
            List of str, one sentence with the name of the file for each problem.
        """
        problems: list[str] = []
        checked_cases(self, folder, problems)
        return problems

    def folder_problems(self, folder: Path) -> list[str]:
        """Lists all problems of a folder. Decodes every image.

        Called before anything is written.

        Args:
            folder: Path, see `layout_problems`.

        Returns:
            List of str, see `layout_problems`.
        """
        if self.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
            return []
        problems = self.layout_problems(folder)
        if problems:
            return problems
        self.describe(folder)
        form = self._sample_format()
        for case in tfds.core.utils.tqdm(
            checked_cases(self, folder),
            desc="Checking images",
            unit=" images",
            leave=False,
        ):
            try:
                image, affine = self.read_image(case)
                form.validated(str(case.image_path), image, case.points, affine)
            except ValueError as error:
                problems.append(str(error).replace(f"{folder}/", ""))
        return problems

    def file_notes(self, folder: Path) -> list[str]:
        """Lists remarks on the files of a folder, with problems or without."""
        return []

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists information for the user on a folder without problems.

        It is stored with the prepared set, in `builder.info.metadata["notes"]`.

        Args:
            folder: Path, see `layout_problems`.

        Returns:
            List of sentences, for example on a split that is left out.
        """
        del folder
        return []

    def dealt_folds(self, folder: Path) -> tuple[int, int] | None:
        """Returns number and seed of folds of a folder with a registry, else None."""
        return None

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image of a case, in the form that is stored, and its affine.

        Args:
            case: `Case`.

        Raises:
            ValueError: If the file is damaged. The message names the file.
        """
        return case.read_image()

    def point_features(self) -> tuple[str, ...]:
        """Returns the names of the features with points, one for each observer."""
        if not self.OBSERVERS:
            return ("points",)
        return tuple(f"points_{name}" for name in self.OBSERVERS + self.GROUND_TRUTHS)

    def landmark_features(self) -> tfds.features.FeaturesDict:
        """Returns the features of a stored sample.

        - `id`: str, unique within the data set.
        - `group`: str, the patient.
        - `image`: `(H, W, 1)` or `(D, H, W, 1)`, stored as PNG if it is 2D and uint8,
          otherwise compressed by zlib, since TFDS decodes these with and without
          TensorFlow.
        - `points`, or `points_<observer>` for each observer: float32 `(N, 2)` or
          `(N, 3)`, x, y(, z) in pixels of the stored image, a pixel's centre at whole
          numbers; NaN for missing.
        - `affine`: float32 `(3, 3)` or `(4, 4)`, pixels to mm.
        """
        return self._sample_format().features()

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
            id: Str, unique within the data set.
            image: Array `((z,) y, x)` or `((z,) y, x, 1)` of the builder's dtype.
            points: Mapping of the names in `point_features` to arrays `(N, D)`.
            affine: Array `(D + 1, D + 1)`, pixels to mm.
            group: Str, the patient. Defaults to `id`.

        Raises:
            ValueError: If the shape of an array or the dtype of the image is wrong.
        """
        group = id if group is None else group
        return self._sample_format().encoded(id, image, points, affine, group)

    def read_split(
        self, split: str, decoders: Mapping[str, Any] | None = None
    ) -> "tf.data.Dataset":
        """Returns the samples of a split or a named subset, in a fixed order.

        Args:
            split: Str, a TFDS split, slices and sums included, or one of `SUBSETS`.
            decoders: Mapping of features to decoders of TFDS, such as
                `{"image": tfds.decode.SkipDecoding()}`.

        Raises:
            ValueError: If the split or subset is unknown.
        """
        check_split(self, split)
        return self.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=decoders,
            # The training keeps reduced images. TFDS would keep whole decoded images.
            read_config=tfds.ReadConfig(try_autocache=False),
        )

    def is_prepared(self) -> bool:
        """Returns whether the data set is stored.

        Raises:
            ValueError: If another class has stored it, or the class has other
                landmarks since.
        """
        # TFDS warns of a folder without this file.
        if not (Path(self.data_dir) / "dataset_info.json").is_file():
            return False
        compare_with_stored(self)
        return super().is_prepared()

    def as_data_source(self, split: Any = None, **kwargs: Any) -> Any:
        """Returns a split for random access, see `tfds.core.DatasetBuilder`."""
        compare_with_stored(self)
        read = super().as_data_source
        return data_source(self, split, lambda name: read(name, **kwargs))

    def _sample_format(self) -> SampleFormat:
        return SampleFormat(
            len(self.SCHEMA), self.DIMENSIONS, self.IMAGE_DTYPE, self.point_features()
        )

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
                f"The folder determines the landmarks of {self.name!r}, so the builder "
                "must be created with it: give it as `folder`, or call "
                f"`scn_keras.datasets.prepare`. Received: {folder}"
            )
        self.info.metadata.update(description(self), notes=self.folder_notes(folder))
        splits: dict[str, list[Case]] = {}
        for case in checked_cases(self, folder):
            splits.setdefault(case.split or "train", []).append(case)
        return {
            split: self._generate_examples(cases) for split, cases in splits.items()
        }

    # Subclasses that override this may choose other arguments, as in TFDS.
    def _generate_examples(
        self, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        (cases,) = args
        for case in cases:
            image, affine = self.read_image(case)
            sample = self.sample(case.id, image, case.points, affine, case.group)
            yield case.id, sample

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        with checked_splits(self):
            super()._download_and_prepare(*args, **kwargs)

    def _as_dataset(self, split: Any, **kwargs: Any) -> "tf.data.Dataset":
        compare_with_stored(self)
        name, ids = selection(self, split)
        samples = super()._as_dataset(split=name, **kwargs)
        return samples if ids is None else subset(samples, ids)

    def _should_cache_ds(self, split: Any, *args: Any, **kwargs: Any) -> bool:
        return super()._should_cache_ds(selection(self, split)[0], *args, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        # Other builders have the attributes of their class.
        if type(self).describe is not LandmarkBuilder.describe and (
            stored := stored_description(self.data_dir)
        ):
            restore(self, stored)
        return self.dataset_info_from_configs(
            features=self.landmark_features(),
            metadata=tfds.core.MetadataDict(description(self)),
        )
