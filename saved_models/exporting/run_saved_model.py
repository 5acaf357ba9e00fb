"""Answers requests with an exported model and TensorFlow alone, for the parity check.

    python run_saved_model.py MODEL REQUESTS.npz ANSWERS.npz

`REQUESTS.npz` holds `NUMBER/INPUT`, bytes as arrays of uint8; `ANSWERS.npz` gets
`NUMBER/OUTPUT` of the signature `serving_default`, and `NUMBER/seconds` of a second
call: at the first one TensorFlow prepares the graph.
"""

import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# `import tensorflow` would import Keras, which serving does not have.
sys.modules["keras"] = None  # type: ignore[assignment]
sys.modules["scn_keras"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main() -> None:
    model = tf.saved_model.load(sys.argv[1])
    serve = model.signatures["serving_default"]
    requests: dict[str, dict[str, tf.Tensor]] = {}
    with np.load(sys.argv[2]) as file:
        for key, value in file.items():
            number, name = key.split("/")
            tensor = value if name != "image_bytes" else [value.tobytes()]
            requests.setdefault(number, {})[name] = tf.constant(tensor)
    answers: dict[str, Any] = {}
    for number, inputs in requests.items():
        serve(**inputs)
        started = time.perf_counter()
        outputs = serve(**inputs)
        answers[f"{number}/seconds"] = np.array(time.perf_counter() - started)
        answers |= {f"{number}/{k}": v.numpy() for k, v in outputs.items()}
    np.savez(sys.argv[3], **answers)


if __name__ == "__main__":
    main()
