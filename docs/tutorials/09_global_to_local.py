# %% [markdown]
# # 9. From global to local
#
# A heatmap has a value for each pixel: is the landmark here? In the method of this
# tutorial, the network predicts two things for each *patch* of the image: the displacement
# to the landmark, and the probability that the landmark is in the patch. The point is a
# weighted mean of all these votes. A second network then corrects it in a small sub-image.
# You train both stages, look at each of them, and switch parts of them off.
#
# **You learn**
#
# - how displacements and presence of patches give a point: the votes as a picture;
# - why displacements are trained as logarithms, and what the weights are for;
# - what the local stage adds, and what it cannot repair;
# - what happens if a landmark is outside the image, beside a heatmap network.
#
# **You need** the [second tutorial](02_why_multiply.ipynb). It takes about two minutes
# on two cores.

# %%
import os

import keras
import matplotlib.pyplot as plt
import numpy as np

from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.layers import (
    GaussianHeatmap,
    HeatmapPeak,
    LocalRefinement,
    LogDisplacement,
    PatchCenters,
    PatchTarget,
    PatchVote,
)
from scn_keras.losses import HeatmapSquaredError, PatchLoss
from scn_keras.models import (
    GlobalNet,
    GlobalToLocalNet,
    LandmarkModel,
    SpatialConfigurationNet,
)

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST, STEPS = (16, 8, 8) if SMALL else (120, 40, 500)

# %% [markdown]
# ## Hands that are partly outside
#
# Five landmarks of drawn hands. Each image is moved by up to 16 pixels in both
# directions, so that some landmarks leave it. Their points are known all the same: a
# displacement can lead out of the image.

# %%
SIZE = (96, 80)
NAMES = ("radial styloid", "capitate", "index tip", "middle tip", "ring tip")
ROWS = [HAND_SCHEMA.names.index(name) for name in NAMES]


def load(first, count, largest=16):
    images, points, affines = [], [], []
    for n in range(first, first + count):
        hand = generate_hand(0, n, SIZE)
        dx, dy = np.random.default_rng(n).integers(-largest, largest + 1, 2)
        padded = np.pad(hand["image"], largest)
        top, left = largest - dy, largest - dx
        image = padded[top : top + SIZE[0], left : left + SIZE[1]]
        images.append(image[..., None] / 127.5 - 1.0)
        points.append(hand["points"][ROWS] + [dx, dy])
        affines.append(np.diag([hand["spacing"]] * 2 + [1.0]))
    return [np.asarray(part, "float32") for part in (images, points, affines)]


images, points, affines = load(0, TRAIN)
test_images, test_points, test_affines = load(10_000, TEST)
last = np.array(SIZE[::-1]) - 1
inside = ((test_points >= 0) & (test_points <= last)).all(axis=-1)
print(f"{inside.sum()} test landmarks are inside, {(~inside).sum()} outside")

# %% [markdown]
# ## What a patch has to learn
#
# The image is divided into patches of 16 x 16 pixels. For each patch and landmark there
# are three numbers: presence (1 for the one patch that contains the landmark) and the
# displacement in x and y from the centre of the patch. `PatchTarget` computes them from
# points.

# %%
PATCH = 16
MIDDLE = NAMES.index("middle tip")
to_pixels = LogDisplacement(inverse=True)
shape = (1, SIZE[0] // PATCH, SIZE[1] // PATCH, len(NAMES), 3)
centers = keras.ops.convert_to_numpy(PatchCenters(PATCH)(np.zeros(shape[:3] + (1,))))[0]


def arrows(axis, n, votes, source):
    """Draws the votes of all patches for the middle fingertip."""
    moved = keras.ops.convert_to_numpy(to_pixels(votes[..., 1:]))
    x, y = centers[..., 0].ravel(), centers[..., 1].ravel()
    dx, dy = moved[..., 0].ravel(), moved[..., 1].ravel()
    axis.imshow(source[n, ..., 0], cmap="gray")
    weight = votes[..., 0].ravel()
    style = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006}
    drawn = axis.quiver(x, y, dx, dy, weight, cmap="plasma", clim=(0, 1), **style)
    axis.set(xlim=(-0.5, SIZE[1] - 0.5), ylim=(SIZE[0] - 0.5, -12))
    axis.set_axis_off()
    return drawn


target = PatchTarget(len(NAMES), PATCH)(points[:1], np.zeros(shape, "float32"))
target = keras.ops.convert_to_numpy(target)[0, :, :, MIDDLE]
figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
drawn = arrows(axis, 0, target, images)
axis.set_title("Targets of the middle fingertip", fontsize=9)
_ = figure.colorbar(drawn, label="presence", shrink=0.7)

