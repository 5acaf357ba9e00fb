"""What does the learned spatial configuration know that springs do not?

    python -m benchmarks.spatial_knowledge hand|teeth --runs DIR [--data-dir DIR]
        [--steps N] [--seeds N] [--out FILE.json]

The same local-appearance heatmaps are decoded in several ways: each heatmap on its own
(its maximum), all of them by pictorial structures, whose springs are fitted to the
points of the training images, by a random field over candidates (the maxima of each
heatmap, and pairs of landmarks as in `DonnerCandidates`), and multiplied by a learned
spatial configuration. The local appearance is trained

- alone, on the same targets, steps, grid and augmentation, with the spatial
  configuration trained afterwards on its frozen heatmaps (as many steps again);
- jointly with the spatial configuration, as in Payer et al. (2019).

It is done with few and with all training images, and several seeds. Stated are the mean
error, the part of points over the radius of a gross error, and the part that is nearer
to another landmark's true position than to its own ("exchanged"). The weights of
springs and pairs, and the floor of the springs, are chosen on training images that the
first network has not seen.

`hand`: fold 1 to fold 2 of the hand radiographs, in mm. `teeth`: a folder of panoramic
radiographs with the 32 teeth, of which some are absent, in pixels of the image,
prepared as `landmark_folder/teeth`; the second half of the images are the test.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
from typing import Any

import keras
import numpy as np

from benchmarks._runs import finished, seconds_of
from scn_keras.classical._random_field import least_energy
from scn_keras.classical.donner_candidates import _maxima, _pairs_of
from scn_keras.geometry import apply_affine
from scn_keras.inference.located_image import LocatedImage
from scn_keras.layers import HeatmapPeak, HeatmapProduct, PictorialStructures
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from scn_keras.training import Network, Optimizer, Recipe
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
)
from scn_keras.training.recipes import load_recipe
from scn_keras.training.run import Run

SPRINGS = tuple(itertools.product((0.1, 1.0, 10.0), (1e-3, 1e-2, 1e-1)))
PAIR_WEIGHTS = (0.1, 1.0, 10.0)
CANDIDATES, APART = 5, 4.0  # px of the grid
FLOOR = 1e-3  # lower relative heights cost the same
RESAMPLES = 2000
_ARGUMENTS: dict[str, Any] = {"filters": 32, "dropout": 0.3, "spatial_factor": 8}


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: its recipe, training splits, test split and unit."""

    settings: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]  # of each size, one for every seed
    unseen: str  # training images that the first network of the few has not seen
    test: str
    unit: str
    gross: float


DATA = {
    "hand": Data(
        (),
        {"10": ("fold1[:10]", "fold1[10:20]"), "36": ("fold1",)},
        "fold1[10:]",
        "fold2",
        "mm",
        10.0,
    ),
    "teeth": Data(
        ("dataset=landmark_folder/teeth", "image_to_grid.grid=(192,192)"),
        {"10": ("train[:10]", "train[10:20]"), "132": ("train[:132]",)},
        "train[10:132]",
        "train[132:]",
        "px",
        20.0,
    ),
}


def local_network(
    num_landmarks: int, image_shape: tuple[int | None, ...], dtype: str
) -> keras.Model:
    """Returns the local appearance of a SpatialConfiguration-Net, without the rest."""
    whole = SpatialConfigurationNet(
        num_landmarks, image_shape, dtype=dtype, **_ARGUMENTS
    )
    return keras.Model(whole.input, whole.get_layer("local_appearance").output)


def frozen_network(
    num_landmarks: int, image_shape: tuple[int | None, ...], dtype: str, local: str
) -> keras.Model:
    """Returns a network that multiplies a run's heatmaps by a new configuration."""
    whole = SpatialConfigurationNet(
        num_landmarks, image_shape, dtype=dtype, **_ARGUMENTS
    )
    maps = local_network(num_landmarks, image_shape, dtype)
    maps.set_weights(Run(pathlib.Path(local)).load_model().network.get_weights())
    maps.trainable = False
    image = keras.Input(image_shape)
    heatmaps = maps(image, training=False)  # frozen, without dropout
    configuration = whole.get_layer("spatial_configuration")(heatmaps)
    product = HeatmapProduct(name="heatmaps")([heatmaps, configuration])
    return keras.Model(image, product)


