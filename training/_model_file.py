"""The files of a run inside its `model.keras`, beside the entries of Keras."""

import pathlib
import zipfile

from scn_keras.files.model_file import require_sound_model
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE
from scn_keras.training._run_files import IMAGES_FILE, OFFSETS_FILE
from scn_keras.training.used_images import FILE as USED_IMAGES_FILE
from scn_keras.training.used_images import UsedImages

# The folder in the archive.
INSIDE = "run"


def embed_files(run: pathlib.Path, model: pathlib.Path) -> None:
    """Adds the files of a run that are required to use its model to a model file.

    Args:
        run: Path, the folder of the run.
        model: Path, a `.keras` file, which is changed.
    """
    with zipfile.ZipFile(model, "a") as archive:
        for path in _embedded_files(run):
            archive.write(path, f"{INSIDE}/{path.relative_to(run)}")
        if (used := UsedImages.read(run)) is not None:
            archive.writestr(f"{INSIDE}/{USED_IMAGES_FILE}", used.anonymous())


def renew_files(run: pathlib.Path, model: pathlib.Path) -> None:
    """Replaces the files of a run in a model file; the arguments of `embed_files`."""
    temporary = model.with_name("model.tmp.keras")
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(temporary, "w") as new:
        for entry in old.infolist():
            if not entry.filename.startswith(f"{INSIDE}/"):
                new.writestr(entry, old.read(entry))
    embed_files(run, temporary)
    temporary.replace(model)


def extract_files(model: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Extracts the files of the run from a model file.

    Args:
        model: Path, a `.keras` file.
        folder: Path, an empty folder.

    Returns:
        Path of the folder of the run.

    Raises:
        ValueError: If it is not a `.keras` file, may do harm or does not contain a
            recipe.
    """
    if not zipfile.is_zipfile(model):
        raise ValueError(
            "Expected a .keras file. The file has another format or is damaged. "
            f"Received: {model}"
        )
    require_sound_model(model)
    with zipfile.ZipFile(model) as archive:
        embedded = [n for n in archive.namelist() if n.startswith(f"{INSIDE}/")]
        if f"{INSIDE}/recipe.json" not in embedded:
            raise ValueError(
                "The file contains no recipe, which defines the preprocessing of "
                "images, and no names of landmarks. It is not a model.keras of "
                "`scn-keras train`, or was written by an early version. Give the "
                f"folder of its run instead. Received: {model}"
            )
        archive.extractall(folder, embedded)
    return folder / INSIDE


def _embedded_files(folder: pathlib.Path) -> list[pathlib.Path]:
    names = (
        *("recipe.json", "landmarks.json", "inference.json", "shape.json"),
        *("calibration.json", IMAGES_FILE, OFFSETS_FILE),
    )
    files = [folder / name for name in names if (folder / name).is_file()]
    coarse = folder / "coarse"
    if coarse.is_dir():
        # The coarse stage of a preset has the files of a preset.
        stage = ("model.keras", CONFIG_FILE, WEIGHTS_FILE)
        models = [coarse / name for name in stage if (coarse / name).is_file()]
        files += [*_embedded_files(coarse), *models]
    return files
