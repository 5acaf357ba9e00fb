"""Checks files of models before Keras opens them."""

import io
import math
import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from scn_keras.files._reader_limits import allow_bytes
from scn_keras.files._reader_process import in_reader_process

# Keras stores weights without compression, and trained weights shrink little. Beyond
# the first megabytes, data that grow more than this are made to fill the memory.
_FREE_BYTES, _MAX_EXPANSION = 2**24, 10
_MAX_OBJECTS = 200_000
_WEIGHTS = ("model.weights.h5", "model.weights.npz")
_NO_MODEL = "Use the file as `scn-keras train` or Keras wrote it, from who made it."


@in_reader_process
def require_sound_model(path: str | os.PathLike[str]) -> None:
    """Raises a `ValueError` if a file of a model may harm who loads it.

    All weights are read once, in a process of their own, with limits of memory and
    time: a file that crashes HDF5 crashes it there.

    Args:
        path: Str or path, a `.keras` or `.weights.h5` file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged; if its content is much larger than the file;
            if names in the archive lead out of it; if weights refer to other files
            (external and soft links, external and virtual data sets) or are no numbers.

    Example:

    ```python
    require_sound_model("downloaded/model.keras")
    model = keras.models.load_model("downloaded/model.keras")
    ```
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"The file of the model does not exist: {path}")
    size = path.stat().st_size
    allow_bytes(_limit(size))
    if path.suffix != ".keras":
        _check_weights(path, path, size)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for weights in _check_archive(path, archive, size):
                data = io.BytesIO(archive.read(weights))
                _check_weights(path, data, len(data.getbuffer()))
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise _refused(
            path, f"it is no archive of Keras, or damaged ({error})"
        ) from error
    except RuntimeError as error:  # encrypted
        raise _refused(path, f"its archive cannot be read ({error})") from error
    if bad is not None:
        raise _refused(path, f"{bad!r} in it is damaged")


def _check_archive(path: Path, archive: zipfile.ZipFile, size: int) -> list[str]:
    """Returns the names of the HDF5 files in an archive."""
    members = archive.infolist()
    names = [member.filename for member in members]
    total = sum(member.file_size for member in members)
    if total > _limit(size):
        raise _refused(path, f"{size:,} bytes would become {total:,}")
    if len(set(names)) != len(names):
        raise _refused(path, "two files in it have the same name")
    for name in names:
        posix = PurePosixPath(name.replace("\\", "/"))
        if posix.is_absolute() or ".." in posix.parts or ":" in posix.parts[0]:
            raise _refused(path, f"{name[:100]!r} in it leads out of the archive")
    if not {"config.json"} < {*names} or not {*_WEIGHTS} & {*names}:
        raise _refused(path, "it has no config.json or no weights")
    return [name for name in names if name.endswith(".h5")]


def _check_weights(path: Path, file: Any, size: int) -> None:
    import h5py

    try:
        with h5py.File(file, "r") as weights:
            _check_groups(path, weights, _limit(size))
    except (OSError, RuntimeError, KeyError) as error:
        raise _refused(
            path, f"its weights are no HDF5 file, or damaged ({error})"
        ) from error


def _check_groups(path: Path, weights: Any, limit: int) -> None:
    import h5py

    groups, seen, total = [weights], set(), 0
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refused(path, f"{name[:100]!r} in it links to other data")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # groups can contain each other
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise _refused(path, f"it has more than {_MAX_OBJECTS:,} arrays")
            if isinstance(item, h5py.Group):
                groups.append(item)
                continue
            if not isinstance(item, h5py.Dataset):
                continue
            if item.external or item.is_virtual:
                raise _refused(path, f"{name[:100]!r} in it is stored in another file")
            if item.shape is None or item.dtype.hasobject:
                raise _refused(path, f"{name[:100]!r} in it is no array of numbers")
            total += math.prod(item.shape) * item.dtype.itemsize
            if total > limit:
                raise _refused(path, f"its arrays need more than {limit:,} bytes")
            item[()]


def _limit(size: int) -> int:
    return _FREE_BYTES + _MAX_EXPANSION * size


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(f"The model {path} is not loaded: {why}. {_NO_MODEL}")
