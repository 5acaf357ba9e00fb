"""Files of a run that are read without its recipe."""

import json
import pathlib
import zipfile

from scn_keras.files.orientation import STORED_PIXELS

# How the images of the training were read.
IMAGES_FILE = "images.json"
# The offsets of an adapted run.
OFFSETS_FILE = "offsets.json"


def orientation_rule(folder: pathlib.Path) -> str:
    """Returns the rule of a run for files with an orientation tag.

    Args:
        folder: Path of a run or a preset.

    Returns:
        Str, `files.orientation.REFUSED`, or `STORED_PIXELS` for runs of version 0.1,
        which have no such file, and for those trained on their prepared data sets.
    """
    path = folder / IMAGES_FILE
    if not path.is_file():
        return STORED_PIXELS
    return str(json.loads(path.read_text("utf-8"))["orientation"])


def stored_weights(path: pathlib.Path, name: str) -> bytes:
    """Returns the weights in a file, without what else a `.keras` file contains.

    Args:
        path: Path of a `.keras` file, of a file of weights, or of the model of another
            method.
        name: Str, the weights in a `.keras` file.
    """
    if path.suffix != ".keras":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)
