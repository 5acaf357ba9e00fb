# %% [markdown]
# # 11. The same model on JAX and PyTorch
#
# The layers, losses and models of this package are written for Keras, not for TensorFlow.
# They run on TensorFlow, JAX and PyTorch, whichever `KERAS_BACKEND` names. In this tutorial
# you run one script on each of them and compare numbers: heatmaps, points in millimetres,
# losses.
#
# **You learn**
#
# - how a backend is chosen, and why it cannot be changed afterwards;
# - what is the same on all backends, to how many digits, and what is not the same at all;
# - why two trainings from the same start drift apart, and why this is not an error;
# - how weights move from one backend to another;
# - which habits work on one backend and fail on the next.
#
# **You need** the [second tutorial](02_why_multiply.ipynb). It takes about two minutes
# on two cores. TensorFlow comes with the package. The other two are installed by
# `pip install jax` and `pip install torch`; a backend that is not installed is left out.

# %%
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np

import scn_keras.losses  # noqa: F401  registers the loss of stored models
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.layers import GaussianHeatmap, HeatmapPeak
from scn_keras.models import LandmarkModel, SpatialConfigurationNet

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST, EPOCHS = (4, 2, 2) if SMALL else (32, 16, 12)

BACKENDS = []
for name in ("tensorflow", "jax", "torch"):
    if importlib.util.find_spec(name):
        BACKENDS.append(name)
    else:
        print(f"{name} is not installed and is left out: pip install {name}")
if SMALL:
    BACKENDS = BACKENDS[1:2] or BACKENDS  # each of them takes four processes
print("compared:", ", ".join(BACKENDS))

# %% [markdown]
# ## One backend for each process
#
# Keras reads `KERAS_BACKEND` once, when it is imported. A later change has no effect, and
# there is no message:

# %%
used, setting = keras.backend.backend(), os.environ.get("KERAS_BACKEND")
os.environ["KERAS_BACKEND"] = "torch" if used == "jax" else "jax"  # too late
print(f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}, used: {keras.backend.backend()}")
os.environ["KERAS_BACKEND"] = setting or used

# %% [markdown]
# This mistake is common. It is also made by tools that sort imports, if they move
# `import keras` above the line that sets the variable; and `import scn_keras.models`
# imports Keras as well. In a notebook, set the variable in the first cell and restart the
# kernel. In a terminal, write `KERAS_BACKEND=jax python script.py`. Print
# `keras.backend.backend()` at the start of a training.
#
# ## The data and the start
#
# Images and points are drawn once and stored in a file, so that all backends get the same
# numbers. The untrained model is stored as well.

# %%
SIZE = (64, 48)
NAMES = ("ulnar styloid", "radial styloid", "thumb tip", "middle tip")
ROWS = [HAND_SCHEMA.names.index(name) for name in NAMES]
work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)


def load(first, count):
    hands = [generate_hand(0, first + n, SIZE) for n in range(count)]
    images = np.stack([hand["image"] for hand in hands])[..., None] / 127.5 - 1.0
    points = np.stack([hand["points"][ROWS] for hand in hands])
    affines = np.stack([np.diag([h["spacing"]] * 2 + [1.0]) for h in hands])
    return [array.astype("float32") for array in (images, points, affines)]


images, points, affines = load(0, TRAIN)
test_images, test_points, test_affines = load(10_000, TEST)
arrays = {"images": images, "points": points, "affines": affines}
np.savez(folder / "data.npz", test_images=test_images, **arrays)

keras.utils.set_random_seed(0)
network = SpatialConfigurationNet(
    len(NAMES),
    (*SIZE, 1),
    filters=4 if SMALL else 16,
    levels=1 if SMALL else 3,
    dropout=0.0,
    spatial_kernel_size=5,
    spatial_factor=8,
)
target = GaussianHeatmap(len(NAMES), sigma=2.0, gamma=100.0)
LandmarkModel(network, target, HeatmapPeak()).save(folder / "start.keras")

# %% [markdown]
# A script is run in one process for each backend, one after the other, with nothing but
# another value of `KERAS_BACKEND`. (`OMP_NUM_THREADS=1` is for PyTorch: the operations of
# a network this small are too short to be shared among threads.)


