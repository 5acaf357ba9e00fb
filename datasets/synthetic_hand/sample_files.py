"""A few drawn radiographs as image files, to try the commands with."""

import os
from pathlib import Path

from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.files import PointSet, write_points

# Neither the training nor the test images of the data set.
_FIRST_INDEX = 2_000_000_000


def write_sample_files(folder: str | os.PathLike[str], count: int = 3) -> list[Path]:
    """Writes synthetic hand radiographs and their points as `landmark_folder` reads.

    The images are `hand_1.png` and so on, of 512 x 400 pixels, and their points are in
    `points.csv`. No model of the package was trained or evaluated with them.

    Args:
        folder: Str or path, a new or empty folder.
        count: Int, the number of images.

    Returns:
        List of the paths of the images.

    Raises:
        FileExistsError: If the folder is not empty.
        ValueError: If `count` is below 1.

    Example:

    ```python
    paths = write_sample_files("samples")
    predictions, problems = predict("synthetic_hand", paths)
    ```
    """
    from PIL import Image

    folder = Path(folder)
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} exists and is not empty. Name another folder for the samples."
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths, sets = [], []
    for number in range(count):
        hand = generate_hand(seed=0, index=_FIRST_INDEX + number)
        path = folder / f"hand_{number + 1}.png"
        Image.fromarray(hand["image"]).save(path)
        paths.append(path)
        points = hand["points"].astype(float).round(2)
        sets.append(PointSet(HAND_SCHEMA.names, points, image=path.name))
    write_points(folder / "points.csv", sets)
    return paths
