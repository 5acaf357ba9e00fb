"""The files of an exported model: landmarks, model card, settings, checksums."""

import hashlib
import json
import pathlib
from typing import Any

from scn_keras.files.orientation import STORED_PIXELS
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.inference.image_to_grid import ImageToGrid

_SUMS = "SHA256SUMS"


def beside(model: str | pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a file that describes an exported model."""
    folder = pathlib.Path(model)
    extra = folder / "assets.extra"
    return (extra if extra.is_dir() else folder) / name


def write_checksums(model: str | pathlib.Path) -> None:
    """Writes the SHA-256 digests of all files of an exported model.

    They are in the form of the command `sha256sum`, which checks them from the folder
    of the version: `sha256sum --check assets.extra/SHA256SUMS`.
    """
    folder, sums = pathlib.Path(model), beside(model, _SUMS)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != sums)
    lines = [
        f"{_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files
    ]
    sums.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def verify_checksums(model: str | pathlib.Path) -> None:
    """Compares the files of an exported model with the digests of its export.

    Models that were exported before there were digests are accepted.

    Args:
        model: Str or path, the folder of a version.

    Raises:
        ValueError: If a file is missing or differs.
    """
    folder, sums = pathlib.Path(model), beside(model, _SUMS)
    if not sums.is_file():
        return
    for line in sums.read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            state = "differs from the one" if path.is_file() else "is missing, which is"
            raise ValueError(
                f"{path} {state} in {sums}: the model is damaged or was changed. Copy "
                "or export it again."
            )


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def landmark_names(model: str | pathlib.Path) -> list[str]:
    """Returns the names of an exported model's landmarks."""
    return list(json.loads(beside(model, "landmarks.json").read_text("utf-8"))["names"])


def image_to_grid_of(model: str | pathlib.Path) -> ImageToGrid:
    """Returns the `ImageToGrid` of a model that was exported by any version."""
    recipe = json.loads(beside(model, "export.json").read_text("utf-8"))["recipe"]
    settings = recipe.get("image_to_grid", recipe)
    names = ("grid", "grid_spacing", "normalization", "normalization_limits")
    values: dict[str, Any] = {name: settings[name] for name in names}
    for name in ("axes", "clip_last", "outside", "tile_step"):  # later than these
        if name in settings:
            values[name] = settings[name]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return ImageToGrid(**values)


def orientation_of(model: str | pathlib.Path) -> str:
    """Returns the rule of an exported model for files with an orientation tag.

    Models of version 0.1 have none and use stored pixels.
    """
    return _export(model).get("orientation", STORED_PIXELS)


def max_image_bytes_of(model: str | pathlib.Path) -> int | None:
    """Returns the largest image that an exported model decodes, see `decode_image`.

    Models of version 0.1 have none and count pixels: `MAX_DECODED_PIXELS`.
    """
    megabytes = _export(model).get("max_image_mb")
    return None if megabytes is None else megabytes * 2**20


def calibration_source_of(model: str | pathlib.Path) -> str:
    """Returns on which images an exported model of any version was calibrated.

    See `calibration_source`.
    """
    path = beside(model, "calibration.json")
    if not path.is_file():
        return calibration_source(None)
    return calibration_source(json.loads(path.read_text("utf-8"))["protocol"])


def _export(model):
    path = beside(model, "export.json")
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
