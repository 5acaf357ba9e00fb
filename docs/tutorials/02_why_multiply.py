# %% [markdown]
# # 2. Why multiply
#
# One fingertip looks like the next. A network that sees a small neighbourhood finds
# *a* fingertip precisely, but not *which*. A network that sees the whole hand knows which,
# but not precisely where. The SpatialConfiguration-Net multiplies the heatmaps of both. In
# this tutorial you watch the three heatmaps while they are trained, switch one factor off,
# and count fingers that are confused.
#
# **You learn**
#
# - what *local appearance* and *spatial configuration* are, as layers and as pictures;
# - how two branches share a task although only their product has a loss;
# - how to measure confusion, which a mean error hides;
# - what the product cannot repair.
#
# **You need** the [first tutorial](01_heatmaps.ipynb). This one takes about three minutes
# on two cores.

# %%
import os

import keras
import matplotlib.pyplot as plt
import numpy as np

from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.layers import GaussianHeatmap, HeatmapPeak, LocalAppearance
from scn_keras.losses import HeatmapSquaredError
from scn_keras.models import LandmarkModel, SpatialConfigurationNet

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST, STEPS = (16, 8, 12) if SMALL else (200, 50, 900)

# %% [markdown]
# ## Four fingers, sixteen landmarks
#
# Each finger has four landmarks: the bases of its three bones, and its tip. We train on
# these sixteen and leave the rest of the hand out, to make confusion easy.

# %%
SIZE = (96, 80)
FINGERS = ("index", "middle", "ring", "little")
JOINTS = ("proximal base", "middle base", "distal base", "tip")
NAMES = [f"{finger} {joint}" for joint in JOINTS for finger in FINGERS]
ROWS = [HAND_SCHEMA.names.index(name) for name in NAMES]


def load(first, count):
    hands = [generate_hand(0, first + n, SIZE) for n in range(count)]
    images = np.stack([hand["image"] for hand in hands])[..., None] / 127.5 - 1.0
    points = np.stack([hand["points"][ROWS] for hand in hands])
    # From pixels to millimetres: the spacing on the diagonal.
    affines = np.stack([np.diag([h["spacing"]] * 2 + [1.0]) for h in hands])
    return images.astype("float32"), points, affines.astype("float32")


train_images, train_points, train_affines = load(0, TRAIN)
test_images, test_points, test_affines = load(10_000, TEST)

# %% [markdown]
# ## The two branches
#
# *Local appearance* is a small U-Net with two levels here: each of its output pixels sees
# about a fingertip's surroundings and no more. *Spatial configuration* sees no image at
# all. Its input are the local appearance heatmaps, reduced by a factor of eight, and large
# kernels
# relate them: "a middle fingertip is above and to the right of a ring fingertip".

# %%
SETTINGS = {"filters": 32, "levels": 2, "dropout": 0.0}


def scn():
    return SpatialConfigurationNet(
        len(NAMES),
        (*SIZE, 1),
        spatial_kernel_size=7,
        spatial_factor=8,
        **SETTINGS,
    )


def local_appearance_alone():
    image = keras.Input((*SIZE, 1))
    return keras.Model(image, LocalAppearance(len(NAMES), **SETTINGS)(image))


# %% [markdown]
# `LandmarkModel` adds what the first tutorial wrote by hand: it draws the target heatmaps
# from points, and reads points from heatmaps. A callback keeps the heatmaps of a test image at three times of
# the training.

# %%
BATCH = 4
EPOCHS = max(STEPS * BATCH // TRAIN, 1)
CALLS = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0}


def landmark_model(network):
    target = GaussianHeatmap(len(NAMES), sigma=2.0, gamma=100.0)
    model = LandmarkModel(network, target, HeatmapPeak())
    steps = EPOCHS * TRAIN // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=1e-3, warmup_steps=steps // 50 + 1
    )
    model.compile(keras.optimizers.Adam(rate), HeatmapSquaredError("sum"))
    return model


