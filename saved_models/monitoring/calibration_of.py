import json
import pathlib

from scn_keras.inference.calibration import Calibration
from scn_keras.saved_models.export_folder import beside
from scn_keras.saved_models.predicting.predict import model_folder
from scn_keras.training.run import Run


def calibration_of(model: str | pathlib.Path) -> Calibration:
    """Returns the calibration of a model.

    Args:
        model: The name of a preset; the folder of a preset, of a run or of a version of
            an exported model; or the file `model.keras` of a run.

    Raises:
        FileNotFoundError: If `model` is none of these.
        ValueError: If the model is not calibrated.
    """
    with model_folder(model) as folder:
        calibration = None
        if (folder / "recipe.json").is_file():
            calibration = Run(folder).calibration
        elif beside(folder, "export.json").is_file():
            path = beside(folder, "calibration.json")
            if path.is_file():
                calibration = Calibration.from_dict(json.loads(path.read_text("utf-8")))
        else:
            raise FileNotFoundError(
                f"{model} is neither a run, a preset nor an exported model."
            )
    if calibration is None:
        raise ValueError(
            f"{model} is not calibrated, so that there is nothing to compare with. "
            "Compare with earlier answers, --baseline ANSWERS, or calibrate the run: "
            "scn-keras calibrate RUN."
        )
    return calibration