def recipe_of(data: Data, steps: int | None, split: str, seed: int) -> Recipe:
    """Returns the recipe of the joint training."""
    recipe = load_recipe("hand_few").override(
        [*data.settings, f"train_split={split}", f"seed={seed}", "validation=0"]
    )
    return dataclasses.replace(
        recipe,
        steps=steps or recipe.steps,
        test_split=data.test,
        network=Network(dtype=recipe.network.dtype, **_ARGUMENTS),
        optimizer=Optimizer(
            learning_rate=1.6e-3, warmup=0.02, clip_norm="unit", average=0.995
        ),
    )


def trained(
    data: Data,
    steps: int | None,
    size: str,
    seed: int,
    folder: pathlib.Path,
    where: Any,
) -> dict[str, Run]:
    """Returns the three runs of a size and a seed, training what is missing."""
    splits = data.splits[size]
    joint = recipe_of(data, steps, splits[seed % len(splits)], seed)
    name = f"{folder.name}_{size}_{seed}"
    dtype, module = joint.network.dtype, "benchmarks.spatial_knowledge"
    runs = {
        "joint": finished(joint, folder / f"{name}_joint", data.test, where),
        "local": finished(
            dataclasses.replace(
                joint, network=Network(kind=f"{module}:local_network", dtype=dtype)
            ),
            folder / f"{name}_local",
            data.test,
            where,
        ),
    }
    path = str((folder / f"{name}_local").resolve())
    frozen = Network(kind=f"{module}:frozen_network", dtype=dtype, local=path)
    runs["frozen"] = finished(
        dataclasses.replace(joint, network=frozen),
        folder / f"{name}_frozen",
        data.test,
        where,
    )
    return runs


def local_maps(run: Run) -> tuple[keras.Model, Any]:
    """Returns the network of a run up to its local appearance, and its target."""
    model = run.load_model()
    network = model.network
    if run.recipe.network.kind == "SpatialConfigurationNet":
        output = network.get_layer("local_appearance").output
        network = keras.Model(network.input, output)
    return network, model.target


def located(run: Run, split: str, where: Any, peak: Any) -> list[LocatedImage]:
    """Locates images by the local heatmaps of a run and a layer that decodes them."""
    network, target = local_maps(run)
    images = split_of(run, split, where)
    model = LandmarkModel(network, target, peak)
    return locate_images(locator_for(run, images, model), images, run.recipe)[0]


def points_on_grid(run: Run, where: Any) -> np.ndarray:
    """Returns the true points of the training images in pixels of the grid."""
    points = []
    images = located(run, run.recipe.train_split, where, HeatmapPeak("argmax"))
    for image in images:
        to_grid = np.linalg.inv(np.asarray(image.grid_to_source, np.float64))
        truth = next(iter(image.truth_px.values()))
        points.append(apply_affine(to_grid, np.asarray(truth, np.float64)))
    return np.stack(points)


def springs(points: np.ndarray, weight: float, floor: float) -> PictorialStructures:
    return PictorialStructures.from_points(points, weight=weight, floor=floor)


def chosen_candidates(
    run: Run, split: str, where: Any, points: np.ndarray, weight: float
) -> list[LocatedImage]:
    """Locates images by a random field over the maxima of the local heatmaps."""
    network, _ = local_maps(run)
    edges, means, deviations = _pairs_of(points, 1.0)
    images = []
    for image in located(run, split, where, HeatmapPeak("argmax")):
        maps = network.predict_on_batch(image.grid_image[None])[0]
        maps = np.asarray(maps, np.float64)
        found = [
            _maxima(np.maximum(maps[..., n], 0.0), CANDIDATES, APART)
            for n in range(maps.shape[-1])
        ]
        unary = [
            -np.log(np.maximum(height / max(height.max(), 1e-30), FLOOR))
            for _, height in found
        ]
        energies = {}
        for (i, j), mean, deviation in zip(edges, means, deviations, strict=True):
            apart = found[i][0][:, None] - found[j][0][None] - mean
            squares = np.sum((apart / deviation) ** 2, axis=-1)
            energies[int(i), int(j)] = 0.5 * weight * squares
        labels = least_energy(unary, energies)
        at = np.array([of[0][k] for of, k in zip(found, labels, strict=True)])
        to_image = np.asarray(image.grid_to_source, np.float64)
        images.append(dataclasses.replace(image, points_px=apply_affine(to_image, at)))
    return images


