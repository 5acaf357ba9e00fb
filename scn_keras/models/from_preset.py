"""Loads trained models by name or from a folder."""

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

    A preset is a folder in the format of KerasHub: `config.json` (the model),
    `model.weights.h5` (in half precision; the model is float32), `metadata.json` and
    `model_card.md` (data, protocol, results, licence, limitations). It also has
    `landmarks.json` (the names of the landmarks) and `recipe.json` (the preprocessing
    of images and the settings of the training). `scn-keras preset RUN DIR` creates a
    preset. Loading requires only Keras, NumPy and a backend.

    Args:
        preset: Str or path, the name of a preset, one of `preset_names()`, or the
            path of its folder. An existing folder takes precedence over a name.

    Returns:
        `LandmarkModel` or `LandmarkEnsemble`, not compiled. Its attribute `schema`, a
        `LandmarkSchema`, has the landmarks' names in the order of its points.

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
            f"Expected the name of a preset ({', '.join(preset_names())}) or a folder "
            f"with {CONFIG_FILE}. The package does not include models of images "
            "without a free licence. Their folders are in saved_models/presets/ of the "
            "scn-keras repository; give the path of such a folder. Received: "
            f"preset={os.fspath(preset)!r}"
        )
    model = keras.saving.deserialize_keras_object(_read_json(folder / CONFIG_FILE))
    model.load_weights(folder / WEIGHTS_FILE)
    model.schema = LandmarkSchema.from_dict(_read_json(folder / SCHEMA_FILE))
    return model


def preset_names():
    """Returns the names of the installed presets."""
    return sorted(path.parent.name for path in _presets().glob(f"*/{CONFIG_FILE}"))


def preset_path(preset):
    """Returns the folder of a preset.

    Args:
        preset: Str or path, the name of a preset or a path. An existing path and any
            path that is not the name of a preset are returned unchanged.
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
