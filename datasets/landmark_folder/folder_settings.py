import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scn_keras.files._named_file import require_inside
from scn_keras.files._similar_names import similar_name
from scn_keras.files.find_images import composed
from scn_keras.files.point_set import SPACES

FILE_NAME = "landmarks.toml"
_MAX_BYTES = 2**20

_LIST = "a list", (list,)
_TEXT = "a string", (str,)
_KEYS: dict[str, dict[str, tuple[str, tuple[type, ...]]]] = {
    "": {
        "names": _LIST,
        "pairs": _LIST,
        "links": _LIST,
        "colors": ("a list or a table", (list, dict)),
    },
    "files": {
        "images": _TEXT,
        "points": _TEXT,
        "table": _TEXT,
        "space": _TEXT,
        "spacing": _LIST,
        "unlabelled": ("true or false", (bool,)),
    },
    "patient": {"column": _TEXT, "pattern": _TEXT},
}
_SPLIT_SETTINGS = ("column", "folds", "seed")


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """The settings in `landmarks.toml` of a folder, all of which are optional.

    Args:
        names: Tuple of str, the landmarks in order; empty for the labels of the files
            of points.
        pairs: Tuple of pairs of names, landmarks that are exchanged in a mirror image.
        links: Tuple of pairs of names, lines to draw.
        colors: Mapping of names to CSS colours.
        images: Str, the folder of the images.
        points: Str, the folder or the file of the points, or a pattern with `{id}` for
            the file of each image.
        table: Str, a CSV file with a row for each image, for patients and splits.
        space: Str, `"pixels"` or `"LPS"`, of CSV and JSON files without a space.
        spacing: Tuple of floats, mm per pixel in x, y(, z), of images without a
            spacing.
        unlabelled: Bool, whether images without points belong to the data set.
        patient_column: Str, the column of patients.
        patient_pattern: Str, a regular expression for ids of images; its first group,
            or its whole match, is the patient.
        split_column: Str, the column of splits.
        folds: Int, the number of splits `fold1`, `fold2`, ... to which patients are
            assigned at random.
        seed: Int, the seed of the folds.
        splits: Mapping of splits to ids, or to the name of a file with ids.
    """

    names: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    colors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images: str = ""
    points: str = ""
    table: str = ""
    space: str | None = None
    spacing: tuple[float, ...] = ()
    unlabelled: bool = False
    patient_column: str = ""
    patient_pattern: str = ""
    split_column: str = ""
    folds: int = 0
    seed: int = 0
    splits: Mapping[str, tuple[str, ...] | str] = dataclasses.field(
        default_factory=dict
    )


