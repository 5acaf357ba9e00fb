import os
from pathlib import Path


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically.

    Args:
        path: Str or path, the file, in an existing folder.
        text: Str, written as UTF-8.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file atomically.

    Args:
        path: Str or path, the file, in an existing folder.
        data: Bytes.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
