"""Runs an exported model with TensorFlow only, without Keras and scn_keras.

    python minimal_client.py MODEL FILE [FILE ...] [--spacing X Y]

prints one JSON object per file. It is an example from which to write a client.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Prevents `import tensorflow` from importing Keras, which is not available in serving.
sys.modules["keras"] = None  # type: ignore[assignment]
sys.modules["scn_keras"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="the folder of saved_model.pb")
    parser.add_argument("files", nargs="+", help="PNG, JPEG or BMP files")
    parser.add_argument(
        "--spacing", nargs=2, type=float, default=(0.0, 0.0), help="mm per pixel, x y"
    )
    arguments = parser.parse_args()
    model = tf.saved_model.load(arguments.model)
    serve = model.signatures["serving_default"]
    for path in arguments.files:
        with open(path, "rb") as file:
            data = file.read()
        outputs = serve(
            image_bytes=tf.constant([data]),
            spacing_mm=tf.constant([arguments.spacing], tf.float32),
        )
        row = {name: np.asarray(value)[0].tolist() for name, value in outputs.items()}
        print(json.dumps({"file": path, **row}), flush=True)


if __name__ == "__main__":
    main()
