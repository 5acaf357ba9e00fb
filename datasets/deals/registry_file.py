"""The file of dealt splits."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scn_keras.datasets.deals.deal import KINDS, Deal
from scn_keras.datasets.deals.dealt_patient import DealtPatient
from scn_keras.files.atomic_write import write_text
from scn_keras.files.read_points import DEALT_SPLITS

FILE = DEALT_SPLITS
_FORMAT = 1
_ABOUT = (
    "The splits that scn-keras has dealt at random: which patient is in which part, "
    "with the digests of the pixels of its images. Keep this file with the images, "
    "also under version control: with it, splits stay when images are added, removed "
    "or renamed. Without it, they are dealt anew."
)


def read_deals(path: Path) -> tuple[Deal, ...]:
    """Reads the deals of a file; none without the file.

    Args:
        path: Path, the file.

    Raises:
        ValueError: If the file is damaged.
    """
    data = _read(path)
    try:
        return tuple(_deal(entry) for entry in data["deals"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def deals_by_patient(path: Path) -> bool:
    """Returns whether slices keep the images of a patient together.

    They do in sets that this version has prepared; earlier sets had slices of images.
    """
    return path.is_file() and _read(path).get("slices") == "patients"


def write_deals(path: Path, deals: Iterable[Deal], by_patient: bool = False) -> None:
    """Writes a file of deals, atomically.

    Args:
        path: Path, the file, in an existing folder.
        deals: Iterable of `Deal`.
        by_patient: Bool, see `deals_by_patient`.
    """
    slices = {"slices": "patients"} if by_patient else {}
    head = {"about": _ABOUT, "format": _FORMAT, **slices}
    lines = [f' "{key}": {_dumps(value)},' for key, value in head.items()]
    texts = ",\n".join(map(_text, deals))
    lines.append(f' "deals": [\n{texts}\n ]' if texts else ' "deals": []')
    write_text(path, "{\n" + "\n".join(lines) + "\n}\n")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"deals": []}
    try:
        data = json.loads(path.read_text("utf-8-sig"))
        if not isinstance(data, dict):
            raise TypeError("no table")
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if data.get("format") != _FORMAT:
        raise ValueError(
            f"{path} was written by a later version of scn-keras, or is damaged. "
            f"Update scn-keras, or restore the file. Expected format {_FORMAT}. "
            f"Received: format={data.get('format')!r}"
        )
    return data


def _deal(entry: Mapping[str, Any]) -> Deal:
    kind = KINDS[entry["kind"]]
    settings = {name: type_(entry[name]) for name, type_ in kind.settings.items()}
    patients = tuple(map(_patient, entry["patients"]))
    boundaries = {str(k): _integer(v) for k, v in entry.get("boundaries", {}).items()}
    count = entry.get("count")
    return Deal(
        entry["kind"],
        settings,
        patients,
        boundaries,
        bool(entry.get("by_image", False)),
        None if count is None else _integer(count),
    )


def _patient(entry: Mapping[str, Any]) -> DealtPatient:
    images = {str(digest): str(id) for digest, id in entry["images"].items()}
    return DealtPatient(str(entry["patient"]), _integer(entry["part"]), images)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} must be an integer")
    return value


def _text(deal: Deal) -> str:
    """Returns a deal as JSON with a line for each patient."""
    head = {"kind": deal.kind, **deal.settings, "parts": KINDS[deal.kind].part}
    if deal.kind == "order":
        head["boundaries"] = dict(deal.boundaries)
    if deal.by_image:
        head["by_image"] = True
    if deal.count is not None:
        head["count"] = deal.count
    entries = [
        {"patient": p.patient, "part": p.part, "images": dict(p.images)}
        for p in deal.patients
    ]
    patients = ",\n".join(f"   {_dumps(entry)}" for entry in entries)
    return f'  {_dumps(head)[:-1]}, "patients": [\n{patients}\n  ]}}'


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = f"{type(error).__name__}: {error}"[:200]
    return ValueError(
        f"{path} must be as scn-keras has written it. Restore it from a copy, or "
        "remove it: splits are then as in the other file (beside the images, or in the "
        f"prepared set), and without any dealt anew. Received: {reason}"
    )
