"""Draws docs/figures/three_heatmaps.jpg: `python docs/figures/three_heatmaps.py`.

The heatmaps of the preset `synthetic_hand` for the tip of the middle finger, in a drawn
hand that it was not trained on.
"""

import pathlib

import numpy as np
import tensorflow as tf

from scn_keras.datasets.synthetic_hand import generate_hand
from scn_keras.models import preset_path
from scn_keras.pictures import draw_heatmaps, inner_heatmaps, to_jpeg
from scn_keras.training import Run

LANDMARK = "middle tip"


def main() -> None:
    run = Run(preset_path("synthetic_hand"))
    hand = generate_hand(seed=20, index=2, size=(384, 288))
    image = tf.constant(hand["image"][..., None] / 255.0, tf.float32)
    affine = np.diag([hand["spacing"]] * 2 + [1.0]).astype("float32")
    grid_image = run.locator().to_grid(image, affine)[0][0].numpy()
    heatmaps = inner_heatmaps(run.load_model(), grid_image)
    landmark = run.schema.names.index(LANDMARK)
    figure = draw_heatmaps(grid_image, heatmaps, run.schema, landmark, width=7.0)
    file = pathlib.Path(__file__).with_suffix(".jpg")
    file.write_bytes(to_jpeg(figure))


if __name__ == "__main__":
    main()
