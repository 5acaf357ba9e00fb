import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import __version__
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.recipe import Recipe

_FORMAT = 1


class ArrayFolder:
    """A data set as plain arrays: all that training needs, for NumPy alone to read.

    A folder of

    - `arrays.json`: the data set, its landmarks and where its millimetres come from,
      the settings that the images were reduced by, and the ids of every split;
    - `samples.npz`: a row a sample of `id`, `group`, `points` (or `points_<observer>`
      each), `affine`, `to_source`, `grid_to_source` and `size`, see `ReducedImage`;
    - `images/00000.npy` and so on: the reduced images, float16 `(*sizes)`, about -1
      to 1, in which steps are no larger than a thirtieth of an 8-bit grey value's.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is of another version.

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
                f"{self.path} is no data set as arrays: it holds no arrays.json. Make "
                f"one with `scn-keras datasets arrays RECIPE {self.path}`."
            )
        self.header = json.loads(header.read_text("utf-8"))
        if self.header["format"] != _FORMAT:
            raise ValueError(
                f"{self.path} is of another version of scn-keras, "
                f"{self.header['scn_keras']}. Make the arrays again. Received: "
                f"format={self.header['format']}, expected {_FORMAT}"
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
    ) -> "ArrayFolder":
        """Makes such a folder; an interruption leaves none.

        Args:
            path: The folder.
            recipe: `Recipe` for which the images were reduced.
            schema: `LandmarkSchema`.
            samples: Dicts of what the class's docstring lists, and `image`.
            splits: Dict by name, as recipes name them, of the ids in their order.
            ground_truths: Names of points beside the observers'.
            spacing_rule: Str, where the millimetres come from.
            spacing_from_points: Bool, whether that is the landmarks.
            version: Str, name and version of the data set.

        Raises:
            FileExistsError: If `path` holds something.
            ValueError: If an id of a split has no sample.
        """
        path, settings = pathlib.Path(path), _settings(recipe)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(
                f"{path} exists and is not empty. Name another folder, or remove it."
            )
        # Under another name until it is whole. One that an interruption left goes.
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
            for split, wanted in splits.items():
                if not wanted or (missing := sorted(set(wanted) - ids)):
                    raise ValueError(
                        f"The split {split!r} needs samples of all its ids. Received: "
                        f"{', '.join(missing) if wanted else 'no ids'}"
                    )
            np.savez(part / "samples.npz", **{k: _array(v) for k, v in columns.items()})
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
            }
            text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
            (part / "arrays.json").write_text(text, "utf-8")
            os.replace(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return ArrayFolder(path)

    def require(self, recipe: Recipe) -> None:
        """Refuses a recipe that sees other images than were stored.

        Raises:
            ValueError: If a setting differs or the training split is not stored.
        """
        stored, wanted = self.header["settings"], _settings(recipe)
        differing = [
            f"{name}={stored[name]!r}, not {wanted[name]!r}"
            for name in wanted
            if stored[name] != wanted[name]
        ]
        if differing:
            raise ValueError(
                f"The arrays in {self.path} were made for other settings than this "
                f"recipe's: {'; '.join(differing)}. Make them again for it with "
                "`scn-keras datasets arrays`, or change the recipe by --set."
            )
        self.rows(recipe.train_split)

    def rows(self, split: str) -> np.ndarray:
        """Returns which samples a split has, in its order.

        Raises:
            ValueError: If the split is not stored.
        """
        splits = self.header["splits"]
        if split not in splits:
            raise ValueError(
                f"The arrays in {self.path} have the splits {', '.join(splits)}. Make "
                "them again with `scn-keras datasets arrays --split` for more. "
                f"Received: split={split!r}"
            )
        row = {id: number for number, id in enumerate(self.samples["id"].tolist())}
        return np.array([row[id] for id in splits[split]])

    def image(self, row: int, in_memory: bool = True) -> np.ndarray:
        """Returns a reduced image, read into memory or mapped from the disk."""
        return np.load(_image_path(self.path, row), None if in_memory else "r")


def _settings(recipe):
    if recipe.coarse is not None:
        raise ValueError(
            "A recipe with a coarse one trains on a prepared data set, not on arrays: "
            f"leave --arrays out. Received: {recipe.name}, coarse={recipe.coarse.name}"
        )
    # All that the stored images depend on.
    settings = {"dataset": recipe.dataset, **dataclasses.asdict(recipe.image_to_grid)}
    # As JSON has them: lists for tuples.
    return json.loads(json.dumps(settings))


def _image_path(folder, row):
    return folder / "images" / f"{row:05d}.npy"


def _array(values):
    array = np.array(values)
    return array.astype("float32") if array.dtype.kind == "f" else array
