# %% [markdown]
# # 8. Your own network, loss, transform and callback
#
# A recipe names its parts: a network, a loss, transforms, callbacks. Each can be yours, by
# its name `"module:attribute"`, without a change of the package. In this tutorial you write
# one of each, test it without training, and measure it against the built-in part.
#
# **You learn**
#
# - the interface of each part, which is one function or one class;
# - how to test a transform and a loss in a second, without training;
# - how to measure whether a part is worth keeping: the transform is, on the images that it
#   was written for, and the loss ruins the training;
# - which messages wrong parts give, and which mistake gives none.
#
# **You need** the [second tutorial](02_why_multiply.ipynb). It takes about three minutes
# on two cores.

# %%
import contextlib
import dataclasses
import importlib
import io
import os
import pathlib
import sys
import tempfile
import textwrap

import keras
import matplotlib.pyplot as plt
import numpy as np
import rich.console

from scn_keras import losses, warp
from scn_keras.datasets.prepare import prepare
from scn_keras.training import Network, evaluate
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.build import build_network
from scn_keras.training.fit import fit

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST, STEPS = (12, 4, 4) if SMALL else (60, 30, 600)

work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)
sys.path.insert(0, work.name)  # where `my_parts.py` will be
results = {}

# %% [markdown]
# ## The problem: another scanner
#
# The training images are clean drawn radiographs with four landmarks. There are two test
# sets: clean images, and images of another scanner, which leaves three bright bands. The
# data set is a `LandmarkBuilder`: it draws the hands and stores them once.
#
# The data set and all parts go into one file, `my_parts.py`, because a recipe stores
# *names*: the code is imported again when the run is resumed, evaluated or exported. A
# class that is defined in a notebook cannot be imported.

# %%
DATA = f'''
import dataclasses

import keras
import numpy as np
import tensorflow_datasets as tfds

from scn_keras import LandmarkSchema
from scn_keras.datasets import LandmarkBuilder
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.training import Augmentation, Callback, ImageToGrid, Network, Recipe

NAMES = ("ulnar styloid", "radial styloid", "thumb tip", "middle tip")
ROWS = [HAND_SCHEMA.names.index(name) for name in NAMES]
GRID = (64, 48)
BANDS = 3


class Films(LandmarkBuilder):
    """Drawn hands; those of `test_bands` have three bright bands each."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(NAMES)

    def _split_generators(self, dl_manager):
        return {{
            "train": self._draw(0, {TRAIN}),
            "test": self._draw(10_000, {TEST}),
            "test_bands": self._draw(20_000, {TEST}, brightness=170.0),
        }}

    def _draw(self, first, count, brightness=0.0):
        for n in range(first, first + count):
            hand = generate_hand(0, n, GRID)
            centers = np.random.default_rng(n).uniform(0, GRID[0], (BANDS, 1))
            rows = np.exp(-(((np.arange(GRID[0]) - centers) / 2.0) ** 2)).sum(0)
            image = np.clip(hand["image"] + brightness * rows[:, None], 0, 255)
            affine = np.diag([hand["spacing"]] * 2 + [1.0])
            points = {{"points": hand["points"][ROWS]}}
            yield n, self.sample(str(n), image.astype("uint8"), points, affine)
'''

# %% [markdown]
# ## The four parts
#
# **A transform.** *Reason:* no built-in transform draws bands, and the training images have
# none. *Interface:* a function of the image `(..., *grid)`, of random numbers from -1 to 1
# with the shape `(..., num_parameters)`, and of `xp`, which is NumPy, TensorFlow or
# `keras.ops`. The image can be one image or a batch.
#
# **A loss.** *Reason:* the squared error is dominated by large errors. This one is linear
# for them. *Interface:* a `keras.losses.Loss` with one value per image and landmark, so
# that missing landmarks can be left out. It is registered, so that a stored model can be
# loaded.
#
# **A network.** *Reason:* dilated convolutions at full resolution, without levels and
# without a second branch, are short enough to read. *Interface:* a function that returns a
# functional Keras model from images to one heatmap per landmark.
#
# **A callback.** *Reason:* the training ends when the error on held-out images is small
# enough for the purpose. *Interface:* a `keras.callbacks.Callback`. `val_point_error` is
# the mean error in millimetres.