# %% [markdown]
# ## Logarithms
#
# In a patch at the wrist no fingertip is visible. The direction follows from the position
# of the wrist, but not to a pixel. If displacements were trained in pixels, the loss would
# consist of these distant errors. `LogDisplacement` trains sign(d) log10(|d| + 1):

# %%
logarithm = LogDisplacement()
for distance in (0.0, 5.0, 60.0):
    ends = np.array([distance, distance + 1.0], "float32")
    near, far = keras.ops.convert_to_numpy(logarithm(ends))
    print(f"an error of 1 pixel at a distance of {distance:2.0f}: {far - near:.3f}")

# %% [markdown]
# ## Training
#
# `GlobalNet` is a small residual network that returns the votes. `LocalRefinement` holds
# one small network for each landmark; its input is a sub-image of 16 x 16 pixels. In
# training, this sub-image is placed at random around the *true* point, so that the local
# networks learn nothing about the mistakes of the global one, and both can be trained in
# one `fit`.
#
# For comparison, a SpatialConfiguration-Net is trained on the same images with the same
# number of steps.

# %%
BATCH = 8
CALLS = {"epochs": max(STEPS * BATCH // TRAIN, 1), "batch_size": BATCH, "verbose": 0}
labels = {"points": points, "affine": affines}


def adam():
    steps = CALLS["epochs"] * TRAIN // BATCH
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            0.0, steps, warmup_target=2e-3, warmup_steps=steps // 20 + 1
        )
    )


keras.utils.set_random_seed(0)
network = GlobalNet(len(NAMES), (*SIZE, 1), filters=8, blocks=(1, 1, 1), reductions=4)
local = LocalRefinement(len(NAMES), size=16, filters=16, convolutions=2)
model = GlobalToLocalNet(network, local)
model.compile(adam(), PatchLoss(20.0), jit_compile=False)
model.fit(images, labels, **CALLS)

scn = LandmarkModel(
    SpatialConfigurationNet(
        len(NAMES),
        (*SIZE, 1),
        filters=12,
        levels=3,
        dropout=0.0,
        spatial_kernel_size=7,
        spatial_factor=8,
    ),
    GaussianHeatmap(len(NAMES), sigma=2.0, gamma=100.0),
    HeatmapPeak(),
)
scn.compile(adam(), HeatmapSquaredError("sum"), jit_compile=False)
_ = scn.fit(images, labels, **CALLS)

# %% [markdown]
# ## The votes
#
# The first test image with the middle fingertip inside. Left: the votes of all patches,
# coloured by the predicted presence. Right: the places that they point to, larger if
# presence is larger, and their weighted mean.

# %%
GLOBAL = LandmarkModel(network)  # the first stage alone, with the same weights


def predict(model, images):
    return model.localizer.predict(images, verbose=0)


def as_shown(votes):
    """Returns votes with the presence as a probability."""
    shown = votes.copy()
    shown[..., 0] = 1.0 / (1.0 + np.exp(-votes[..., 0]))
    return shown


votes = network.predict(test_images, verbose=0)
both, first, of_scn = (predict(m, test_images) for m in (model, GLOBAL, scn))
n = int(inside[:, MIDDLE].argmax())
figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
one = as_shown(votes[n, :, :, MIDDLE])
drawn = arrows(axes[0], n, one, test_images)
figure.colorbar(drawn, label="presence", shrink=0.7)
ends = centers + keras.ops.convert_to_numpy(to_pixels(one[..., 1:]))
axes[1].imshow(test_images[n, ..., 0], cmap="gray")
axes[1].scatter(
    *ends.reshape(-1, 2).T, s=8 + 120 * one[..., 0].ravel(), c="tab:blue", alpha=0.6
)
for points_of, marker, label in (
    (test_points, "o", "truth"),
    (first["points"], "x", "weighted mean"),
    (both["points"], "+", "after the local stage"),
):
    axes[1].scatter(*points_of[n, MIDDLE], s=70, marker=marker, label=label)
axes[1].set(
    xlim=test_points[n, MIDDLE, 0] + [-20, 20],
    ylim=test_points[n, MIDDLE, 1] + [20, -20],
)
axes[1].legend(fontsize=8)
axes[1].set_axis_off()

# %% [markdown]
# This is a difficult image for the first stage: all arrows are dark, so that no patch is
# certain that the fingertip is in it, and the places scatter. Their mean is a few pixels
# beside the fingertip. It is enough for the second stage to look at the right finger, and
# to come nearer.
#
# ## Global, and global to local

