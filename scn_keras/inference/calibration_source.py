"""A sentence on the images on which the radii of a model were calibrated."""

from collections.abc import Mapping
from typing import Any

NOT_CALIBRATED = "not calibrated"


def calibration_source(protocol: Mapping[str, Any] | None) -> str:
    """Returns on which images the radii of a model were calibrated, in one line.

    It is shown with predictions, evaluations, exports and served answers.

    Args:
        protocol: Mapping, `Calibration.protocol`, also of early versions, where entries
            may be missing; `None` for a model without a calibration. An entry
            `recalibrated` is a mapping, or a sequence of them, with `folder`,
            `n_images`, `n_groups` and `date` of images to which the calibration was
            adapted later.

    Returns:
        Str without a full stop.

    Example:

    >>> calibration_source({"dataset": "hands/1.0.0", "n_images": 36, "n_groups": 30,
    ...     "train_split": "fold1", "folds": 4})
    '36 images of 30 patients of hands/1.0.0 (fold1), 4 folds'
    >>> calibration_source(None)
    'not calibrated'
    """
    if protocol is None:
        return NOT_CALIBRATED
    dataset = protocol.get("dataset") or "an unknown data set"
    split = protocol.get("train_split")
    parts = [f"{_images(protocol)} of {dataset}{f' ({split})' if split else ''}"]
    if folds := protocol.get("folds"):
        parts.append(_count(folds, "fold"))
    if date := protocol.get("date"):
        parts.append(str(date))
    text = ", ".join(parts)
    added = protocol.get("recalibrated") or ()
    for entry in [added] if isinstance(added, Mapping) else added:
        text += f"; recalibrated on {_images(entry)} of {entry.get('folder') or '?'}"
        if date := entry.get("date"):
            text += f", {date}"
    return " ".join(text.split())


def radii_sentence(source: str) -> str:
    """Returns a sentence with a `calibration_source`."""
    if source == NOT_CALIBRATED:
        return "No radii: the model is not calibrated."
    return f"Radii calibrated on {source}."


def _images(entry: Mapping[str, Any]) -> str:
    """Returns the numbers of images and patients, as far as they are known."""
    images, groups = entry.get("n_images"), entry.get("n_groups")
    if images is None:
        return "images"
    text = _count(images, "image")
    return text if groups is None else f"{text} of {_count(groups, 'patient')}"


def _count(number: Any, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
