"""The state of a folder of source files, by which later changes are found."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scn_keras.datasets._checked_samples import checked_cases
from scn_keras.datasets.case import Case
from scn_keras.files.atomic_write import write_text
from scn_keras.files.shown_text import shown_text

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

FILE = "source.json"
_MAX_SHOWN = 5


def store_source_state(builder: "LandmarkBuilder", folder: Path) -> None:
    """Writes the state of the source files into the folder of a prepared set.

    Args:
        builder: `LandmarkBuilder` of the prepared set, described by the folder.
        folder: Path, the folder of source files.
    """
    state = _state(builder, folder)
    if state is not None:
        path = Path(builder.data_dir) / FILE
        write_text(path, json.dumps(state, indent=0) + "\n")


def source_changes(
    builder: "LandmarkBuilder", current: "LandmarkBuilder", folder: Path
) -> str:
    """Returns in what a folder differs from that of which a set was prepared.

    Args:
        builder: `LandmarkBuilder` of the prepared set.
        current: `LandmarkBuilder` that is described by the folder.
        folder: Path, the folder of source files.

    Returns:
        Str, such as `"2 new images (a, b); 1 image with other points (c)"`; empty if
        nothing differs, or the set is of a version that stored no state.
    """
    path = Path(builder.data_dir) / FILE
    if not path.is_file():
        return ""
    old = json.loads(path.read_text("utf-8"))
    new = _state(current, folder)
    if new is None:
        return ""
    texts = []
    if old["landmarks"] != new["landmarks"]:
        texts.append("other landmarks")
    before, now = old["images"], new["images"]
    kept = [id for id in now if id in before]
    groups = {
        "new": [id for id in now if id not in before],
        "removed": [id for id in before if id not in now],
        "with other pixels": _differing("image", kept, before, now),
        "with other points": _differing("points", kept, before, now),
        "in another split": _differing("split", kept, before, now),
        "with another patient or spacing": _differing("rest", kept, before, now),
    }
    texts += [_count(kind, ids) for kind, ids in groups.items() if ids]
    return "; ".join(texts)


def _differing(
    key: str,
    ids: Iterable[str],
    before: Mapping[str, Mapping[str, str]],
    now: Mapping[str, Mapping[str, str]],
) -> list[str]:
    return [id for id in ids if before[id][key] != now[id][key]]


def _count(kind: str, ids: list[str]) -> str:
    names = ", ".join(map(shown_text, ids[:_MAX_SHOWN])) + ", ..." * (
        len(ids) > _MAX_SHOWN
    )
    images = "image" if len(ids) == 1 else "images"
    if kind in ("new", "removed"):
        return f"{len(ids)} {kind} {images} ({names})"
    return f"{len(ids)} {images} {kind} ({names})"


def _state(builder: "LandmarkBuilder", folder: Path) -> dict | None:
    """Returns the digests of a folder; None if its builder lists no cases."""
    try:
        cases = checked_cases(builder, folder, [])
    except ValueError:
        return None
    return {
        "landmarks": list(builder.SCHEMA.names),
        "images": {case.id: _digests(case) for case in cases},
    }


def _digests(case: Case) -> dict[str, str]:
    points = hashlib.sha256()
    for name, values in sorted(case.points.items()):
        points.update(name.encode())
        points.update(np.asarray(values, np.float64).round(3).tobytes())
    affine = [] if case.affine is None else np.asarray(case.affine).round(9).tolist()
    rest = json.dumps([case.group, affine])
    return {
        "image": _file_digest(case.image_path),
        "points": points.hexdigest()[:16],
        "split": case.split,
        "rest": hashlib.sha256(rest.encode()).hexdigest()[:16],
    }


def _file_digest(path: Path) -> str:
    """Returns a digest of a file, or of the files of a DICOM series."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]
