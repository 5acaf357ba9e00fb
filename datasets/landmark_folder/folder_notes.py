"""Remarks on the files of points of a folder."""

import re
from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.landmark_folder.folder_files import FolderImage
from scn_keras.datasets.landmark_folder.folder_schema import (
    abbreviate,
    labelled,
    shape_notes,
)
from scn_keras.datasets.landmark_folder.folder_settings import FolderSettings


def notes_on_points(
    settings: FolderSettings, images: Sequence[FolderImage]
) -> list[str]:
    """Lists what is in the files of points and not read, each kind once.

    Args:
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.
    """
    notes = []
    kinds: dict[str, dict[str, None]] = {}
    for image, points in labelled(images):
        path = re.escape(str(image.points_path))
        for note in points.notes:
            kind = re.sub(rf"{path}(, line \d+)?", "", note)
            kinds.setdefault(kind, {})[note] = None
    notes += [
        first + f" (And {len(others)} more images.)" * bool(others)
        for first, *others in kinds.values()
    ]
    notes += shape_notes(settings, images)
    changed = [
        image.id
        for image, points in labelled(images)
        if points.file_size is not None
        and image.header.path.is_file()
        and image.header.path.stat().st_size != points.file_size
    ]
    if changed:
        notes.append(
            f"{len(changed)} image files have another size in bytes than the files "
            "of points state, so that they may have been changed or exchanged "
            f"after their points were set: {abbreviate(changed)}."
        )
    empty = [
        image.id for image, points in labelled(images) if np.isnan(points.points).all()
    ]
    if empty:
        notes.append(
            f"The files of points of {len(empty)} of {len(images)} images have no "
            f"point, so that all landmarks are missing: {abbreviate(empty)}."
        )
    return notes
