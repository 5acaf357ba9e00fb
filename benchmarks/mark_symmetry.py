"""How precise are the marks of a symmetric structure, and how near are the points?

    python -m benchmarks.mark_symmetry RUN [--split SPLIT] [--data-dir DIR] [--out FILE]

A mirrored specimen with exchanged sides lies on itself, except where its anatomy is
asymmetric or its marks are imprecise. If both marks of a pair have independent errors
of variance s² along each axis, their difference has 2 s². Stated is the root of 3 s²
(2 s² in images), the root mean square length of one mark's error. It is too large by
the asymmetry of the anatomy, and too small by the errors that both sides of a specimen
share. The same is computed of the points that the model locates, and beside it their
root mean square error.

The pairs are those of the data set's schema, or, if it has none, those that the mean
shape of all specimens defines: points that are nearest to each other's mirror images.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from scn_keras.alignment import fit_similarity, mean_shape
from scn_keras.geometry import apply_affine
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
)
from scn_keras.training.run import Run

_ITERATIONS = 10
# Pairs whose mirror images lie further apart, in parts of the size of the shape, are
# not the two sides of one structure.
_APART = 0.05


def pairs_by_symmetry(shape: np.ndarray) -> list[tuple[int, int]]:
    """Returns the pairs of a shape, those along the axis that explains it best."""
    centred = shape - shape.mean(axis=0)
    best: tuple[float, list[tuple[int, int]]] = (np.inf, [])
    for normal in np.linalg.svd(centred)[2]:
        mirrored = centred - 2.0 * np.outer(centred @ normal, normal)
        for _ in range(_ITERATIONS):
            distances = cdist(mirrored, centred)
            _, partner = linear_sum_assignment(distances)
            affine = fit_similarity(mirrored, centred[partner])
            mirrored = apply_affine(affine, mirrored)
        apart = np.linalg.norm(mirrored - centred[partner], axis=1)
        near = apart < _APART * np.linalg.norm(centred, axis=1).max()
        pairs = [
            (i, int(j))
            for i, j in enumerate(partner)
            if i < j and partner[j] == i and near[i] and near[j]
        ]
        if apart.mean() < best[0]:
            best = apart.mean(), pairs
    return best[1]


def asymmetry(shapes: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Returns the differences to the mirrored shapes, `(specimens, pairs, D)`."""
    order = np.arange(shapes.shape[1])
    for first, second in pairs:
        order[[first, second]] = second, first
    paired = np.array(pairs).ravel()
    differences = []
    for shape in shapes:
        mirrored = shape[order] * np.array([-1.0, *[1.0] * (shape.shape[1] - 1)])
        affine = fit_similarity(mirrored[paired], shape[paired])
        difference = apply_affine(affine, mirrored) - shape
        differences.append(difference[[first for first, _ in pairs]])
    return np.stack(differences)


def root_mean_square(vectors: np.ndarray) -> float:
    """Returns the root of the mean squared length of vectors."""
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=-1))))


def measure(
    run: Run, split: str | None, data_dir: pathlib.Path | None
) -> dict[str, Any]:
    """Returns the precision of marks and points by symmetry, in mm."""
    split = split or run.recipe.train_split
    images = split_of(run, split, data_dir)
    located = locate_images(locator_for(run, images), images, run.recipe)[0]
    observer = next(iter(located[0].truth_px))
    marks = np.stack([image.truth(observer, "mm") for image in located])
    points = np.stack([image.points("mm") for image in located])
    pairs: Any = run.schema.pairs if run.schema is not None else ()
    found = not pairs
    if found:
        pairs = pairs_by_symmetry(mean_shape(list(marks)))
    paired = np.array(pairs).ravel()
    of_marks, of_points = asymmetry(marks, pairs), asymmetry(points, pairs)
    return {
        "run": run.recipe.name,
        "split": split,
        "specimens": len(marks),
        "landmarks": marks.shape[1],
        "pairs": len(pairs),
        "pairs_found_by_symmetry": found,
        "marks_mm": root_mean_square(of_marks) / np.sqrt(2.0),
        "points_mm": root_mean_square(of_points) / np.sqrt(2.0),
        "marks_to_points_mm": root_mean_square(of_marks - of_points) / np.sqrt(2.0),
        "error_rms_mm": root_mean_square((points - marks)[:, paired]),
        "error_mean_mm": float(
            np.linalg.norm((points - marks)[:, paired], axis=-1).mean()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--split", help="default: the training split of the run")
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    result = measure(Run(args.run), args.split, args.data_dir)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