# %%
spacing = test_affines[:, 0, 0][:, None]


def errors_mm(found):
    return np.linalg.norm(found - test_points, axis=-1) * spacing


TIPS = [NAMES.index(f"{finger} tip") for finger in ("index", "middle", "ring")]


def confused(found):
    """Counts fingertips inside the image that are nearest to another fingertip."""
    apart = np.linalg.norm(found[:, TIPS, None] - test_points[:, None, TIPS], axis=-1)
    return int(((apart.argmin(-1) != np.arange(3)) & inside[:, TIPS]).sum())


methods = {
    "global": first["points"],
    "global to local": both["points"],
    "SCN": of_scn["points"],
}
results = {}
print(f"{'landmarks inside':>20}   mean  median  above 10 mm  confused")
for name, found in methods.items():
    errors = errors_mm(found)[inside]
    results[name] = (errors.mean(), np.median(errors), (errors > 10).mean())
    print(
        f"{name:>20}  {results[name][0]:5.2f}   {results[name][1]:5.2f}"
        f"  {(errors > 10).sum():11d}  {confused(found):8d}"
    )

# %% [markdown]
# ## One part switched off
#
# The weights of the mean are the probabilities of presence. Three changes of the votes
# show what they are for: all patches have the same weight; only the most probable patch
# votes; the most probable patch is *excluded*.

# %%
vote = PatchVote(PATCH)


def combined(votes):
    return keras.ops.convert_to_numpy(vote(votes)["points"])


def changed(kind):
    logits = votes[..., 0].copy()
    highest = logits == logits.max(axis=(1, 2), keepdims=True)
    if kind == "all patches alike":
        logits[:] = 0.0
    elif kind == "the best patch alone":
        logits[~highest] = -50.0
    elif kind == "without the best patch":
        logits[highest] = -50.0
    return np.concatenate([logits[..., None], votes[..., 1:]], axis=-1)


kinds = (
    "as trained",
    "all patches alike",
    "the best patch alone",
    "without the best patch",
)
for kind in kinds:
    errors = errors_mm(combined(changed(kind)))[inside]
    results[kind] = (errors.mean(), np.median(errors))
    print(f"{kind:>22}: mean {errors.mean():5.2f} mm, median {np.median(errors):5.2f}")

# %% [markdown]
# The local stage makes most of the precision: the median falls from five pixels to one
# (a pixel is about 2 mm wide). With equal weights, distant patches have as much influence
# as near ones, and the error grows. The single best patch is nearly as good as the mean,
# since most of the weight is on it anyway.
#
# In the last line this patch is ignored, and the others decide. The error grows by half,
# but the points do not fall apart: the other patches point at the landmark as well. How
# much this is worth is shown by the cover below.
#
# ## A landmark that is not there
#
# First the landmarks *outside* the image. A vote can point there; a heatmap ends at the
# border. Then a cover, as of metal, on the middle fingertip: 16 x 16 pixels of black.

# %%
print(f"{'landmarks outside':>20}  mean error mm  median score  (inside)")
for name, output in (("global", first), ("global to local", both), ("SCN", of_scn)):
    errors, score = errors_mm(output["points"])[~inside], output["score"]
    results[f"outside {name}"] = (errors.mean(), np.median(score[~inside]))
    print(
        f"{name:>20}  {errors.mean():13.2f}  {np.median(score[~inside]):12.3f}"
        f"  ({np.median(score[inside]):.3f})"
    )

covered = test_images.copy()
for n, (x, y) in enumerate(test_points[:, MIDDLE].round().astype(int)):
    covered[n, max(y - 8, 0) : max(y + 8, 0), max(x - 8, 0) : max(x + 8, 0)] = -1.0
rows = inside[:, MIDDLE]
print(f"{'covered fingertip':>20}  median error mm (before)  median score (before)")
for name, part, plain in (
    ("global", GLOBAL, first),
    ("global to local", model, both),
    ("SCN", scn, of_scn),
):
    output = predict(part, covered)
    after, before = (
        np.median(errors_mm(found["points"])[rows, MIDDLE]) for found in (output, plain)
    )
    score, usual = (
        np.median(found["score"][rows, MIDDLE]) for found in (output, plain)
    )
    results[f"covered {name}"] = (after, score)
    print(f"{name:>20}  {after:15.2f} ({before:.2f})  {score:15.2f} ({usual:.2f})")

