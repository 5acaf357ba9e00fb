"""Lists the images of a folder, and what else is in it."""

import collections
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scn_keras.datasets.landmark_folder.folder_settings import FILE_NAME
from scn_keras.files._named_file import is_text_name
from scn_keras.files.find_images import (
    composed,
    find_images,
    image_id,
    is_image_name,
    is_segmentation_name,
    walk,
)
from scn_keras.files.read_points import (
    DEALT_SPLITS,
    POINT_SUFFIXES,
    is_points_file,
)
from scn_keras.files.unread_formats import advice_for

# Label maps beside the images that they belong to: CT-label.nrrd.
_LABEL_MAP = re.compile(
    r"(.*[-_. ])?(label(map)?|seg(mentation)?|mask)s?", re.IGNORECASE
)
# Pixels of a header beside them.
_PIXELS = (".raw", ".zraw", ".img", ".gz", ".bin")


def irregular_files(folder: Path) -> Iterator[str]:
    """Yields a sentence for each entry that is called like a file, but is none."""
    for path in (path for _, paths in walk(folder) for path in paths):
        name = path.name.lower()
        if not is_text_name(path):
            yield (
                "The name of a file must be in UTF-8. Rename the file. Received: "
                f"{os.fsencode(path.relative_to(folder))!r}."
            )
            continue
        if not (is_image_name(name) or name.endswith(POINT_SUFFIXES)) or path.is_file():
            continue
        if path.is_symlink() and not path.exists():
            yield (
                f"{path} is a link to a file that does not exist. Correct or remove "
                f"the link. Received: {os.readlink(path)!r}."
            )
        else:
            yield f"{path} must be a regular file. Remove or replace it."


def unread_files(folder: Path) -> Iterator[str]:
    """Yields a sentence for each kind of files that are recognised but not read."""
    paths = [path for _, paths in walk(folder) for path in paths if path.is_file()]
    paths = [*filter(is_text_name, paths)]
    stems = {image_id(path) for path in paths if is_image_name(path.name)}
    found: dict[str, list[str]] = {}
    for path in paths:
        if is_image_name(path.name) or is_points_file(path):
            continue
        if advice := advice_for(path):
            kind = advice.removeprefix(str(path))
            found.setdefault(kind, []).append(advice)
        elif is_segmentation_name(path.name):
            kind = " is a segmentation and is passed over."
            found.setdefault(kind, []).append(f"{path}{kind}")
        elif path.stem in stems and path.suffix.lower() not in _PIXELS:
            kind = f" has the name of an image, but is not read: {path.suffix} is no "
            kind += "known format of points. Convert its points to CSV, if it has any."
            found.setdefault(kind, []).append(f"{path}{kind}")
    for first, *others in found.values():
        yield first + f" (And {len(others)} more files.)" * bool(others)


def other_suffixes(folder: Path) -> str:
    """Returns the numbers of files of each extension that are not read, as text."""
    counts = collections.Counter(
        path.suffix or "without extension"
        for _, paths in walk(folder)
        for path in paths
        if path.is_file()
        and not is_image_name(path.name)
        and not is_points_file(path)
        and path.name not in (FILE_NAME, DEALT_SPLITS)
    )
    return ", ".join(f"{n} {suffix}" for suffix, n in sorted(counts.items()))


def named_images(
    folder: Path, problems: list[str], notes: list[str]
) -> dict[str, Path]:
    """Returns the image file, or the folder of a DICOM series, of each id.

    Images of equal names, each alone in a folder, are called by their folders, as 3D
    Slicer saves the scenes of several cases. Label maps beside images are passed over.
    """
    found = [*filter(is_text_name, find_images(folder, may_be_series=False))]
    images = {path.parent for path in found if not _LABEL_MAP.fullmatch(image_id(path))}
    maps = [
        path
        for path in found
        if _LABEL_MAP.fullmatch(image_id(path)) and path.parent in images
    ]
    if maps:
        more = f" (And {len(maps) - 1} more files.)" * (len(maps) > 1)
        notes.append(
            f"{maps[0]} has the name of a label map and is passed over. Rename it if "
            f"it is an image.{more}"
        )
    found = [path for path in found if path not in maps]
    ids = [composed(image_id(path)) for path in found]
    if len({*ids}) < len(ids):
        ids = _folder_names(folder, found) or ids
    paths: dict[str, Path] = {}
    for id, path in zip(ids, found, strict=True):
        if id in paths:
            problems.append(
                f"{paths[id]} and {path} have the same id, {id!r}: images must have "
                "different names without their folders and extensions, or each a "
                "folder of its own."
            )
        paths.setdefault(id, path)
    if not paths:
        problems.append(f"There are no images in {folder}.")
    return dict(sorted(paths.items()))


def _folder_names(root: Path, images: Sequence[Path]) -> list[str] | None:
    """Returns a name for each image from its folders; None if some share a folder."""
    folders = [path.relative_to(root).parts[:-1] for path in images]
    if not all(folders) or len({*folders}) < len(folders):
        return None
    depth = min(map(len, folders))
    candidates = [[parts[-level] for parts in folders] for level in range(1, depth + 1)]
    candidates.append(["_".join(parts) for parts in folders])
    for names in candidates:
        names = [composed(name) for name in names]
        if len({*names}) == len(names):
            return names
    return None


def lone_images(root: Path, images: Mapping[str, Path]) -> dict[Path, str]:
    """Returns the id of the image in each folder below the root that has only one."""
    ids: dict[Path, list[str]] = collections.defaultdict(list)
    for id, path in images.items():
        for parent in (path, *path.parents):
            if parent == root:
                break
            ids[parent].append(id)
    return {folder: found[0] for folder, found in ids.items() if len(found) == 1}
