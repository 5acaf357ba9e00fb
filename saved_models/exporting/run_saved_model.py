"""Calls an exported model with TensorFlow only, for the parity check.

    python run_saved_model.py MODEL REQUESTS.npz ANSWERS.npz

`REQUESTS.npz` contains `NUMBER/INPUT`, with bytes as arrays of uint8. The outputs of
the signature `serving_default` are written to `ANSWERS.npz` as `NUMBER/OUTPUT`. The
time of a second call is written as `NUMBER/seconds`, because TensorFlow prepares the
graph in the first call.
"""

import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Prevents `import tensorflow` from importing Keras, which is not available in serving.
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