# %%
PARTS = '''
def scanner_bands(image, parameters, xp, strength=1.5):
    """Adds bright bands of rows: where, and how bright, is random."""
    rows = np.linspace(-1.0, 1.0, image.shape[-2], dtype="float32")
    rows = xp.convert_to_tensor(rows)
    bands = 0.0
    for n in range(BANDS):
        bands = bands + xp.exp(-250.0 * (rows - parameters[..., n : n + 1]) ** 2)
    brightness = strength * (parameters[..., BANDS:] + 1.0) / 2.0
    return image + (brightness * bands)[..., None]


scanner_bands.num_parameters = BANDS + 1


@keras.saving.register_keras_serializable(package="my_parts")
class Charbonnier(keras.losses.Loss):
    """Quadratic for small errors, linear for large ones."""

    def __init__(self, epsilon=0.3, name="charbonnier", **kwargs):
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        relative = (y_true - y_pred) / self.epsilon
        error = self.epsilon**2 * (keras.ops.sqrt(1.0 + relative**2) - 1.0)
        # The mean over landmarks follows; the sum over them is the built-in form.
        pixels = tuple(range(1, len(y_true.shape) - 1))
        return y_true.shape[-1] * keras.ops.sum(error, axis=pixels)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def dilated_net(num_landmarks, image_shape, filters=16, dilations=(1, 2, 4, 8, 4, 1)):
    x = image = keras.Input(image_shape)
    for dilation in dilations:
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", dilation_rate=dilation
        )(x)
    heatmaps = keras.layers.Conv2D(num_landmarks, 1, dtype="float32")(x)
    return keras.Model(image, heatmaps)


class GoodEnough(keras.callbacks.Callback):
    """Ends the training when the error on held-out images is below a limit."""

    def __init__(self, millimetres=5.0):
        super().__init__()
        self.millimetres = millimetres

    def on_epoch_end(self, epoch, logs=None):
        error = (logs or {}).get("val_point_error", float("inf"))
        if error < self.millimetres:
            print(f"good enough after epoch {epoch + 1}: {error:.2f} mm")
            self.model.stop_training = True
'''

# %% [markdown]
# ## The recipe
#
# The first recipe has built-in parts only. The others replace one of them each, and the
# last one all. In a terminal, this file is trained by
#
# ```
# scn-keras datasets prepare my_parts:Films
# scn-keras train my_parts.py
# scn-keras evaluate runs/all_own
# ```
#
# Here we call the same functions from Python.

# %%
RECIPES = f"""
BUILT_IN = Recipe(
    name="built_in",
    dataset=Films,
    validation=0.2,
    image_to_grid=ImageToGrid(GRID),
    network=Network(
        filters=8, levels=3, dropout=0.0, spatial_kernel_size=5, spatial_factor=8
    ),
    augmentation=Augmentation(scale=0.1, scale_per_axis=0.05),
    batch_size=4,
    steps={STEPS},
    steps_per_epoch={STEPS // 4},
)
WITH_BANDS = dataclasses.replace(BUILT_IN.augmentation, transforms=[scanner_bands])
OWN_NETWORK = Network(dilated_net, filters=16)


def replaced(name, **changes):
    return dataclasses.replace(BUILT_IN, name=name, **changes)


ALL = {{
    "built_in": BUILT_IN,
    "own_transform": replaced("own_transform", augmentation=WITH_BANDS),
    "own_loss": replaced("own_loss", loss=Charbonnier),
    "own_network": replaced("own_network", network=OWN_NETWORK),
    "all_own": replaced(
        "all_own",
        augmentation=WITH_BANDS,
        loss=Charbonnier,
        network=OWN_NETWORK,
        callbacks=(Callback(GoodEnough, {{"millimetres": 5.0}}),),
    ),
}}


def recipe():
    return ALL["all_own"]
"""
(folder / "my_parts.py").write_text(DATA + PARTS + RECIPES, "utf-8")
my_parts = importlib.import_module("my_parts")
data_dir = folder / "data"
_ = prepare(my_parts.Films, data_dir, report=lambda line: None)