# %%
def run(script):
    """Runs a script on each backend; returns what each one has stored."""
    (folder / "script.py").write_text(script, "utf-8")
    stored = {}
    for backend in BACKENDS:
        environment = {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"On {backend}:\n{done.stderr[-2000:]}")
        with np.load(folder / f"{backend}.npz") as file:
            stored[backend] = dict(file)
    return stored


# %% [markdown]
# ## One training on each
#
# All backends start from `start.keras`, with the same images in the same order
# (`shuffle=False`). There is no dropout and no augmentation. The script does not mention
# any backend, except that JAX is told to compile, since it executes each operation
# separately otherwise.
#
# As a control, the first backend trains a second time, from weights that are changed by
# one part in ten million: about their last digit.

# %%
TRAINING = f"""
import time
import keras
import numpy as np
import scn_keras.models  # registers the classes that are in the file
from scn_keras.losses import HeatmapSquaredError

backend = keras.backend.backend()
data = np.load("data.npz")


class ProcessorTime(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.times = [time.process_time()]

    def on_epoch_end(self, epoch, logs=None):
        self.times.append(time.process_time())


def train(change=0.0):
    model = keras.saving.load_model("start.keras")
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        sign = random.choice([-1.0, 1.0], tuple(weight.shape)).astype("float32")
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value * (1 + np.float32(change) * sign))
    model.compile(
        keras.optimizers.Adam(1e-3),
        HeatmapSquaredError("sum"),
        jit_compile=backend == "jax",
    )
    clock = ProcessorTime()
    labels = {{"points": data["points"], "affine": data["affines"]}}
    history = model.fit(
        data["images"], labels, batch_size=4, epochs={EPOCHS}, shuffle=False,
        callbacks=[clock], verbose=0,
    )
    return model, history.history["loss"], np.diff(clock.times)


model, loss, seconds = train()
model.save(f"trained_{{backend}}.keras")
stored = {{"loss": loss, "seconds": seconds}}
if backend == "{BACKENDS[0]}":
    stored["loss_changed"] = train(change=1e-7)[1]
np.savez(backend, **stored)
"""
trained = run(TRAINING)
FIRST = BACKENDS[0]
for backend, stored in trained.items():
    values = ", ".join(f"{value:.3f}" for value in stored["loss"][[0, 1, -1]])
    print(f"{backend:>10}: loss of the first, second and last epoch {values}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
reference = trained[FIRST]["loss"]
epochs = np.arange(1, EPOCHS + 1)
for backend, stored in trained.items():
    axes[0].semilogy(epochs, stored["loss"], label=backend)
    if backend != FIRST:
        apart = np.abs(stored["loss"] / reference - 1)
        axes[1].semilogy(epochs, apart, label=f"{backend} and {FIRST}")
changed = np.abs(trained[FIRST]["loss_changed"] / reference - 1)
axes[1].semilogy(epochs, changed, "k--", label=f"{FIRST}, last digit changed")
_ = axes[0].set(xlabel="epoch", ylabel="loss", title="The same training")
_ = axes[1].set(xlabel="epoch", title="Relative difference of the losses")
for axis in axes:
    axis.legend(fontsize=8)

# %% [markdown]
# The curves on the left lie on each other. The differences on the right begin with the
# last digits of float32, about one part in a million, and are about a thousand times as
# large after twelve epochs: each step starts from weights that differ a little, and
# training amplifies differences. Each backend adds up the products
# of a convolution in an order of its own, and sums of floating-point numbers depend on
# the order.
#
# The dashed line shows that no backend is at fault: one and the same backend drifts away
# from itself by as much, if the last digits of its start are changed. (It begins below
# the axis: the losses of the first epoch are equal.) Two trained
# models are therefore never compared by their weights, but by their errors:

# %%
READING = """
import pathlib
import keras
import numpy as np
import scn_keras.models  # registers the classes that are in the files

images, stored = np.load("data.npz")["test_images"], {}
for file in pathlib.Path().glob("trained_*.keras"):
    model = keras.saving.load_model(file, compile=False)
    heatmaps = model.network.predict(images, verbose=0)
    peaks = model.peak(keras.ops.convert_to_tensor(heatmaps))
    stored[f"heatmaps {file.stem}"] = heatmaps
    stored[f"points {file.stem}"] = keras.ops.convert_to_numpy(peaks["points"])
np.savez(keras.backend.backend(), **stored)
"""
read = run(READING)
spacing = test_affines[:, 0, 0][:, None]
results = {}
print("trained on    read on       mean error mm   points apart mm   heatmaps apart")
for source in BACKENDS:
    own = read[source]
    largest = np.abs(own[f"heatmaps trained_{source}"]).max()
    for reader in BACKENDS:
        points_of = read[reader][f"points trained_{source}"]
        error = (np.linalg.norm(points_of - test_points, axis=-1) * spacing).mean()
        apart = np.linalg.norm(points_of - own[f"points trained_{source}"], axis=-1)
        difference = np.abs(
            read[reader][f"heatmaps trained_{source}"]
            - own[f"heatmaps trained_{source}"]
        )
        results[f"{source} {reader}"] = (error, (apart * spacing).max())
        print(
            f"{source:<13} {reader:<13} {error:13.4f} {(apart * spacing).max():17.6f}"
            f"   {difference.max() / largest:14.1e}"
        )

# %% [markdown]
# Read the table in blocks. Within a block the *same file* is read by each backend: the
# heatmaps agree to about six digits (relative to the highest value), and the points to
# less than a micrometre. Nothing was converted: weights in a `.keras` file belong to no
# backend. From block to block the *training* differs, and so do the last digits of the
# errors. (Errors are large here, after a hundred steps of training. That is no obstacle to
# the comparison.)
#
# That is the answer to "may I train on JAX and serve with TensorFlow?". Yes: the points
# are the same.
#
# ## Where the differences are

# %%
others = [backend for backend in BACKENDS if backend != FIRST] or [FIRST]
key = f"heatmaps trained_{FIRST}"
figure, axes = plt.subplots(
    1, 1 + len(others), figsize=(3 * (1 + len(others)), 3.4), layout="constrained"
)
axes[0].imshow(read[FIRST][key][0, ..., 2], cmap="magma")
axes[0].set_title(f"thumb tip, {FIRST}", fontsize=9)
for axis, other in zip(axes[1:], others, strict=True):
    difference = np.abs(read[other][key] - read[FIRST][key])[0, ..., 2]
    relative = np.log10(difference / np.abs(read[FIRST][key]).max() + 1e-12)
    shown = axis.imshow(relative, cmap="viridis", vmin=-9, vmax=-5)
    axis.set_title(f"difference of {other}", fontsize=9)
for axis in axes:
    axis.set_axis_off()
_ = figure.colorbar(shown, ax=axes, label="log10, relative to the peak", shrink=0.7)

# %% [markdown]
# The differences are below one part in a million everywhere, and without a shape that
# would move the peak.
#
# ## How long they take
#
# Processor time, summed over threads, not time by the clock. The first epoch includes
# compilation. This is a tiny network on a processor, and says nothing about
# a GPU or about yours: measure your own recipe, after the first epoch.

# %%
own = np.median(trained[FIRST]["seconds"][1:])
for backend, stored in trained.items():
    first, later = stored["seconds"][0], np.median(stored["seconds"][1:])
    results[f"time {backend}"] = (later / own, first / later)
    print(
        f"{backend:>10}: an epoch takes {later / own:.1f} times that of {FIRST}; "
        f"the first one {first / later:.0f} times the later ones"
    )

# %% [markdown]
# ## What goes wrong
#
# **The same seed, other numbers.** A seed determines the numbers of *one* library. Initial
# weights, dropout and the random layers of Keras differ on each backend. In this package,
# NumPy draws the parameters of augmentation, and the device only deforms images by them;
# so they are the same everywhere.
#
# **Habits.** Three losses that look harmless, and one that is correct. Each is used in one
# step of training.

# %%
RANDOM_AND_HABITS = """
import keras
import numpy as np
from scn_keras.training.augmentation import Augmentation

data, ops, stored = np.load("data.npz"), keras.ops, {}
keras.utils.set_random_seed(0)
dense = keras.layers.Dense(3)
dense.build((None, 1))
dropped = keras.layers.Dropout(0.5, seed=0)(np.ones((1, 6), "float32"), training=True)
stored["seed initial weights"] = dense.kernel
stored["seed dropout"] = dropped
stored["seed keras.random.normal"] = keras.random.normal((3,), seed=0)

batch = [data[name][:4] for name in ("images", "points", "affines")]
augmentation = Augmentation(elastic=0.05, noise=0.1)
drawn = augmentation.draw([0, 1], batch[0].shape[1:3], batch=(4,))
turn = drawn["rotation"][:3]
stored["seed rotation of the package"] = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
drawn = {name: ops.convert_to_tensor(value) for name, value in drawn.items()}
images, labels = augmentation.apply(drawn, *map(ops.convert_to_tensor, batch))
stored["augmented images"], stored["augmented points"] = images, labels["points"]

weights = np.linspace(1.0, 2.0, 4)  # float64
stored["text dtype of a float64 array"] = str(
    keras.backend.standardize_dtype(ops.convert_to_tensor(weights).dtype)
)


def numpy_weights(true, predicted):
    return ops.mean(ops.square(true - predicted) * weights, axis=-1)


def condition(true, predicted):
    error = ops.mean(ops.square(true - predicted), axis=-1)
    return error if ops.max(error) > 1.0 else 2.0 * error


def assignment(true, predicted):
    error = ops.square(true - predicted)
    error[:, 0] = 0.0
    return ops.mean(error, axis=-1)


def correct(true, predicted):
    factor = ops.convert_to_tensor(weights, "float32")
    return ops.mean(ops.square(true - predicted) * factor, axis=-1)


for loss in (numpy_weights, condition, assignment, correct):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", loss)
    try:
        model.train_on_batch(np.ones((4, 3)), np.ones((4, 4)))
        outcome = "works"
    except Exception as error:
        outcome = type(error).__name__
    stored[f"text {loss.__name__}"] = outcome

stored = {
    name: value if isinstance(value, str) else ops.convert_to_numpy(value)
    for name, value in stored.items()
}
np.savez(keras.backend.backend(), **stored)
"""
numbers = run(RANDOM_AND_HABITS)
for name in numbers[FIRST]:
    kind, _, rest = name.partition(" ")
    if kind == "augmented":
        apart = max(
            np.abs(stored[name] - numbers[FIRST][name]).max()
            for stored in numbers.values()
        )
        results[name] = apart
        print(f"{name}: at most {apart:.1e} apart")
        continue
    print(f"{rest}:")
    for backend, stored in numbers.items():
        value = stored[name]
        if kind == "seed":
            value = " ".join(f"{number:6.3f}" for number in np.ravel(value))
        print(f"    {backend:>10}  {value}")

# %% [markdown]
# Augmented images are on a scale from -1 to 1, and points in pixels: they differ in the
# last digits at most. Here even the images are the same bit by bit, since each operation
# was executed on its own. Compiled code joins operations and rounds in another way, so do
# not rely on it. Everything from Keras's own generators is different.
#
# A NumPy array is float64 unless told otherwise, and each backend treats it in another
# way: weights in float64 fail on PyTorch only. The condition and the assignment work on
# PyTorch only, whose operations are executed one by one; TensorFlow and JAX build a graph
# of the loss before there are any numbers. In a loss, write `keras.ops` and float32 throughout; replace a condition by
# `keras.ops.where`, and an assignment by a product with a mask. Code that is to run
# everywhere must be *tried* everywhere: one step is enough.
#
# **Channels first.** PyTorch's own order is (batch, channels, rows, columns). Keras has a
# switch for it, also in the user's file `~/.keras/keras.json`, and each layer that does
# not state its order obeys. Then a network for images (rows, columns, 1) takes the rows
# as channels, without a message:

# %%
keras.config.set_image_data_format("channels_first")
image = keras.Input((*SIZE, 1))
own_layer = keras.layers.Conv2D(8, 3, padding="same")(image)
package = SpatialConfigurationNet(4, (*SIZE, 1), filters=4, levels=2, spatial_factor=8)
keras.config.set_image_data_format("channels_last")
print(f"Conv2D: {tuple(image.shape)} becomes {tuple(own_layer.shape)}")
print(f"network of the package: becomes {tuple(package.output_shape)}")

# %% [markdown]
# The layers of this package state `data_format="channels_last"` and do not depend on the
# switch. Do the same in your own layers, and transpose images from PyTorch:
# `images.transpose(0, 2, 3, 1)`, never `reshape`.
#
# ## Exercises
#
# 1. Add the squares of the heatmaps of one image in NumPy, in float32: from the first to
#    the last, from the last to the first, and with `np.sum`. How many digits agree?
# 2. Load the file that PyTorch has trained, with its optimiser, in this notebook, and
#    train one more epoch. What happens, and how is it mended?
# 3. Round the heatmaps to float16 and read the points again. Compare with the difference
#    of the backends: which of the two would you worry about?
# 4. Write the loss `condition` so that it works everywhere.

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. Four to five, if the 12,288 numbers are added one after the other; `np.sum` adds in
#    pairs and is right to about eight. The numbers are the same; the order of the additions
#    alone makes a larger difference than that between the backends.

# %% tags=["solution"]
values = read[FIRST][f"heatmaps trained_{FIRST}"][0].ravel() ** 2
exact = values.astype("float64").sum()
sums = {
    "first to last": np.cumsum(values)[-1],
    "last to first": np.cumsum(values[::-1])[-1],
    "np.sum": np.sum(values),
}
for name, value in sums.items():
    results[name] = abs(value / exact - 1)
    print(f"{name:>13}: {value:.4f}, relative error {results[name]:.1e}")

# %% [markdown] tags=["solution"]
# 2. Keras replaces Adam by a class of its own on PyTorch, and stores the name of this
#    class. It fails in the first step on another backend. With a `custom_object_scope`,
#    the name means the optimiser of the present backend. Steps and moments are in the file,
#    so that the loss goes on from where it was. (Checkpoints of `scn-keras train` are
#    loaded in this way.)

# %% tags=["solution"]
labels = {"points": points, "affine": affines}
source = BACKENDS[-1]
for scope in ({}, {"Adam": keras.optimizers.Adam}):
    try:
        with keras.saving.custom_object_scope(scope):
            moved = keras.saving.load_model(folder / f"trained_{source}.keras")
        moved.jit_compile = False
        steps = int(keras.ops.convert_to_numpy(moved.optimizer.iterations))
        history = moved.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
        break
    except Exception as error:
        print(f"as it is: {type(error).__name__}: {str(error)[:60]}")
before, after = trained[source]["loss"][-1], history.history["loss"][0]
results["continued"] = (before, after)
print(f"{source}: {steps} steps, loss {before:.2f} in its last epoch")
print(f"{keras.backend.backend()}: loss {after:.2f} in the next")

# %% [markdown] tags=["solution"]
# 3. About float16, which has three digits: it moves points by more than half a millimetre
#    here, the backends by less than a micrometre. Decode in float32, also with mixed
#    precision.

# %% tags=["solution"]
heatmaps = read[FIRST][f"heatmaps trained_{FIRST}"]
full, half = (
    keras.ops.convert_to_numpy(HeatmapPeak()(values)["points"])
    for values in (heatmaps, heatmaps.astype("float16").astype("float32"))
)
apart = (np.linalg.norm(half - full, axis=-1) * spacing).max()
results["float16"] = apart
print(f"float16: points move by up to {apart:.4f} mm")

# %% [markdown] tags=["solution"]
# 4. With `ops.where`: both branches are computed, and one of them is chosen. The gradient
#    flows through the chosen one.

# %% tags=["solution"]
WHERE = """
import keras
import numpy as np
from keras import ops


def choice(true, predicted):
    error = ops.mean(ops.square(true - predicted), axis=-1)
    return ops.where(ops.max(error) > 1.0, error, 2.0 * error)


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, use_bias=False)])
model.layers[0].set_weights([np.full((3, 4), 0.5)])
model.compile("sgd", choice)
losses = [model.train_on_batch(np.ones((4, 3)), np.ones((4, 4))) for _ in range(3)]
np.savez(keras.backend.backend(), losses=losses)
"""
for backend, stored in run(WHERE).items():
    results[f"where {backend}"] = stored["losses"]
    print(f"{backend:>10}: losses {', '.join(f'{x:.6f}' for x in stored['losses'])}")

# %% [markdown]
# ## Where this is in the package
#
# [Train on another machine, without TensorFlow](../guides/jax.md): a data set stored as
# arrays is trained on JAX or PyTorch by `scn-keras train RECIPE --arrays FOLDER`, where
# NumPy draws the random numbers of every step. Reading image files, `evaluate` and
# `export` to TF Serving need TensorFlow; the run of another backend is simply read there.
# The tests of the package run on all three backends.

# %% tags=["remove-cell"]
work.cleanup()