# %% [markdown]
# A point is returned in any case, and outside the image all three are off by two or
# three centimetres. The *score* tells. The presence of the global
# stage is 1 inside and nearly 0 outside, which is the clearest sign of the three.
#
# Under the cover, the global stage loses least: most of its patches
# see no fingertip at any time and point at it nevertheless. The local stage leads its
# estimate *away* to something that looks like a fingertip, and the heatmaps of the SCN
# have nothing to peak at.
#
# ## What goes wrong
#
# **The sub-image is too small.** The local stage sees 16 x 16 pixels around the global
# point. If the landmark is not in there, the local networks cannot find it.

# %%
apart = np.abs(first["points"] - test_points).max(axis=-1)
for title, rows in (
    ("landmark in the sub-image", inside & (apart < 8)),
    ("landmark not in it", inside & (apart >= 8)),
):
    before, after = (errors_mm(o["points"])[rows] for o in (first, both))
    if rows.any():
        print(
            f"{title}: {rows.sum()} landmarks, mean error {before.mean():.2f} mm, "
            f"after the local stage {after.mean():.2f} mm"
        )

# %% [markdown]
# So `size` is chosen by the errors of the global stage: a few times their usual size. And
# the mean error of the whole method is made by those landmarks whose sub-image was in the
# wrong place: improve the first stage, not the second.
#
# **Other sizes of images.** The patches must fill the image. The remaining pixels are not
# ignored silently:

# %%
try:
    GlobalNet(len(NAMES), (90, 80, 1), filters=8, blocks=(1, 1, 1), reductions=4)
except ValueError as error:
    print(error)

# %% [markdown]
# **Neighbours alike.** Nothing here relates landmarks to each other. In the table of
# methods, compare the column *confused*: the receptive field of the global network covers
# the whole of these small images, and it has to learn from the surroundings which
# fingertip is which. The SpatialConfiguration-Net has a part for just that
# ([tutorial 2](02_why_multiply.ipynb)), confuses no fingertip here, and has a quarter of
# the mean error. The comparison is not fair in one respect: 500 steps on 120 images are
# little for this first stage, which the paper trains for many times as long. On
# cephalograms, after 7,000 steps, the SCN is ahead by less
# ([results](../experiments.md#from-global-to-local)).
#
# ## Exercises
#
# 1. Weight the votes by p² and by the square root of p. Which side is better, and why?
# 2. `covariance` is that of the votes. Are the errors of the global stage larger where
#    the votes disagree?
# 3. Apply the local stage a second time, around its own points. Does it help?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. The next cell: hardly any difference, since the largest p is mostly near 1 and the
#    others near 0, whatever their power. The weights act as a choice of one patch or two.
# 2. A little, but not reliably: compare the two halves in the output. The covariance
#    cannot see an error that all votes share. Radii must be calibrated on held-out images
#    ([uncertainty](../guides/uncertainty.md)).
# 3. A little: some landmarks that were at the border of the first sub-image, or just
#    outside, are nearer to the centre of the second one. Those far away stay there.

# %% tags=["solution"]
p = 1.0 / (1.0 + np.exp(-votes[..., 0]))
places = centers[:, :, None] + keras.ops.convert_to_numpy(to_pixels(votes[..., 1:]))
for power in (0.5, 1.0, 2.0):
    weight = p**power / (p**power).sum(axis=(1, 2), keepdims=True)
    found = (weight[..., None] * places).sum(axis=(1, 2))
    results[f"power {power}"] = errors_mm(found)[inside].mean()
    print(f"p to the power of {power}: {results[f'power {power}']:.2f} mm")

extent = np.sqrt(np.trace(first["covariance"], axis1=-2, axis2=-1))[inside]
errors = errors_mm(first["points"])[inside]
wide = extent > np.median(extent)
print(
    f"votes agree: {errors[~wide].mean():.2f} mm, disagree: {errors[wide].mean():.2f}"
)

twice = local(test_images, both["points"])["points"]
errors = errors_mm(keras.ops.convert_to_numpy(twice))[inside]
results["twice"] = errors.mean()
print(f"local stage applied twice: {errors.mean():.2f} mm")

# %% [markdown]
# ## Where this is in the package
#
# `scn-keras train hand_global_to_local` trains the published network on radiographs of
# hands, and `cephalogram_global_to_local` on cephalograms. A SpatialConfiguration-Net can
# be the first stage as well. The guide [From global to local](../guides/global_to_local.md)
# has the sizes, the choices, and what it reaches.
#
# Noothout, De Vos, Wolterink, Postma, Smeets, Takx, Leiner, Viergever and Išgum, IEEE
# Transactions on Medical Imaging 39(12), 2020.
