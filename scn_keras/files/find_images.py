import os
from collections.abc import Iterator
from pathlib import Path

# The first that fits counts. `.raw`, `.zraw` and `.img` go with a header beside them.
IMAGE_SUFFIXES = (
    *(".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".dcm", ".ima"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gipl", ".vtk", ".mrc"),
)


def find_images(folder: Path, may_be_series: bool = True) -> Iterator[Path]:
    """Yields the images anywhere below a folder, told by their endings, in order.

    A folder with the slices of one DICOM series is one image. Names that begin with a
    dot are passed over. DICOM files need no ending.

    Args:
        folder: Path, the folder.
        may_be_series: bool, whether the folder itself may be such an image.

    Example:

    ```python
    for path in find_images(Path("films")):
        image, affine = read_image(path)
    ```
    """
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
        files = [Path(parent, n) for n in sorted(names) if not n.startswith(".")]
        images = [f for f in files if f.name.lower().endswith(IMAGE_SUFFIXES)]
        images += [f for f in files if not f.suffix and _is_dicom(f)]
        if (may_be_series or Path(parent) != folder) and _is_series(images):
            images = [Path(parent)]
        yield from images


def image_id(path: Path) -> str:
    """Returns the name of an image without its ending, that of a folder as it is.

    Example:

    >>> image_id(Path("heads/A.nii.gz"))
    'A'
    """
    return path.name if path.is_dir() else stem_of(path.name)


def stem_of(name: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> str:
    """Returns a file's name without folders, also of Windows, and its endings."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    lower = name.lower()
    return next((name[: -len(s)] for s in suffixes if lower.endswith(s)), name)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR"


def _is_series(images: list[Path]) -> bool:
    """Tells slices of one volume from films that lie beside each other."""
    if len(images) < 2 or not all(_is_dicom(path) for path in images):
        return False
    import SimpleITK as sitk

    series = set()
    for path in images[:2]:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:  # said when it is read
            return True
        if not reader.HasMetaDataKey("0020|0032"):  # Image Position (Patient)
            return False
        series.add(reader.GetMetaData("0020|000e"))
    return len(series) == 1