# %% [markdown]
# ## Look before you train
#
# A training image as it is, and three times as the network gets it. Do the bands look like
# those of the scanner? Are the points still on the landmarks? `scn-keras datasets show
# my_parts:Films --augmented my_parts.py` makes such a picture for any recipe.

# %%
hand = my_parts.generate_hand(0, 0, my_parts.GRID)
image = (hand["image"] / 127.5 - 1.0).astype("float32")[..., None]
points = hand["points"][my_parts.ROWS].astype("float32")
affine = np.eye(3, dtype="float32")


def augmented(augmentation, seed, image=image, points=points):
    drawn = augmentation.draw(seed, my_parts.GRID)
    changed, y = augmentation.apply(drawn, image, points, affine, xp=warp.NUMPY)
    return changed[..., 0], y["points"]


figure, axes = plt.subplots(1, 4, figsize=(9, 3.2), layout="constrained")
pictures = [(image[..., 0], points)]
pictures += [augmented(my_parts.WITH_BANDS, seed) for seed in (1, 2, 3)]
for axis, (picture, marks) in zip(axes, pictures, strict=True):
    axis.imshow(picture, cmap="gray", vmin=-1, vmax=1)
    axis.scatter(*marks.T, s=16, c="tab:orange")
    axis.set_axis_off()

# %% [markdown]
# A loss can be tested before training as well. Here is its ratio to the built-in loss for
# errors of 0.03, 0.1, 0.3, 1 and 2.5 in every pixel. For small errors the ratio must be 1,
# so that the weights of the penalties keep their meaning. For errors as large as a peak it
# must be below 1.


# %%
def ratio(loss, error):
    """Returns a loss of heatmaps with the same error everywhere, by the built-in one."""
    truth = np.zeros((1, *my_parts.GRID, len(my_parts.NAMES)), "float32")
    own, built_in = (
        float(keras.ops.convert_to_numpy(each(truth, truth + error)))
        for each in (loss, losses.HeatmapSquaredError("sum"))
    )
    return own / built_in


target = my_parts.BUILT_IN.target
height = target.gamma / (2 * np.pi * target.sigma**2)
print(f"height of the heatmaps at the start: {height:.2f}")
for epsilon in (0.3, 10.0):
    loss = my_parts.Charbonnier(epsilon)
    ratios = [ratio(loss, error) for error in (0.03, 0.1, 0.3, 1.0, 2.5)]
    results[f"epsilon {epsilon}"] = ratios
    print(f"epsilon {epsilon:4}:", "  ".join(f"{value:.2f}" for value in ratios))

# %% [markdown]
# With `epsilon=0.3` the loss is what it is meant to be: an error as large as a peak counts a
# fifth of the squared error. With `epsilon=10` it is the built-in loss for all errors that
# occur, so that a training with it measures the other parts only.
#
# ## Measure
#
# Change one thing, keep everything else, and measure on images that were used neither for
# training nor for a choice: the built-in parts, the transform, all four parts, and all four
# with the loss made harmless by `epsilon=10`.

# %%
quiet = rich.console.Console(quiet=True)


def measure(name, recipe):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        # A run that is complete, or was interrupted, is not trained from the start.
        run = fit(recipe, folder / "runs" / name, data_dir=data_dir, resume=True)
        errors = [
            evaluate(run, split, data_dir=data_dir, console=quiet)[0]["mre_mm"]
            for split in ("test", "test_bands")
        ]
    steps = run.history_path.read_text().splitlines()[-1].split(",")[0]
    results[name] = errors
    print(
        f"{name:>15}: {errors[0]:5.2f} mm, with bands {errors[1]:5.2f} mm;"
        f" {run.load_model().network.count_params()} parameters, {steps} steps"
    )
    lines = printed.getvalue().splitlines()
    for line in (line for line in lines if line.startswith("good enough")):
        print(f"{'':>15}  {line}")
    return run


