"""Does the exported model give the points that the run gives, on real films?

    python -m benchmarks.export_parity RUN MODEL FOLDER [--count 20] [--spacing 0.1]

Takes the first images of a folder, leaves a quarter as they are, crops a quarter,
halves a quarter (16-bit PNG) and shrinks the last unevenly (BMP, pixels that are not
square). Compares `scn-keras predict RUN` with the SavedModel in a new process where
importing keras or scn_keras raises. Prints the largest difference over all points, in
pixels of each given file, and exits with 1 where it is above 0.01.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

from scn_keras.saved_models.exporting.parity import largest_difference
from scn_keras.training.run import Run

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


def _cropped(image: np.ndarray, path: pathlib.Path) -> tuple[float, float]:
    height, width = image.shape
    part = image[height // 20 : -height // 30, width // 15 : -width // 25]
    Image.fromarray(part).save(path.with_suffix(".png"))
    return 1.0, 1.0


def _halved(image: np.ndarray, path: pathlib.Path) -> tuple[float, float]:
    height, width = image.shape
    small = tf.image.resize(
        image[..., None].astype(np.float32) * 257.0,
        (height // 2, width // 2),
        antialias=True,
    )
    data = tf.io.encode_png(tf.cast(tf.round(small), tf.uint16)).numpy()
    path.with_suffix(".png").write_bytes(data)
    return 2.0, 2.0


def _uneven(image: np.ndarray, path: pathlib.Path) -> tuple[float, float]:
    height, width = image.shape
    size = (round(width * 0.8), round(height * 0.6))
    Image.fromarray(image).resize(size, Image.Resampling.BOX).save(
        path.with_suffix(".bmp")
    )
    return 1.0 / 0.8, 1.0 / 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--spacing", type=float, default=0.1)
    arguments = parser.parse_args()
    films = sorted(p for p in arguments.folder.iterdir() if p.suffix in _SUFFIXES)
    films = films[: arguments.count]
    run = Run(arguments.run)

    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        groups: dict[tuple[float, float], list[pathlib.Path]] = {}
        for number, film in enumerate(films):
            change = (None, _cropped, _halved, _uneven)[number % 4]
            path, factors = film, (1.0, 1.0)
            if change:
                image = np.asarray(Image.open(film).convert("L"))
                factors = change(image, folder / film.stem)
                (path,) = folder.glob(f"{film.stem}.*")
            spacing = (arguments.spacing * factors[0], arguments.spacing * factors[1])
            groups.setdefault(spacing, []).append(path)
        for spacing, paths in groups.items():
            difference = largest_difference(run, arguments.model, paths, spacing)
            print(
                f"{len(paths):3d} files at {spacing[0]:.4f} x {spacing[1]:.4f} mm: "
                f"{difference:.5f} px",
                flush=True,
            )
            worst = max(worst, difference)
    print(f"Largest difference over {len(films)} files: {worst:.5f} px (bound 0.01)")
    if not worst <= 0.01:
        sys.exit(1)


if __name__ == "__main__":
    main()