def measure(images: list[LocatedImage], data: Data) -> dict[str, Any]:
    """Returns errors, gross errors and exchanged points with 95 % intervals."""
    errors, exchanged, groups = [], [], []
    for image in images:
        truth = image.truth(next(iter(image.truth_px)), data.unit)
        points = image.points(data.unit)
        known = ~np.isnan(truth).any(axis=-1)
        apart = np.linalg.norm(points[known, None] - truth[None, known], axis=-1)
        own = np.diagonal(apart)
        errors.append(own)
        exchanged.append(apart.min(axis=1) < own)
        groups.append(image.group)
    patients = sorted(set(groups))
    random = np.random.default_rng(0)
    draws = random.integers(0, len(patients), (RESAMPLES, len(patients)))
    of_patient = [[i for i, g in enumerate(groups) if g == p] for p in patients]
    measures = {
        "error": (errors, 1.0),
        "gross_percent": ([e > data.gross for e in errors], 100.0),
        "exchanged_percent": (exchanged, 100.0),
    }
    result: dict[str, Any] = {"images": len(images)}
    for name, (values, factor) in measures.items():
        sums = np.array([sum(values[i].sum() for i in of) for of in of_patient])
        counts = np.array([sum(values[i].size for i in of) for of in of_patient])
        means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
        low, high = np.percentile(means, (2.5, 97.5))
        result[name] = factor * sums.sum() / counts.sum()
        result[f"{name}_ci95"] = [factor * low, factor * high]
    return result


@dataclasses.dataclass(frozen=True)
class Weights:
    """What is chosen on training images that the first network has not seen."""

    springs: tuple[float, float]  # weight and floor
    pairs: float


def chosen_weights(run: Run, data: Data, where: Any) -> Weights:
    """Returns the weights with the least error on unseen images."""
    points = points_on_grid(run, where)
    by_setting: dict[Any, float] = {}
    for setting in SPRINGS:
        images = located(run, data.unseen, where, springs(points, *setting))
        by_setting[setting] = measure(images, data)["error"]
        print(f"springs {setting}: {by_setting[setting]:.3f} {data.unit}", flush=True)
    by_weight = {}
    for weight in PAIR_WEIGHTS:
        images = chosen_candidates(run, data.unseen, where, points, weight)
        by_weight[weight] = measure(images, data)["error"]
        print(f"pairs {weight}: {by_weight[weight]:.3f} {data.unit}", flush=True)
    return Weights(
        min(by_setting, key=by_setting.__getitem__),
        min(by_weight, key=by_weight.__getitem__),
    )


def decoded(
    runs: dict[str, Run], data: Data, where: Any, weights: Weights
) -> list[dict[str, Any]]:
    """Returns what each decoder makes of the runs of a size and a seed."""
    rows = []
    peak = HeatmapPeak("gaussian_fit")
    for kind in ("local", "joint"):
        points = points_on_grid(runs[kind], where)
        for name, layer in (
            ("maximum of each", peak),
            ("springs", springs(points, *weights.springs)),
        ):
            images = located(runs[kind], data.test, where, layer)
            rows.append({"heatmaps": kind, "decoder": name, **measure(images, data)})
        images = chosen_candidates(runs[kind], data.test, where, points, weights.pairs)
        rows.append(
            {"heatmaps": kind, "decoder": "candidates", **measure(images, data)}
        )
        whole = runs["frozen"] if kind == "local" else runs["joint"]
        images = split_of(whole, data.test, where)
        images = locate_images(locator_for(whole, images), images, whole.recipe)[0]
        rows.append({"heatmaps": kind, "decoder": "learned", **measure(images, data)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATA)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--steps", type=int, help="of each training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    data, folder = DATA[args.dataset], args.runs / args.dataset
    rows: list[dict[str, Any]] = []
    weights = None
    for seed, size in itertools.product(range(args.seeds), data.splits):
        runs = trained(data, args.steps, size, seed, folder, args.data_dir)
        if weights is None:
            weights = chosen_weights(runs["local"], data, args.data_dir)
        minutes = {f"minutes_{k}": seconds_of(run) / 60 for k, run in runs.items()}
        for row in decoded(runs, data, args.data_dir, weights):
            rows.append({"training_images": size, "seed": seed, **row, **minutes})
            print(
                f"{size} images, seed {seed}, {row['heatmaps']} heatmaps, "
                f"{row['decoder']}: {row['error']:.3f} {data.unit}, "
                f"{row['exchanged_percent']:.2f} % exchanged",
                flush=True,
            )
        report = {
            "protocol": {
                "dataset": args.dataset,
                "splits": data.splits,
                "test": data.test,
                "unit": data.unit,
                "gross_error": data.gross,
                "steps": args.steps,
                "weights": dataclasses.asdict(weights),
                "weights_chosen_on": data.unseen,
                "interval": "bootstrap of patients, 2000 resamples, percentiles",
            },
            "results": rows,
        }
        if args.out:
            args.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