wide = dataclasses.replace(my_parts.ALL["all_own"], loss=my_parts.Charbonnier(10.0))
recipes = {**my_parts.ALL, "epsilon_10": wide}
chosen = ["built_in", "own_transform", "all_own", "epsilon_10"]
if SMALL:
    chosen = ["built_in", "all_own"]
runs = {name: measure(name + "_0", recipes[name]) for name in chosen}

# %%
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for place, name in enumerate(chosen):
    for column, color in enumerate(("tab:blue", "tab:orange")):
        x = place + 0.3 * column - 0.15
        axis.bar(x, results[name + "_0"][column], width=0.3, color=color)
axis.legend(["clean images", "with bands"], fontsize=8)
axis.set_xticks(range(len(chosen)), chosen)
_ = axis.set(ylabel="mean error in mm", ylim=(0, None))

# %% [markdown]
# - The **transform** pays where it was meant to: the error on images with bands falls to
#   less than half, and clean images cost a fraction of a millimetre.
# - The **loss** ruins the training: `all_own` and `epsilon_10` differ in nothing else. A
#   heatmap is nearly zero everywhere, and its few large values *are* the landmark. To a
#   robust loss they are outliers. The reason for the loss sounded well; it was the wrong
#   one for heatmaps.
# - The **network** works, with about as many weights as the built-in one. Whether it is
#   better cannot be concluded from these four rows.
# - The **callback** ended the run of `epsilon_10` before the last epoch, and left `all_own`
#   alone, whose error never reached the limit.
#
# These are single seeds and 30 images: enough for differences of this size, not for tenths
# of a millimetre. `scn-keras compare` gives intervals. `ALL` also has `own_loss` and
# `own_network`, which change one part each.

# %%
films = my_parts.Films(data_dir=str(data_dir)).as_dataset(split="test_bands")
films = list(films.as_numpy_iterator())
pictures = np.stack([film["image"] for film in films]).astype("float32")
pictures = pictures.reshape(TEST, *my_parts.GRID, 1) / 127.5 - 1.0
truth = np.stack([film["points"] for film in films])
shown = ("built_in", "all_own") if SMALL else ("built_in", "own_transform", "all_own")
found = {}
for name in shown:
    localizer = runs[name].load_model().localizer
    found[name] = localizer.predict(pictures, verbose=0)["points"]