def read_settings(folder: Path) -> FolderSettings:
    """Reads `landmarks.toml` of a folder; without the file, returns the defaults.

    Args:
        folder: Path, the folder.

    Raises:
        ValueError: If a setting is unknown or not valid. The message names the file.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return FolderSettings()
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} must have at most {_MAX_BYTES:,} bytes.")
    try:
        data = tomllib.loads(composed(path.read_text("utf-8-sig")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    splits = _table(path, data, "splits")
    files, patient = _table(path, data, "files"), _table(path, data, "patient")
    top = {key: v for key, v in data.items() if key not in ("files", "patient")}
    for name, table in (("", top), ("files", files), ("patient", patient)):
        for key, value in table.items():
            full_key = f"{name}.{key}".strip(".")
            if key not in _KEYS[name]:
                known = [
                    *_KEYS[name],
                    *([] if name else ["files", "patient", "splits"]),
                ]
                raise ValueError(
                    f"{path}: unknown setting{f' under [{name}]' * bool(name)}."
                    f"{similar_name(key, known)} Known: {', '.join(known)}. Received: "
                    f"{full_key[:100]!r}."
                )
            expected, types = _KEYS[name][key]
            if not isinstance(value, types):
                raise _invalid(path, full_key, value, expected)
    names = _texts(path, "names", data.get("names", []))
    if files.get("space", "pixels") not in SPACES:
        raise _invalid(path, "files.space", files["space"], f"one of {SPACES}")
    try:
        re.compile(patient.get("pattern", ""))
    except re.error as error:
        raise _invalid(
            path,
            "patient.pattern",
            patient["pattern"],
            f"a regular expression ({error})",
        ) from error
    split_settings = _splits(path, splits)
    _require_in_folder(path, files, split_settings["splits"])
    return FolderSettings(
        names=names,
        pairs=_pairs(path, "pairs", data),
        links=_pairs(path, "links", data),
        colors=_colors(path, data.get("colors", {}), names),
        images=files.get("images", ""),
        points=files.get("points", ""),
        table=files.get("table", ""),
        space=files.get("space"),
        spacing=_spacing(path, files.get("spacing", [])),
        unlabelled=files.get("unlabelled", False),
        patient_column=patient.get("column", ""),
        patient_pattern=patient.get("pattern", ""),
        **split_settings,
    )


def _require_in_folder(
    path: Path, files: Mapping[str, Any], splits: Mapping[str, Any]
) -> None:
    for key in ("images", "points", "table"):
        require_inside(path, files.get(key, ""), f"'files.{key}'", links=True)
    for key, name in splits.items():
        if isinstance(name, str):
            require_inside(path, name, f"'splits.{key}'", links=True)


def _table(path: Path, data: dict[str, Any], key: str) -> dict[str, Any]:
    table = data.pop(key, {})
    if not isinstance(table, dict):
        raise _invalid(path, key, table, f"a table [{key}]")
    return table


def _invalid(path: Path, key: str, value: Any, expected: str) -> ValueError:
    received = f"{value!r}"
    if len(received) > 200:
        received = received[:200] + "..."
    stop = "" if expected.endswith("?") else "."
    return ValueError(
        f"{path}: {key[:100]!r} must be {expected}{stop} Received: {received}."
    )


def _texts(path: Path, key: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value for value in values):
        raise _invalid(path, key, values, "a list of names")
    return tuple(values)


def _pairs(path: Path, key: str, data: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in data.get(key, []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _invalid(path, key, pair, "a list of pairs of names")
        first, second = _texts(path, key, pair)
        pairs.append((first, second))
    return tuple(pairs)


def _colors(
    path: Path, colors: list[str] | dict[str, str], names: tuple[str, ...]
) -> dict[str, str]:
    if isinstance(colors, list):
        if len(colors) != len(names):
            expected = f"a list with one color for each of the {len(names)} names"
            raise _invalid(path, "colors", colors, expected)
        colors = dict(zip(names, colors, strict=True))
    _texts(path, "colors", [*colors.values()])
    return colors


def _spacing(path: Path, spacing: list[Any]) -> tuple[float, ...]:
    numbers = all(type(value) in (int, float) and value > 0 for value in spacing)
    if spacing and (not numbers or len(spacing) not in (2, 3)):
        raise _invalid(
            path, "files.spacing", spacing, "2 or 3 positive numbers, mm in x, y(, z)"
        )
    return tuple(map(float, spacing))


def _splits(path: Path, splits: dict[str, Any]) -> dict[str, Any]:
    given = list(splits)
    column = splits.pop("column", "")
    folds, seed = splits.pop("folds", 0), splits.pop("seed", 0)
    if not isinstance(column, str):
        raise _invalid(path, "splits.column", column, "the name of a column")
    if type(folds) is not int or folds < 0 or folds == 1:
        raise _invalid(path, "splits.folds", folds, "2 or more")
    if type(seed) is not int or seed < 0:
        raise _invalid(path, "splits.seed", seed, "an integer of at least 0")
    if bool(column) + bool(folds) + bool(splits) > 1:
        expected = "a column, folds or lists, not several of them"
        raise _invalid(path, "splits", sorted(given), expected)
    lists = {}
    for name, value in splits.items():
        if not re.fullmatch(r"\w+", name):
            expected = "named with letters, digits and _"
            raise _invalid(path, f"splits.{name}", name, expected)
        if isinstance(value, list):
            value = _texts(path, f"splits.{name}", value)
        elif not isinstance(value, str):
            expected = f"a file or a list of ids of a split {name!r}. Settings are "
            expected += ", ".join(_SPLIT_SETTINGS)
            if similar := similar_name(name, _SPLIT_SETTINGS):
                expected += f".{similar}"
            raise _invalid(path, f"splits.{name}", value, expected)
        lists[name] = value
    return {"split_column": column, "folds": folds, "seed": seed, "splits": lists}