class Watch(keras.callbacks.Callback):
    """Keeps the three heatmaps of one test image at a few epochs."""

    def __init__(self, network, image, epochs):
        super().__init__()
        names = ("local_appearance", "spatial_configuration")
        factors = [network.get_layer(name).output for name in names]
        self.inner = keras.Model(network.input, [*factors, network.output])
        self.image, self.epochs, self.seen = image, epochs, {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 in self.epochs:
            maps = self.inner.predict(self.image[None], verbose=0)
            self.seen[epoch + 1] = [part[0] for part in maps]


keras.utils.set_random_seed(0)
network = scn()
model = landmark_model(network)
watch = Watch(network, test_images[0], {1, max(EPOCHS // 6, 2), EPOCHS})
targets = {"points": train_points, "affine": train_affines}
history = model.fit(train_images, targets, callbacks=[watch], **CALLS)

# %% [markdown]
# ## Watching the factors
#
# The landmark is the tip of the ring finger. From left to right: local appearance, spatial
# configuration, product; from top to bottom: early, later, at the end.

# %%
RING_TIP = NAMES.index("ring tip")
TITLES = ("local appearance", "spatial configuration", "product")


def show(axis, heatmap, title):
    largest = np.abs(heatmap).max() or 1.0
    axis.imshow(test_images[0, ..., 0], cmap="gray")
    axis.imshow(heatmap / largest, cmap="RdBu_r", alpha=0.6, vmin=-1, vmax=1)
    axis.plot(*test_points[0, RING_TIP], "o", mfc="none", mec="tab:green")
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


figure, axes = plt.subplots(
    len(watch.seen), 3, figsize=(7.5, 2.8 * len(watch.seen)), layout="constrained"
)
for row, (epoch, maps) in zip(axes, watch.seen.items(), strict=True):
    for axis, title, part in zip(row, TITLES, maps, strict=True):
        show(axis, part[..., RING_TIP], f"{title}, epoch {epoch}")

# %% [markdown]
# After the first epoch, spots at wrong places (a marker, other fingers) are still there.
# Then the factors divide the work, and nobody told them how: the loss sees the product
# alone. Local appearance responds at several fingertips, sharply.
# Spatial configuration has one broad spot, at the right finger. Where one of the factors is
# zero, the product is zero, whatever the other is. The sign of the factors is free: blue is
# negative, and the product of two negative numbers is positive.
#
# ## One factor switched off
#
# The same local appearance network, trained on its own, must decide alone.

# %%
keras.utils.set_random_seed(0)
alone = landmark_model(local_appearance_alone())
alone.fit(train_images, targets, **CALLS)

# %% [markdown]
# A point is *confused* if it is nearer to the same joint of another finger than to its
# own. This counts exactly the mistake that the product should prevent. For comparison we
# also read points from the local appearance heatmaps inside the trained network (their
# absolute values): nothing requires these to be right on their own.

# %%


def located(heatmaps):
    return keras.ops.convert_to_numpy(HeatmapPeak()(heatmaps)["points"])


def confused(points):
    count = 0
    for first in range(0, len(NAMES), len(FINGERS)):
        joint = slice(first, first + len(FINGERS))
        distances = np.linalg.norm(
            points[:, joint, None] - test_points[:, None, joint], axis=-1
        )
        count += int((distances.argmin(-1) != np.arange(len(FINGERS))).sum())
    return count


spacing = test_affines[:, 0, 0][:, None]
local, _, product = watch.inner.predict(test_images, verbose=0)
readings = {
    "product": located(product),
    "local appearance inside": located(np.abs(local)),
    "local appearance alone": located(alone.network.predict(test_images, verbose=0)),
}
results = {}
print(f"{'heatmaps':>24}  confused of {test_points[..., 0].size}  error mm  median")
for name, points in readings.items():
    errors = np.linalg.norm(points - test_points, axis=-1) * spacing
    results[name] = (confused(points), errors.mean(), np.median(errors))
    print(
        f"{name:>24}  {results[name][0]:>15}  {errors.mean():8.2f}  {results[name][2]:6.2f}"
    )

# %% [markdown]
# Compare *median* and *mean*. Where local appearance alone finds the right finger, it is
# within a millimetre as well. Its mean error is made by the points on the wrong finger.
# That is why the mean of one method is not enough to understand it.

# %%
worst = np.linalg.norm(readings["local appearance alone"] - test_points, axis=-1)
n = int(worst.max(axis=1).argmax())
figure, axes = plt.subplots(1, 2, figsize=(6, 3.6), layout="constrained")
for axis, name in zip(axes, ("local appearance alone", "product"), strict=True):
    axis.imshow(test_images[n, ..., 0], cmap="gray")
    for true, found in zip(test_points[n], readings[name][n], strict=True):
        axis.plot(*np.transpose([true, found]), color="tab:orange", lw=1.5)
    axis.plot(*test_points[n].T, "o", ms=4, mfc="none", mec="tab:green")
    axis.set_title(name, fontsize=9)
    axis.set_axis_off()

# %% [markdown]
# ## What goes wrong
#
# - **The product cannot repair what local appearance does not see.** If its heatmap is zero
#   at the landmark, for example under a metal part, the product is zero as well: spatial
#   configuration says *where* a landmark should be, but the product does not move it there.
#   The low score says so ([uncertainty](../guides/uncertainty.md)).
# - **A factor that dies.** If both factors are near zero everywhere, neither gets a
#   gradient. The heads start with small random weights, and the first steps of the
#   training use a rising learning rate for this reason. A rate that is too high does the
#   same later on.
# - **Large receptive fields.** With four levels instead of two, local appearance sees the
#   whole of these small images and is hardly ambiguous any more: there is nothing left to
#   show. At the resolution of real radiographs this does not happen.
# - **Hands in other poses than those of the training.** Spatial configuration has learned
#   how hands lie. Turn a test image by 90 degrees, and it points elsewhere.
#
# ## Exercises
#
# 1. Add the two heatmaps instead of multiplying them (`keras.layers.Add`). What happens to
#    the number of confused points, and why?
# 2. Set `levels=4`. How many points of local appearance alone are confused now?
# 3. Blank out the tip of the ring finger in a test image. What do the three heatmaps show,
#    and where is the point?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. A sum is large where *either* part is: the sharp spots on other fingers stay, only a
#    little lower than the right one. A product acts as *and*, a sum as *or*.
# 2. Far fewer: at 96 x 80 pixels four levels see nearly the whole hand. The measure of
#    what is local is the receptive field relative to the distance of the look-alikes.
# 3. The following cell does it, and prints the largest absolute value near the tip, where
#    the edge of the blank part has a response, too. Both factors are lower, and the product
#    drops most. The point moves to the next place with a response: its score is lower, and
#    it is wrong.

# %% tags=["solution"]
x, y = test_points[0, RING_TIP].astype(int)
place = (slice(max(y - 9, 0), y + 9), slice(max(x - 7, 0), x + 7))
blank = test_images[0].copy()
blank[place] = blank[:8, :8].mean()
before = watch.inner.predict(test_images[:1], verbose=0)
after = watch.inner.predict(blank[None], verbose=0)
for title, one, other in zip(TITLES, before, after, strict=True):
    values = [np.abs(part[0, ..., RING_TIP][place]).max() for part in (one, other)]
    print(f"{title:>22}: {values[0]:.2f} at the tip, blank {values[1]:.2f}")
moved = np.linalg.norm(located(after[2])[0, RING_TIP] - test_points[0, RING_TIP])
print(f"The point is {moved * spacing[0, 0]:.1f} mm from the truth.")

# %% [markdown]
# ## Where this is in the package
#
# `SpatialConfigurationNet` has the layers `local_appearance` and `spatial_configuration`;
# `scn-keras explain` shows both for any model and image
# ([Seeing the method](../guides/seeing.md)). The count of confused fingers on the whole
# recipe, at higher resolution, is in the
# [results](../experiments.md#does-it-need-the-spatial-configuration).
#
# Payer, Štern, Bischof and Urschler, Medical Image Analysis 54, 2019, sections 3.1 and 3.2.
