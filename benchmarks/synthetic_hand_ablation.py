"""How many finger landmarks exchange labels without the spatial configuration?

    python -m benchmarks.synthetic_hand_ablation --data-dir DIR --out FILE.json

Trains two networks by the recipe `synthetic_hand`, same seed, data and steps: the
SpatialConfiguration-Net, and its local appearance network alone. Reads points off three
heatmaps on the test hands: the product, the local appearance heatmaps inside the same
network, and those of the network that has nothing else. A landmark of one of the four
fingers counts as exchanged where the point found lies nearer to the same landmark of
another finger than to its own.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

from scn_keras.datasets.synthetic_hand import Builder
from scn_keras.geometry import apply_affine
from scn_keras.layers import LocalAppearance
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError
from scn_keras.models import LandmarkModel
from scn_keras.training.build import build_model, make_optimizer
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.stored_source import training_samples
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipes import load_recipe

FINGERS = ("index", "middle", "ring", "little")


def finger_landmarks(names: tuple[str, ...]) -> np.ndarray:
    """Indices `(joints, fingers)` of the landmarks that fingers have in common."""
    joints = [n.removeprefix("index ") for n in names if n.startswith("index ")]
    return np.array([[names.index(f"{f} {j}") for f in FINGERS] for j in joints])


def count_exchanged(found: np.ndarray, true: np.ndarray, joints: np.ndarray) -> int:
    """Counts points `(images, landmarks, 2)` nearer to another finger's landmark."""
    exchanged = 0
    for fingers in joints:
        distances = np.linalg.norm(
            found[:, fingers, None] - true[:, None, fingers], axis=-1
        )
        own = np.arange(len(fingers))
        exchanged += int(np.sum(distances.argmin(axis=-1) != own))
    return exchanged


def local_only(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """The recipe's model without its spatial configuration branch."""
    whole = build_model(recipe, num_landmarks)
    image = keras.Input((None, None, 1))
    config = whole.network.get_layer("local_appearance").get_config()
    network = keras.Model(image, LocalAppearance.from_config(config)(image))
    return LandmarkModel(
        network, whole.target, whole.peak, sigma_penalty=whole.sigma_penalty
    )


def train(model: LandmarkModel, recipe: Recipe, data_dir: pathlib.Path) -> None:
    samples, _ = training_samples(recipe, data_dir)
    model.compile(
        make_optimizer(recipe),
        HeatmapSquaredError(recipe.loss),
        metrics=[PointError()],
        jit_compile=recipe.jit_compile,
    )
    batches = pipeline.training_batches(samples, recipe)
    model.fit(batches, steps_per_epoch=recipe.steps, shuffle=False, verbose=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    recipe = load_recipe("synthetic_hand").override(arguments.set)
    names = Builder.SCHEMA.names
    joints = finger_landmarks(names)

    networks = {}
    for kind, build in (("scn", build_model), ("local only", local_only)):
        keras.utils.set_random_seed(recipe.seed)
        model = build(recipe, len(names))
        train(model, recipe, arguments.data_dir)
        networks[kind] = model
    scn = networks["scn"]
    readings = {
        "product": scn.network,
        "local appearance inside": keras.Model(
            scn.network.input, scn.network.get_layer("local_appearance").output
        ),
        "local appearance alone": networks["local only"].network,
    }

    samples = data.load_samples(recipe.dataset, recipe.test_split, arguments.data_dir)
    batches = list(pipeline.evaluation_batches(samples, recipe, 8))
    true = np.concatenate(
        [apply_affine(y["affine"].numpy(), y["points"].numpy()) for _, y in batches]
    )
    results = {}
    for name, network in readings.items():
        found = np.concatenate(
            [
                apply_affine(
                    y["affine"].numpy(),
                    np.asarray(scn.peak(network.predict_on_batch(x))["points"]),
                )
                for x, y in batches
            ]
        )
        results[name] = {
            "exchanged": count_exchanged(found, true, joints),
            "of": len(true) * joints.size,
            "point_error_mm": float(np.linalg.norm(found - true, axis=-1).mean()),
        }
        print(name, results[name], flush=True)
    if arguments.out:
        report = {"recipe": recipe.to_dict(), "results": results}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
