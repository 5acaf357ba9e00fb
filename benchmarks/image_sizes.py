"""What do images of ever new sizes cost a served model, in memory?

    python -m benchmarks.image_sizes [RUN] [--images 2400] [--same]

Asks the model of `scn-keras serve` with images of random sizes, 20 to 300 pixels a
side, or with --same of one size, one after the other, and prints its memory from time
to time. TensorFlow's oneDNN keeps what it has compiled for each shape, up to a number
of shapes; TF_ENABLE_ONEDNN_OPTS=0 in the environment turns it off.
"""

import argparse
import gc
import io
import os
import tempfile

import numpy as np
from PIL import Image

from benchmarks.serving_load import resident_mb
from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.training.run import Run

EVERY = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", default="synthetic_hand")
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--same", action="store_true", help="all of one size")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    spacing = np.array([[0.1, 0.1]], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        version = export(Run(preset_path(arguments.run)), folder)
        with ServedModel(version) as model:
            for number in range(arguments.images):
                size = (160, 160) if arguments.same else random.integers(20, 300, 2)
                file = io.BytesIO()
                grey = random.integers(0, 256, tuple(size)).astype(np.uint8)
                Image.fromarray(grey).save(file, "PNG")
                image = np.array([file.getvalue()], object)
                inputs = {"image_bytes": image, "spacing_mm": spacing}
                model.submit("serving_default", inputs).result()
                if (number + 1) % EVERY == 0:
                    gc.collect()
                    memory = resident_mb(os.getpid())
                    print(f"{number + 1} images: {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
