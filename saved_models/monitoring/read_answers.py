"""Reading of answers from files of `predict` and from stored answers of servers."""

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.files.shown_text import from_csv_text
from scn_keras.saved_models.monitoring.answers import Answers

_RADII = "radius90_px", "radius90_mm"
_OF_IMAGE = "trusted", "novelty"
_TRUTH = {"True": 1.0, "False": 0.0, "true": 1.0, "false": 0.0, "": np.nan}


def read_answers(paths: Iterable[str | pathlib.Path]) -> Answers:
    """Reads the answers in files.

    A file is the CSV or JSON file of `scn-keras predict`, a stored answer of a served
    model (`{"predictions": [...]}` or `{"outputs": {...}}`), or has one such JSON text
    on each line. Of a folder, its `.csv`, `.json` and `.jsonl` files are read in the
    order of their names.

    Args:
        paths: Files and folders, in the order of time.

    Raises:
        FileNotFoundError: If a file does not exist, or a folder has no such files.
        ValueError: If a file is none of these, or the landmarks of files differ.
    """
    parts = []
    for path in _files(paths):
        try:
            parts.append(_read(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} has no answers of a model. Expected a CSV or JSON file of "
                "`scn-keras predict`, or stored JSON answers of a served model. "
                f"Received: {_reason(error)}"
            ) from error
    return Answers.concatenate(parts)


def _files(paths):
    for path in map(pathlib.Path, paths):
        if not path.is_dir():
            yield path
            continue
        kinds = ".csv", ".json", ".jsonl"
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in kinds)
        if not files:
            raise FileNotFoundError(
                f"There are no answers in {path}: no file ends in {', '.join(kinds)}."
            )
        yield from files


def _reason(error):
    if isinstance(error, KeyError):
        return f"no {error.args[0]!r}"
    return str(error)[:300]


def _read(path: pathlib.Path) -> Answers:
    text = path.read_text("utf-8-sig")
    if not text.strip():
        raise ValueError("an empty file")
    if text.lstrip()[0] in "[{":
        return Answers.concatenate([*map(_of_json, _json_texts(text))])
    return _of_rows(_csv_images(text))


def _json_texts(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _of_json(data: Any) -> Answers:
    if isinstance(data, list):
        return _of_rows(data)
    if "landmarks" in data:
        return _of_rows([data])
    if "predictions" in data:
        rows = data["predictions"]
        columns = {
            key: [row.get(key) for row in rows]
            for key in ("score", *_RADII, *_OF_IMAGE)
        }
        return _of_columns({k: v for k, v in columns.items() if v and None not in v})
    return _of_columns(data["outputs"])


def _of_columns(columns: Mapping[str, Any]) -> Answers:
    """Returns the answers of a served model, with arrays by the names of outputs."""
    score = np.array(columns["score"], float)

    def of(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in columns:
            return np.full(shape, np.nan)
        return np.array(columns[name], float)

    px, mm = (of(name, score.shape) for name in _RADII)
    trusted, novelty = (of(name, score.shape[:1]) for name in _OF_IMAGE)
    # Without a calibration, `trusted` is false for every image, and radii are NaN.
    uncalibrated = ~np.isfinite(px).any(axis=-1)
    trusted = np.where(uncalibrated, np.nan, trusted)
    return Answers(score, px, mm, trusted, novelty)


def _of_rows(images: Sequence[Mapping[str, Any]]) -> Answers:
    """Returns the answers of images in the form of `write_json`."""
    names = {tuple(row["name"] for row in image["landmarks"]) for image in images}
    if len(names) != 1:
        raise ValueError(
            "no image" if not names else "images with other landmarks than others"
        )

    def of_landmarks(name: str) -> np.ndarray:
        return np.array(
            [[_number(row.get(name)) for row in i["landmarks"]] for i in images]
        )

    sources = [image.get("radii_calibrated_on") for image in images]
    return Answers(
        np.array([[float(row["score"]) for row in i["landmarks"]] for i in images]),
        **{name: of_landmarks(name) for name in _RADII},
        **{n: np.array([_number(i.get(n)) for i in images]) for n in _OF_IMAGE},
        names=names.pop(),
        sources=tuple(dict.fromkeys(filter(None, sources))),
    )


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _csv_images(text: str) -> list[dict[str, Any]]:
    """Returns the images of a CSV file in the form of `write_json`."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := {"file", "landmark", "score"} - set(rows.fieldnames or ()):
        raise ValueError(f"a table without the columns {', '.join(sorted(missing))}")
    images: list[dict[str, Any]] = []
    names: set[str] = set()
    for row in rows:
        name = from_csv_text(row["landmark"])
        # The same file may have been answered twice.
        if not images or row["file"] != images[-1]["file"] or name in names:
            names = set()
            source = row.get("radii_calibrated_on")
            images.append(
                {
                    "file": row["file"],
                    "landmarks": [],
                    "trusted": _TRUTH[row.get("trusted") or ""],
                    "novelty": row.get("novelty") or None,
                    "radii_calibrated_on": from_csv_text(source) if source else None,
                }
            )
        names.add(name)
        numbers = {key: row.get(key) or None for key in _RADII}
        landmark = {"name": name, "score": row["score"], **numbers}
        images[-1]["landmarks"].append(landmark)
    return images