errors = np.linalg.norm(found["built_in"] - truth, axis=-1).mean(-1)
row = np.argsort(errors)[TEST // 2]  # the usual case

figure, axes = plt.subplots(1, len(shown), figsize=(8, 3.8), layout="constrained")
for axis, name in zip(axes, shown, strict=True):
    axis.imshow(pictures[row, ..., 0], cmap="gray")
    axis.scatter(*truth[row].T, s=60, facecolors="none", edgecolors="tab:green")
    axis.scatter(*found[name][row].T, s=30, c="tab:orange", marker="x")
    axis.set_title(name, fontsize=9)
    axis.set_axis_off()

# %% [markdown]
# ## What goes wrong
#
# `fit` tries each part on a small batch before it creates the folder of a run. Here is
# what it prints for mistakes that it can find.


# %%
def attempt(title, make):
    try:
        make()
    except (ValueError, ImportError) as error:
        message = " ".join(str(error).split())
        print(textwrap.fill(f"{title}: {message}", 88), end="\n\n")
    else:
        raise AssertionError(f"{title}: no error")


def fit_with(**changes):
    recipe = dataclasses.replace(my_parts.BUILT_IN, **changes)
    fit(recipe, folder / "runs" / "wrong", data_dir=data_dir)


WRONG = '''
import keras


class Averaged(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred))


def one_heatmap(num_landmarks, image_shape):
    image = keras.Input(image_shape)
    return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(image))


def half_size(num_landmarks, image_shape):
    image = keras.Input(image_shape)
    x = keras.layers.Conv2D(num_landmarks, 3, strides=2, padding="same")(image)
    return keras.Model(image, x)


def moved(image, parameters, xp):
    """Moves the image by three pixels to the right, and forgets the points."""
    beside = [(0, 0)] * (len(image.shape) - 1) + [(3, 0)]
    return xp.pad(image + 1.0, beside)[..., :-3] - 1.0
'''
(folder / "wrong_parts.py").write_text(WRONG, "utf-8")
attempt("A function as loss", lambda: fit_with(loss="my_parts:dilated_net"))
attempt("No such module", lambda: fit_with(loss="my_prats:Charbonnier"))
attempt("No such name", lambda: fit_with(loss="my_parts:Charbonier"))
attempt("Squared error of Keras", lambda: fit_with(loss="mse"))
attempt("A loss of one number", lambda: fit_with(loss="wrong_parts:Averaged"))
attempt("One heatmap", lambda: fit_with(network=Network("wrong_parts:one_heatmap")))
attempt("Half the size", lambda: fit_with(network=Network("wrong_parts:half_size")))
print("a run was created:", (folder / "runs" / "wrong").exists())

# %% [markdown]
# The trial takes a small batch through all parts, so that these mistakes cost seconds. A
# loss of one number is rejected because it has averaged over landmarks already: a landmark
# that is missing in an image could no longer be left out.
#
# ## The mistake without a message
#
# A transform of grey values that moves the image. It returns the right shape and finite
# numbers. The training runs and the loss falls, but the model learns to answer beside the
# landmark, since the points have not moved with the image. A quarter of the steps is enough
# to see it.

# %%
wrong = Augmentation.from_list(["wrong_parts:moved"])
short = dataclasses.replace(my_parts.BUILT_IN, steps=STEPS // 4, augmentation=wrong)
run = measure("moved", short)
offsets = {}
for name in ("built_in", "moved"):
    model = (run if name == "moved" else runs[name]).load_model()
    hands = [my_parts.generate_hand(0, 10_000 + n, my_parts.GRID) for n in range(TEST)]
    films = np.stack([h["image"] for h in hands])[..., None] / 127.5 - 1.0
    truth = np.stack([h["points"][my_parts.ROWS] for h in hands])
    found = model.localizer.predict(films.astype("float32"), verbose=0)["points"]
    offsets[name] = np.median(found - truth, axis=(0, 1))
    results[f"offset {name}"] = offsets[name]
    print(
        f"{name:>9}: median offset in x {offsets[name][0]:5.2f}, y {offsets[name][1]:5.2f} px"
    )

# %% [markdown]
# The median offset in x shows it after the training. A test without training is better: an
# image that is black but for one spot *at a point* is transformed together with the point,
# and the distance between them is measured. Do this with every transform that you write.


# %%
def largest_distance(augmentation, count=20):
    """Returns how far a spot is from its point after the transform, in pixels."""
    y, x = np.mgrid[: my_parts.GRID[0], : my_parts.GRID[1]]
    point = np.array([[26.0, 30.0]], "float32")
    spot = np.exp(-((x - 26.0) ** 2 + (y - 30.0) ** 2) / 8.0)
    spot = (2.0 * spot - 1.0).astype("float32")[..., None]
    distances = []
    for seed in range(count):
        changed, points = augmented(augmentation, seed, spot, point)
        weight = np.clip(changed - changed.min(), 0, None) ** 4
        center = [(weight * axis).sum() / weight.sum() for axis in (x, y)]
        distances.append(np.abs(center - points[0]).max())
    return max(distances)


for title, augmentation in (
    ("the built-in ones", my_parts.BUILT_IN.augmentation),
    ("moved", wrong),
):
    results[f"spot {title}"] = largest_distance(augmentation)
    print(f"{title:>18}: at most {results[f'spot {title}']:.2f} pixels apart")

# %% [markdown]
# A transform that is meant to move something is a `GeometricTransform`: it returns the
# map, and the package applies it to image *and* points
# ([transforms](../guides/extending/transform.md)).
#
# ## Exercises
#
# 1. Write a transform of one band of random width. What must be stated, and what is the
#    message if it is forgotten?
# 2. Repair `half_size`: its heatmaps are meant to be half as large.
# 3. Repair `Averaged`. By what factor is it smaller than the built-in loss, and what does
#    that change in a training?
# 4. Write `moved` as a `GeometricTransform`, and test it with the spot.

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. `wide_band.num_parameters = 2`. Without the attribute there is one random number, the
#    slice `parameters[..., 1:]` is empty, and the trial reports it.
# 2. `network.heatmap_stride = 2`: see the next cell.
# 3. The mean must be over pixels only, `axis=(1, 2)`. The built-in form is half the sum over
#    landmarks and pixels: larger by 4 / 2 * 64 * 48 = 6144. Adam hardly depends on the scale
#    of a loss, but `sigma_penalty` is added to it: with the mean, the penalty would be
#    nearly the whole loss. Clipped gradients and SGD depend on the scale as well.
# 4. A `GeometricTransform` returns the affine from the new grid to the old one, and the
#    package applies it to image and points.

# %% tags=["solution"]
SOLUTIONS = '''
import keras
import numpy as np

import wrong_parts
from scn_keras.training.augmentation import GeometricTransform


def wide_band(image, parameters, xp):
    """Adds one band of a random width."""
    rows = np.linspace(-1.0, 1.0, image.shape[-2], dtype="float32")
    distance = xp.convert_to_tensor(rows) - parameters[..., :1]
    width = 0.06 + 0.04 * parameters[..., 1:]
    return image + xp.exp(-((distance / width) ** 2))[..., None]


def half_size(num_landmarks, image_shape):
    network = wrong_parts.half_size(num_landmarks, image_shape)
    network.heatmap_stride = 2
    return network


class Averaged(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=(1, 2))


class Moved(GeometricTransform):
    """Moves image and points by three pixels to the right."""

    def count(self, dimensions):
        return 0

    def draw(self, unit, grid, xp, seed=None):
        return {"shift": xp.sum(unit, axis=-1) * 0.0 + 3.0}

    def affine(self, parameters, grid, spacing, size, xp):
        # From the grid to the grid before: to the left.
        zero = parameters["shift"] * 0.0
        rows = [
            [zero + 1.0, zero, -parameters["shift"]],
            [zero, zero + 1.0, zero],
            [zero, zero, zero + 1.0],
        ]
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
'''
(folder / "solutions.py").write_text(SOLUTIONS, "utf-8")
solutions = importlib.import_module("solutions")

forgotten = Augmentation.from_list([solutions.wide_band])
attempt("1, forgotten", lambda: fit_with(augmentation=forgotten))
solutions.wide_band.num_parameters = 2
Augmentation.from_list([solutions.wide_band]).validate(my_parts.GRID)

halved = dataclasses.replace(my_parts.BUILT_IN, network=Network(solutions.half_size))
network = build_network(halved, len(my_parts.NAMES))
print("2, heatmaps of (64, 48):", network.compute_output_shape((1, 64, 48, 1)))

errors = keras.random.normal((2, 64, 48, 4), seed=0)
averaged, built_in = (
    float(keras.ops.convert_to_numpy(loss(keras.ops.zeros_like(errors), errors)))
    for loss in (solutions.Averaged(), losses.HeatmapSquaredError("sum"))
)
results["averaged"] = built_in / averaged
print(f"3, built-in loss / Averaged = {built_in / averaged:.0f}")

moves_both = Augmentation.from_list([solutions.Moved()])
moves_both.validate(my_parts.GRID)
results["spot solution"] = largest_distance(moves_both)
print(f"4, spot and point: at most {results['spot solution']:.2f} pixels apart")

# %% [markdown]
# ## Where this is in the package
#
# [Extend it](../guides/extending/index.md) has a page for each part, also for decoders,
# data sets, optimisers and methods that are not networks. All settings of a recipe are in
# [Recipes and their settings](../recipes.md).

# %% tags=["remove-cell"]
sys.path.remove(work.name)
work.cleanup()
