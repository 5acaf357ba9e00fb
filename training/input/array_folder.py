import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import __version__
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.files.orientation import REFUSED
from scn_keras.files.shown_command import shown_command
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.recipe import Recipe

_FORMAT = 1
_TABLE = "images.npz"


class ArrayFolder:
    """A data set for training, stored as arrays that only NumPy is needed to read.

    The folder contains

    - `arrays.json`: the data set, its landmarks, its spacing rule, the settings with
      which the images were reduced, and the ids of every split;
    - `samples.npz`: one row per sample of `id`, `group`, `points` (or
      `points_<observer>` for each observer), `affine`, `to_source`, `grid_to_source`
      and `size`, see `ReducedImage`;
    - `images/00000.npy` and so on: the reduced images, float16 `(*sizes)`, about -1 to
      1, with a resolution of at least 30 steps per 8-bit grey value;
    - `images.npz`: what identifies the images, see `ImageTable`;
    - `dealt_splits.json`: the patients that recipes hold out, see `DealRegistry`.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If the folder has no arrays.
        ValueError: If the arrays were written by another version.

    Example:

    ```python
    folder = ArrayFolder("arrays/cephalogram")
    first = folder.rows("train")[0]
    folder.samples["points_senior"][first], folder.image(first)
    ```
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        header = self.path / "arrays.json"
        if not header.is_file():
            raise FileNotFoundError(
                f"{self.path} is not a folder of arrays, since it has no arrays.json. "
                "Create one with "
                f"{shown_command('datasets', 'arrays', 'RECIPE', self.path)}."
            )
        self.header = json.loads(header.read_text("utf-8"))
        if self.header["format"] != _FORMAT:
            raise ValueError(
                f"The arrays in {self.path} were written by version "
                f"{self.header['scn_keras']} of scn-keras. Create them again. Expected "
                f"format {_FORMAT}. Received: format={self.header['format']}"
            )
        self.schema = LandmarkSchema.from_dict(self.header["landmarks"])
        with np.load(self.path / "samples.npz") as file:
            self.samples = dict(file)

    @staticmethod
    def write(
        path: str | pathlib.Path,
        recipe: Recipe,
        schema: LandmarkSchema,
        samples: Iterable[Mapping[str, Any]],
        splits: Mapping[str, Sequence[str]],
        *,
        ground_truths: Sequence[str] = (),
        spacing_rule: str = "",
        spacing_from_points: bool = False,
        version: str = "",
        orientation: str = REFUSED,
        images: ImageTable | None = None,
    ) -> "ArrayFolder":
        """Writes a folder of arrays atomically.

        Args:
            path: The folder.
            recipe: `Recipe` for which the images were reduced.
            schema: `LandmarkSchema`.
            samples: Dicts with the entries listed in the docstring of the class, and
                `image`.
            splits: Dict from the names of splits to their ids in order.
            ground_truths: Names of points other than those of observers.
            spacing_rule: Str, the source of the spacing.
            spacing_from_points: Bool, whether the spacing is derived from landmarks.
            version: Str, name and version of the data set.
            orientation: Str, its rule for files with an orientation tag.
            images: `ImageTable` of the data set.

        Raises:
            FileExistsError: If `path` is not empty.
            ValueError: If a split has no ids or an id has no sample.
        """
        path, settings = pathlib.Path(path), _settings(recipe)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(
                f"{path} exists and is not empty. Choose another folder, or remove it."
            )
        # The folder is renamed when it is complete. An incomplete one is removed.
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            (part / "images").mkdir(parents=True)
            columns: dict[str, list[Any]] = {}
            for row, sample in enumerate(samples):
                values = dict(sample)
                image = np.asarray(values.pop("image"), np.float16)
                np.save(_image_path(part, row), image)
                for name, value in values.items():
                    columns.setdefault(name, []).append(value)
            ids = set(columns.get("id", ()))
            for split, split_ids in splits.items():
                if not split_ids or (missing := sorted(set(split_ids) - ids)):
                    raise ValueError(
                        f"The split {split!r} must have ids, and each must have a "
                        "sample. Received: "
                        f"{', '.join(missing) if split_ids else 'no ids'}"
                    )
            np.savez(part / "samples.npz", **{k: _array(v) for k, v in columns.items()})
            if images is not None:
                images.select(ids).save(part / _TABLE)
            header = {
                "format": _FORMAT,
                "scn_keras": __version__,
                "version": version,
                "settings": settings,
                "splits": {name: list(ids) for name, ids in splits.items()},
                "landmarks": schema.to_dict(),
                "ground_truths": list(ground_truths),
                "spacing_rule": spacing_rule,
                "spacing_from_points": spacing_from_points,
                "orientation": orientation,
            }
            text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
            (part / "arrays.json").write_text(text, "utf-8")
            os.replace(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return ArrayFolder(path)

    def require(self, recipe: Recipe) -> None:
        """Validates that the stored images fit a recipe.

        Raises:
            ValueError: If a setting differs or the training split is not stored.
        """
        # Arrays of earlier versions lack later settings, whose defaults they have.
        later = {field.name: field.default for field in dataclasses.fields(ImageToGrid)}
        stored = {**later, **self.header["settings"]}
        expected = _settings(recipe)
        differing = [
            f"{name}={stored[name]!r}, not {expected[name]!r}"
            for name in expected
            if stored[name] != expected[name]
        ]
        if differing:
            raise ValueError(
                f"The arrays in {self.path} have other settings than the recipe. "
                "Create them again for this recipe with `scn-keras datasets arrays`, "
                "or change the recipe with --set. Received arrays with "
                f"{'; '.join(differing)}"
            )
        self.rows(recipe.train_split)

    def table(self) -> ImageTable:
        """Returns what identifies the images; empty for arrays of version 0.1."""
        path = self.path / _TABLE
        return ImageTable.load(path) if path.is_file() else ImageTable()

    def rows(self, split: str) -> np.ndarray:
        """Returns the row numbers of the samples of a split, in order.

        Raises:
            ValueError: If the split is not stored.
        """
        row = {id: number for number, id in enumerate(self.samples["id"].tolist())}
        return np.array([row[id] for id in self.ids(split)])

    def ids(self, split: str) -> list[str]:
        """Returns the ids of the samples of a split, in order.

        Raises:
            ValueError: If the split is not stored.
        """
        splits = self.header["splits"]
        if split not in splits:
            raise ValueError(
                f"The arrays in {self.path} have the splits {', '.join(splits)}. For "
                "more, create them again with `scn-keras datasets arrays --split`. "
                f"Received: split={split!r}"
            )
        return list(splits[split])

    def image(self, row: int, in_memory: bool = True) -> np.ndarray:
        """Returns a reduced image, read into memory or memory-mapped."""
        return np.load(_image_path(self.path, row), None if in_memory else "r")


def _settings(recipe):
    if recipe.coarse is not None:
        raise ValueError(
            "A recipe with a coarse stage requires a prepared data set and cannot be "
            "trained on arrays. Omit --arrays. Received: "
            f"{recipe.name}, coarse={recipe.coarse.name}"
        )
    # The settings on which the stored images depend.
    settings = {"dataset": recipe.dataset, **dataclasses.asdict(recipe.image_to_grid)}
    # Converted through JSON, which has lists instead of tuples.
    return json.loads(json.dumps(settings))


def _image_path(folder, row):
    return folder / "images" / f"{row:05d}.npy"


def _array(values):
    array = np.array(values)
    return array.astype("float32") if array.dtype.kind == "f" else array
