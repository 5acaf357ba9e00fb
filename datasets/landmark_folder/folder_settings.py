import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scn_keras.files.point_set import SPACES

FILE_NAME = "landmarks.toml"

_KEYS: dict[str, dict[str, Any]] = {
    "": {"names": list, "pairs": list, "links": list, "colors": (list, dict)},
    "files": {
        "images": str,
        "points": str,
        "table": str,
        "space": str,
        "spacing": list,
        "unlabelled": bool,
    },
    "patient": {"column": str, "pattern": str},
}


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """What `landmarks.toml` says of a folder; everything in it is optional.

    Args:
        names: Tuple of str, the landmarks in their order; empty for the labels of the
            files of points.
        pairs: Tuple of pairs of names, landmarks that change places in a mirror.
        links: Tuple of pairs of names, lines to draw.
        colors: Mapping of names to CSS colours.
        images: str, the folder in which the images are.
        points: str, the folder or the file in which the points are, or a pattern with
            `{id}` for each image's own.
        table: str, a CSV file with a row an image, for patients and splits.
        space: str, `"pixels"` or `"LPS"`, of CSV and JSON files that do not say.
        spacing: Tuple of floats, mm per pixel in x, y(, z), of images that do not say.
        unlabelled: bool, whether images without points belong to the data set.
        patient_column: str, the column that names the patient.
        patient_pattern: str, a regular expression whose first group, or whole match,
            in an image's id is the patient.
        split_column: str, the column that names the split.
        folds: int, into how many splits `fold1`, `fold2`, ... patients are dealt.
        seed: int, of the folds.
        splits: Mapping of splits to ids, or to the file that lists them.
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
    """Reads `landmarks.toml` of a folder, or returns what holds without one.

    Raises:
        ValueError: If something in it is not understood. The message names the file.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return FolderSettings()
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    splits = _table(path, data, "splits")
    files, patient = _table(path, data, "files"), _table(path, data, "patient")
    top = {key: v for key, v in data.items() if key not in ("files", "patient")}
    for name, table in (("", top), ("files", files), ("patient", patient)):
        for key, value in table.items():
            wanted = _KEYS[name].get(key)
            if wanted is None:
                raise ValueError(
                    f"{path}: there is no setting {f'{name}.{key}'.strip('.')!r}. "
                    f"Known: {', '.join(_KEYS[name])}."
                )
            if not isinstance(value, wanted):
                raise _wrong(path, f"{name}.{key}".strip("."), value)
    names = _texts(path, "names", data.get("names", []))
    if files.get("space", "pixels") not in SPACES:
        raise _wrong(path, "files.space", files["space"], f"one of {SPACES}")
    try:
        re.compile(patient.get("pattern", ""))
    except re.error as error:
        raise _wrong(
            path, "patient.pattern", patient["pattern"], f"a pattern ({error})"
        ) from error
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
        **_splits(path, splits),
    )


def _table(path: Path, data: dict[str, Any], key: str) -> dict[str, Any]:
    table = data.pop(key, {})
    if not isinstance(table, dict):
        raise _wrong(path, key, table, f"a table [{key}]")
    return table


def _wrong(path: Path, key: str, value: Any, wanted: str = "") -> ValueError:
    wanted = wanted and f"must be {wanted}, but "
    return ValueError(f"{path}: {key!r} {wanted}cannot be {value!r}.")


def _texts(path: Path, key: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value for value in values):
        raise _wrong(path, key, values, "a list of names")
    return tuple(values)


def _pairs(path: Path, key: str, data: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in data.get(key, []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _wrong(path, key, pair, "a list of pairs of names")
        first, second = _texts(path, key, pair)
        pairs.append((first, second))
    return tuple(pairs)


def _colors(
    path: Path, colors: list[str] | dict[str, str], names: tuple[str, ...]
) -> dict[str, str]:
    if isinstance(colors, list):
        if len(colors) != len(names):
            raise _wrong(path, "colors", colors, f"one for each of {len(names)} names")
        colors = dict(zip(names, colors, strict=True))
    _texts(path, "colors", [*colors.values()])
    return colors


def _spacing(path: Path, spacing: list[Any]) -> tuple[float, ...]:
    numbers = all(type(value) in (int, float) and value > 0 for value in spacing)
    if spacing and (not numbers or len(spacing) not in (2, 3)):
        raise _wrong(path, "files.spacing", spacing, "mm per pixel in x, y(, z)")
    return tuple(map(float, spacing))


def _splits(path: Path, splits: dict[str, Any]) -> dict[str, Any]:
    column = splits.pop("column", "")
    folds, seed = splits.pop("folds", 0), splits.pop("seed", 0)
    if not isinstance(column, str):
        raise _wrong(path, "splits.column", column, "the name of a column")
    if type(folds) is not int or folds < 0 or folds == 1:
        raise _wrong(path, "splits.folds", folds, "2 or more")
    if type(seed) is not int or seed < 0:
        raise _wrong(path, "splits.seed", seed, "a number that is not negative")
    if bool(column) + bool(folds) + bool(splits) > 1:
        raise ValueError(f"{path}: [splits] needs a column, folds or lists, not two.")
    lists = {}
    for name, value in splits.items():
        if not re.fullmatch(r"\w+", name):
            raise _wrong(path, f"splits.{name}", name, "of letters, digits and _")
        if isinstance(value, list):
            value = _texts(path, f"splits.{name}", value)
        elif not isinstance(value, str):
            raise _wrong(path, f"splits.{name}", value, "a file or a list of ids")
        lists[name] = value
    return {"split_column": column, "folds": folds, "seed": seed, "splits": lists}
