"""Is a calibrated run right about how sure it is? Radii, and images of another kind.

    python -m benchmarks.uncertainty RUN --data-dir DIR [--split test1_unique]
        [--other hand_xray:SPLIT] [--mild [--every N]] [--out FILE.json]

RUN is calibrated (`scn-keras calibrate`) on images of its training split; nothing here
is chosen on the images that are measured.

- Coverage: `evaluate` scores the split against every truth of the data set; written
  are the share of points within their radii, overall with its 95 % interval
  (bootstrapped over patients) and a landmark, and how large the radii are.
- Trust: the share of the split's images that are not trusted (false alarms), and of
  the same images made unlike, kind by kind: grey values inverted, all black, noise,
  turned by 90, 180 and 270 degrees, mirrored, upside down, their upper left quarter and
  their middle half alone; and of `--other` data sets, whose images are given as they
  are, with whatever spacing they have.

- With `--mild`, only: the share of images that are not trusted after changes that a
  person would accept (`benchmarks/mild_variants.py`), of every Nth image and of all
  that the run was not trained on; of the latter also alone, with the share of points
  within their radii. With `--foreign`, the unlike images above as well.

2D images alone. Ten passes over the split: a quarter of an hour for 127 cephalograms
on two cores. With `--mild --every 4` on 150, 25 passes over 49 images.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.mild_variants import MILD, Variant, turned_points
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.training.evaluation.evaluate import evaluate, split_of
from scn_keras.training.evaluation.located_on_grid import trained_truth
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.run import Run


def noise(image: tf.Tensor) -> tf.Tensor:
    """Uniform noise, the same for images of one size."""
    drawn = tf.random.stateless_uniform(tf.shape(image), (0, 0), 0, image.dtype.max)
    return tf.cast(drawn, image.dtype)


UNLIKE: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "inverted": lambda image: image.dtype.max - image,
    "black": tf.zeros_like,
    "noise": noise,
    "turned by 90": lambda image: tf.image.rot90(image, 1),
    "turned by 180": lambda image: tf.image.rot90(image, 2),
    "turned by 270": lambda image: tf.image.rot90(image, 3),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "upper left quarter": lambda image: image[
        : tf.shape(image)[0] // 2, : tf.shape(image)[1] // 2
    ],
    "middle half": lambda image: image[
        tf.shape(image)[0] // 4 : 3 * tf.shape(image)[0] // 4,
        tf.shape(image)[1] // 4 : 3 * tf.shape(image)[1] // 4,
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--split", default="test1_unique")
    parser.add_argument("--other", metavar="DATASET:SPLIT", action="append", default=[])
    parser.add_argument("--mild", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--foreign", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    calibration = run.calibration
    if calibration is None:
        parser.error(f"{run.path} is not calibrated: scn-keras calibrate {run.path}")
    locator = run.locator()

    def share_not_trusted(samples: tf.data.Dataset) -> dict[str, float]:
        trusted = [bool(found["trusted"]) for found in locator.locate(samples)]
        share = 100.0 * (1.0 - float(np.mean(trusted)))
        return {"n_images": len(trusted), "not_trusted_percent": round(share, 2)}

    if arguments.mild:
        _write(arguments.out, _mild(run, arguments))
        return
    samples = data.load_samples(run.recipe.dataset, arguments.split, arguments.data_dir)
    results = evaluate(run, arguments.split, data_dir=arguments.data_dir)
    numbers = {
        "split": arguments.split,
        "calibration": dict(calibration.protocol),
        "false_alarms_percent": round(100.0 - results[0]["trusted_percent"], 2),
        "coverage": {
            result["protocol"]["truth"] or "points": {
                key: result[key]
                for key in result
                if key in ("n_images", "n_points") or key.startswith(("cov", "radius"))
            }
            | {"ci95": result["ci95"]["coverage90_percent"]}
            | {"per_landmark": result["per_landmark"]}
            for result in results
            if result["protocol"]["split"] == arguments.split
        },
        "unlike": {},
    }
    print(f"false alarms: {numbers['false_alarms_percent']} %")
    for kind, change in UNLIKE.items():
        changed = samples.map(
            lambda sample, change=change: {**sample, "image": change(sample["image"])}
        )
        numbers["unlike"][kind] = share_not_trusted(changed)
        print(f"{kind}: {numbers['unlike'][kind]}", flush=True)
    for other in arguments.other:
        dataset, _, split = other.partition(":")
        others = data.load_samples(dataset, split, arguments.data_dir)
        numbers["unlike"][other] = share_not_trusted(others)
        print(f"{other}: {numbers['unlike'][other]}", flush=True)
    for truth, coverage in numbers["coverage"].items():
        print(truth, {k: v for k, v in coverage.items() if k != "per_landmark"})
    _write(arguments.out, numbers)


def _mild(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures changes that a person would accept, and prints each."""
    images = split_of(run, arguments.split, arguments.data_dir)
    ids = data.sample_ids(run.recipe.dataset, arguments.split, arguments.data_dir)
    unseen = ids = [*ids]
    if arguments.split == run.recipe.train_split:
        unseen = split_of(run, HELD_OUT, arguments.data_dir).table().ids
    chosen = tf.constant([*{*ids[:: arguments.every], *unseen}])
    samples = images.samples().filter(
        lambda sample: tf.reduce_any(sample["id"] == chosen)
    )
    samples = samples.cache()
    sizes = {s["id"]: s["image"].shape[1::-1] for s in samples.as_numpy_iterator()}
    foreign = UNLIKE if arguments.foreign else {}
    changes = {kind: _changed(change) for kind, change in MILD.items()}
    for kind, change in foreign.items():
        changes[kind] = lambda s, change=change: {**s, "image": change(s["image"])}
    numbers: dict[str, Any] = {}
    for kind, change in changes.items():
        rows = []
        for found in run.locator().locate(samples.map(change)):
            truth = images.true_points(found, trained_truth(run.recipe))
            truth = turned_points(truth, sizes[found["id"]], kind)
            error = point_distances(truth, found["points_px"])
            within = (error <= found["radius90_px"])[~np.isnan(error)]
            is_unseen = found["id"].decode() in unseen
            rows.append((found["trusted"], found["novelty"], is_unseen, within.mean()))
        trusted, novelty, is_unseen, within = np.array(rows).T
        is_unseen = is_unseen > 0
        numbers[kind] = {
            "n_images": len(rows),
            "not_trusted_percent": _percent(1.0 - trusted),
            "novelty": [round(float(v), 3) for v in (novelty.min(), novelty.max())],
            "n_unseen": int(is_unseen.sum()),
            "unseen_not_trusted_percent": _percent(1.0 - trusted[is_unseen]),
        }
        if kind in MILD:
            numbers[kind]["unseen_coverage90_percent"] = _percent(within[is_unseen])
        print(f"{kind}: {numbers[kind]}", flush=True)
    return {"split": arguments.split, "mild": numbers}


def _percent(shares: np.ndarray) -> float:
    return round(100.0 * float(np.mean(shares)), 2)


def _changed(change: Variant) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns the function that applies a variant to a sample, in 8 bits."""

    def to_8_bits(image: np.ndarray) -> np.ndarray:
        levels = np.iinfo(image.dtype).max
        grey = np.uint8(np.rint(255.0 * (image[..., 0] / levels)))
        return np.ascontiguousarray(change(grey))[..., None]

    def changed(sample: dict[str, Any]) -> dict[str, Any]:
        image = tf.numpy_function(to_8_bits, [sample["image"]], tf.uint8)
        return {**sample, "image": tf.ensure_shape(image, (None, None, 1))}

    return changed


def _write(path: pathlib.Path | None, numbers: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
