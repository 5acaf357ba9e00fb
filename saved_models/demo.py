"""A demonstration of the package on synthetic hands: `scn-keras demo`."""

import os
import pathlib
import subprocess
import sys
import time

import tensorflow as tf
from rich.console import Console

from scn_keras.datasets import prepare
from scn_keras.saved_models import locate_bytes_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.saved_models.predicting.prediction_files import (
    print_points,
    write_overlays,
)
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.result_table import print_results
from scn_keras.training.fit import fit
from scn_keras.training.input.prepared_sets import load_samples
from scn_keras.training.recipes import load_recipe
from scn_keras.training.report.page import write_report


def demo(folder: pathlib.Path) -> None:
    """Prepares a data set, trains, evaluates and exports a model, and predicts.

    The steps and the files that they write are printed. Finished steps of an
    interrupted call are not repeated.

    Args:
        folder: Path of the folder for the data set, the run and the model.

    Example:

    ```python
    demo(pathlib.Path("scn-keras-demo"))
    ```
    """
    started = time.monotonic()
    console = Console()
    recipe = load_recipe("synthetic_hand")
    data_dir = folder / "data"

    console.rule("1. Prepare synthetic hand radiographs")
    prepare(recipe.dataset, data_dir=data_dir, report=console.print)

    console.rule("2. Fit a SpatialConfiguration-Net")
    run = fit(recipe, folder / "run", data_dir, resume=True)

    console.rule("3. Evaluate on held-out images")
    results = evaluate(run, data_dir=data_dir)
    print_results(results)
    write_report(run, data_dir=data_dir)

    console.rule("4. Export for TF Serving")
    model = export(run, folder / "models")
    console.print(f"Exported: {model}")

    console.rule("5. Predict: from the bytes of an image to millimetres")
    sample = next(iter(load_samples(recipe.dataset, recipe.test_split, data_dir)))
    image = folder / "hand.png"
    image.write_bytes(tf.io.encode_png(sample["image"]).numpy())
    spacing = float(sample["affine"][0, 0])
    predictions, _ = predict(model, [image], (spacing, spacing))
    print_points(predictions, run.schema.names)
    write_overlays(folder / "overlay", predictions, run.schema)
    console.print("The same prediction by a process that does not load Keras:")
    process = subprocess.run(
        [
            *(sys.executable, str(locate_bytes_path()), str(model), str(image)),
            *("--spacing", str(spacing), str(spacing)),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    console.print(process.stdout[:120].strip() + " …", markup=False)

    error = results[0]["mre_mm"]
    rate = results[0]["sdr_percent"]["2"]
    minutes = (time.monotonic() - started) / 60.0
    console.rule("Done")
    console.print(
        f"""\
In {minutes:.1f} minutes, in {folder}:
  run/report.html    the report: {error:.2f} mm mean point error on \
{results[0]["n_images"]} held-out hands, {rate:.0f} % within 2 mm
  run/model.keras    the trained model, for Keras
  {model.relative_to(folder)}   the SavedModel, for TF Serving
  overlay/hand.png   one hand with the points of the SavedModel

Try next:
  scn-keras predict {model} YOUR_IMAGE.png
  scn-keras train synthetic_hand --data-dir {data_dir} \
--set network.filters=48 --out {folder / "wider"}
  scn-keras --help""",
        highlight=False,
        soft_wrap=True,
    )
