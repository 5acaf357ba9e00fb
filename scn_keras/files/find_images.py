import contextlib
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from scn_keras.files._reader_process import in_reader_process
from scn_keras.files.image_kinds import START, is_dicom
from scn_keras.files.open_image import open_image

_SERIES = "0020|000e"

# In order of precedence. `.raw`, `.zraw` and `.img` belong to a header beside them.
IMAGE_SUFFIXES = (
    *(".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".dcm", ".ima"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gipl", ".vtk", ".mrc"),
)
# As 3D Slicer saves segmentations beside the images.
_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr", ".seg.nii.gz", ".seg.nii", ".seg.mha")


def find_images(folder: Path, may_be_series: bool = True) -> Iterator[Path]:
    """Yields the images anywhere below a folder, sorted by name.

    Images are recognised by their extensions; DICOM files need none. A folder with the
    slices of one DICOM series is one image. Names that begin with a dot, segmentations
    and surfaces of 3D Slicer, and everything that is no regular file are skipped.

    Args:
        folder: Path, the folder.
        may_be_series: Bool, whether the folder itself may be a DICOM series.

    Example:

    ```python
    for path in find_images(Path("films")):
        image, affine = read_image(path)
    ```
    """
    for parent, paths in walk(folder):
        files = [path for path in paths if path.is_file()]
        images = [f for f in files if is_image_name(f.name) and not _is_surface(f)]
        images += [f for f in files if not f.suffix and _is_dicom(f)]
        if (may_be_series or parent != folder) and _is_series(images):
            images = [parent]
        yield from images


def walk(
    folder: Path, _parents: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, list[Path]]]:
    """Yields each folder below one, with all in it that is no folder, sorted by name.

    Links to folders are followed. Names that begin with . or ~$ are skipped. Entries
    may be links to nothing, or FIFOs, whose opening would wait: test with `is_file`.

    Args:
        folder: Path, the folder.
    """
    parents = _parents | {os.path.realpath(folder)}
    paths, folders = [], []
    for name in sorted(os.listdir(folder) if folder.is_dir() else ()):
        path = folder / name
        if name.startswith((".", "~$")):  # of Excel, while a workbook is open
            continue
        if not path.is_dir():
            paths.append(path)
        elif os.path.realpath(path) not in parents:  # not a link to a parent
            folders.append(path)
    yield folder, paths
    for path in folders:
        yield from walk(path, parents)


def is_image_name(name: str) -> bool:
    """Tells whether the extension of a file is that of an image.

    Args:
        name: Str, without folders.
    """
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_segmentation_name(name)


def is_segmentation_name(name: str) -> bool:
    """Tells whether 3D Slicer gives such a name to segmentations, not images.

    Args:
        name: Str, without folders.
    """
    return name.lower().endswith(_SEGMENTATIONS)


def composed(text: str) -> str:
    """Returns text in the composed form of Unicode (NFC), for comparison of names.

    macOS writes the names of files in the decomposed form.

    Args:
        text: Str.
    """
    return unicodedata.normalize("NFC", text)


def path_on_disk(folder: Path, name: str) -> Path:
    """Returns the path of a file or a folder whose name may be in another form.

    Args:
        folder: Path, an existing folder.
        name: Str, the path relative to it, in any form of Unicode.

    Returns:
        Path, with the names as they are on the disk; `folder / name` if there is none.
    """
    path = folder
    for part in Path(name).parts:
        if not os.path.lexists(path / part) and path.is_dir():
            names = sorted(os.listdir(path))
            part = next((n for n in names if composed(n) == composed(part)), part)
        path /= part
    return path


def image_id(path: Path) -> str:
    """Returns the name of an image file without its extension, or of a folder.

    Args:
        path: Path, an existing file, or the folder of a DICOM series.

    Example:

    >>> image_id(Path("heads/A.nii.gz"))
    'A'
    """
    return path.name if path.is_dir() else stem_of(path.name)


def stem_of(name: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> str:
    """Returns the name of a file without folders and extension.

    Args:
        name: Str, with folders of Windows or POSIX.
        suffixes: Tuple of str, the extensions to remove, in order of precedence.

    Example:

    >>> stem_of("heads\\\\A.nii.gz")
    'A'
    """
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    lower = name.lower()
    return next((name[: -len(s)] for s in suffixes if lower.endswith(s)), name)


def _is_surface(path: Path) -> bool:
    """Whether a file in the format of VTK is a mesh instead of an image."""
    if path.suffix.lower() != ".vtk":
        return False
    with path.open("rb") as file:
        start = file.read(1024).upper()
    return b"DATASET" in start and b"STRUCTURED_POINTS" not in start


def _is_dicom(path: Path) -> bool:
    if not path.is_file():  # a pipe would wait for a writer
        return False
    with path.open("rb") as file:
        return is_dicom(file.read(START)) and path.name != "DICOMDIR"


def _is_series(images: list[Path]) -> bool:
    """Whether images are the slices of one volume instead of separate films."""
    if len(images) < 2 or not all(_is_dicom(path) for path in images):
        return False
    series: list[str | None] = []
    for path in images:
        with contextlib.suppress(ValueError):  # reported when the file is read
            series.append(_series_of(path))
        if len(series) == 2:
            break
    return len(series) == 2 and series[0] is not None and series[0] == series[1]


@in_reader_process
def _series_of(path: Path) -> str | None:
    """Returns the series of a slice with a position in space, None for a film."""
    reader, _ = open_image(path)
    if not reader.HasMetaDataKey("0020|0032"):  # Image Position (Patient)
        return None
    return reader.GetMetaData(_SERIES) if reader.HasMetaDataKey(_SERIES) else ""
