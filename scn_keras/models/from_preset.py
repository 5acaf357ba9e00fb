"""Trained models by name, or out of a folder."""

import importlib.resources
import json
import os
import pathlib

import keras

from scn_keras.landmark_schema import LandmarkSchema

CONFIG_FILE = "config.json"
SCHEMA_FILE = "landmarks.json"
WEIGHTS_FILE = "model.weights.h5"


def from_preset(preset):
    """Returns a trained model.

    A preset is a folder in the form of KerasHub's: `config.json` (the model),
    `model.weights.h5` (in half precision; the model is float32), `metadata.json` and
    `model_card.md` (data, protocol, results, licence, limits), and with them
    `landmarks.json` (what the landmarks are called) and `recipe.json` (what images go
    through before the network sees them, and how it was trained).
    `scn-keras preset RUN DIR` makes one. It needs Keras, NumPy and a backend alone.

    Args:
        preset: Str or path, the name of a preset, one of `preset_names()`, or the
            folder of one. A folder goes before a name.

    Returns:
        `LandmarkModel`, or `LandmarkEnsemble`, not compiled, with the attribute
        `schema`, a `LandmarkSchema`: the landmarks' names in the order of its points.

    Raises:
        FileNotFoundError: If there is no such preset.

    Example:

    >>> model = scn_keras.models.from_preset("synthetic_hand")
    >>> image = np.zeros((1, 192, 144, 1), "float32")
    >>> points = model.localizer.predict(image, verbose=0)["points"]
    >>> dict(zip(model.schema.names, points[0]))["ulnar styloid"].shape
    (2,)
    """
    folder = preset_path(preset)
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"There is no preset {os.fspath(preset)!r}: it is neither one of "
            f"{', '.join(preset_names())} nor a folder with a {CONFIG_FILE}. Models "
            "of images without a free licence do not come with the package: get their "
            "folders out of saved_models/presets/ of scn-keras's repository, and give "
            "the path of one."
        )
    model = keras.saving.deserialize_keras_object(_read_json(folder / CONFIG_FILE))
    model.load_weights(folder / WEIGHTS_FILE)
    model.schema = LandmarkSchema.from_dict(_read_json(folder / SCHEMA_FILE))
    return model


def preset_names():
    """Returns the names of the presets that are here."""
    return sorted(path.parent.name for path in _presets().glob(f"*/{CONFIG_FILE}"))


def preset_path(preset):
    """Returns the folder of a preset.

    Args:
        preset: Str or path, the name of a preset, or any path, which is returned as
            it is, in particular where it exists.
    """
    path = pathlib.Path(preset)
    if not path.exists() and os.fspath(preset) in preset_names():
        return _presets() / path
    return path


def _presets():
    package = importlib.resources.files("scn_keras.saved_models")
    return pathlib.Path(str(package)) / "presets"


def _read_json(path):
    return json.loads(path.read_text("utf-8"))
