"""Names of files inside of other files."""

import os
from pathlib import Path


def require_inside(path: Path, name: str, what: str, links: bool = False) -> Path:
    """Returns the file that another file names, if both are in one folder.

    A header from elsewhere could name any file of the machine, whose bytes would become
    an image or a list of points.

    Args:
        path: Path, the file that names the other, for example a MetaImage header.
        name: Str, the name, relative to the folder of `path`.
        what: Str, the field with the name, for messages.
        links: Bool, whether links in the folder may lead out of it.

    Returns:
        Path of the named file or folder, which need not exist.

    Raises:
        ValueError: If the name is absolute or leads out of the folder, or, without
            `links`, if the file that it links to is neither in the folder of `path` nor
            in that of the file that `path` links to.
    """
    target = path.parent / name
    shown = name if len(name) <= 100 else name[:100] + "..."
    parts = Path(name).parts
    possible = "\0" not in name and all(len(os.fsencode(p)) < 256 for p in parts)
    if os.path.isabs(name) or ".." in parts or not possible or len(name) > 4000:
        raise ValueError(
            f"{path}: {what} must be a name in the same folder, or below it. Copy the "
            f"file there. Received: {shown!r}"
        )
    if links:
        return target
    folders = path.parent.resolve(), path.resolve().parent
    try:
        resolved = target.resolve()
    except (OSError, RuntimeError):  # a loop of links
        resolved = None
    if resolved is None or not any(map(resolved.is_relative_to, folders)):
        raise ValueError(
            f"{path}: {what} must not link to a file outside the folder. Copy the file "
            f"there. Received: {shown!r}"
        )
    return target


def require_text_name(path: Path) -> None:
    """Validates that the name of a file is text, which ITK cannot do without.

    Args:
        path: Path, the file.

    Raises:
        ValueError: If the name has bytes that are not UTF-8.
    """
    if is_text_name(path):
        return
    raise ValueError(
        "The name of a file must be in UTF-8. Rename the file. Received: "
        f"{os.fsencode(path)!r}"
    )


def is_text_name(path: Path) -> bool:
    """Returns whether the name of a file is in UTF-8.

    Args:
        path: Path, the file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
