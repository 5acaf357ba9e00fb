# %% [markdown]
# # 1. Heatmap regression from nothing
#
# In this tutorial you write a landmark detector with nothing but NumPy and Keras: about
# 80 lines from images to millimetres. Afterwards you can read every other part of this
# package as a better version of one of these lines.
#
# **You learn**
#
# - what a landmark is to a program, and in which order its coordinates are;
# - why a network draws a *heatmap* instead of stating two numbers;
# - how a point is read from a heatmap more precisely than the size of a pixel;
# - how the error of a detector is measured, in millimetres, on images that it has not
#   seen;
# - three mistakes that no error message reports.
#
# **You need** Python and a little Keras: what a layer is, what `fit` does. It takes about
# five minutes on two cores.

# %%
import os

import keras
import matplotlib.pyplot as plt
import numpy as np

from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST, STEPS = (24, 8, 10) if SMALL else (240, 60, 900)

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Images and points
#
# `generate_hand` draws a radiograph of a left hand and returns where its landmarks are.
# We take five of the 37: two at the wrist, one in the middle, two tips of fingers. Real
# images would be read from files; nothing else would change.

# %%
SIZE = (96, 80)  # rows, columns
NAMES = ("ulnar styloid", "radial styloid", "capitate", "thumb tip", "middle tip")
ROWS = [HAND_SCHEMA.names.index(name) for name in NAMES]


def load(first, count):
    hands = [generate_hand(0, first + n, SIZE) for n in range(count)]
    images = np.stack([hand["image"] for hand in hands])[..., None] / 127.5 - 1.0
    points = np.stack([hand["points"][ROWS] for hand in hands])
    return images.astype("float32"), points, np.array([h["spacing"] for h in hands])


train_images, train_points, _ = load(0, TRAIN)
test_images, test_points, test_spacing = load(10_000, TEST)
train_images.shape, train_points.shape

# %% [markdown]
# The shape of an image is *rows, columns* (y, x). A point is *x, y*. Both orders are
# everywhere in use, and this is the first thing to check in any program: is the point
# drawn where you expect it?

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 3), layout="constrained")
for axis, image, points in zip(axes, train_images, train_points, strict=False):
    axis.imshow(image[..., 0], cmap="gray")
    axis.scatter(points[:, 0], points[:, 1], s=14, c="tab:orange")
    axis.set_axis_off()
_ = figure.suptitle("Training images and their landmarks")

# %% [markdown]
# ## The target: one heatmap for each landmark
#
# A network could be trained to return ten numbers, x and y of five landmarks. It would
# have to learn from few images what a coordinate *is*: that a hand further to the right
# has larger numbers. A convolution has no such idea. It answers the question "does it
# look like a thumb tip *here*?" with the same weights everywhere.
#
# So the target is a picture with a bright spot where the landmark is:
#
# $$g_i(x) = \exp\left(-\frac{\lVert x - p_i \rVert^2}{2 \sigma^2}\right)$$

# %%
SIGMA = 2.5  # pixels


def heatmaps(points, sigma=SIGMA):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    dx = x[..., None] - points[:, None, None, :, 0]
    dy = y[..., None] - points[:, None, None, :, 1]
    return np.exp(-(dx**2 + dy**2) / (2.0 * sigma**2)).astype("float32")


targets = heatmaps(train_points)
figure, axes = plt.subplots(1, len(NAMES), figsize=(9, 2.6), layout="constrained")
for axis, name, heatmap in zip(axes, NAMES, targets[0].transpose(2, 0, 1), strict=True):
    axis.imshow(train_images[0, ..., 0], cmap="gray")
    axis.imshow(heatmap, cmap="magma", alpha=0.6)
    axis.set_title(name, fontsize=9)
    axis.set_axis_off()

# %% [markdown]
# ## The network
#
# A small U-Net: convolutions at three resolutions, so that each output pixel sees most of
# the hand, and a way back to full resolution. Its last layer has one channel for each
# landmark and no activation.

# %%


def network(filters=24, levels=3):
    def convolved(x):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        return x

    inputs = x = keras.Input((*SIZE, 1))
    skips = []
    for _ in range(levels):
        x = convolved(x)
        skips.append(x)
        x = keras.layers.AveragePooling2D(2)(x)
    x = convolved(x)
    for skip in reversed(skips):
        x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = convolved(keras.layers.Add()([x, skip]))
    return keras.Model(inputs, keras.layers.Conv2D(len(NAMES), 3, padding="same")(x))


def squared_error(true, predicted):
    # The sum over pixels: the mean would be tiny, since nearly all pixels are empty.
    return keras.ops.sum(keras.ops.square(true - predicted), axis=(1, 2, 3))


def train(targets):
    model = network()
    model.compile(keras.optimizers.Adam(1e-3), squared_error)
    history = model.fit(
        train_images,
        targets,
        batch_size=8,
        epochs=max(STEPS * 8 // TRAIN, 1),
        verbose=0,
    )
    return model, history.history["loss"]


model, loss = train(targets)
figure, axis = plt.subplots(figsize=(5, 2.5), layout="constrained")
axis.semilogy(loss)
_ = axis.set(xlabel="epoch", ylabel="squared error per image")

# %% [markdown]
# ## From heatmap to point
#
# The brightest pixel is the landmark, to the nearest pixel. The heatmap has more to tell:
# near its peak the logarithm of a Gaussian is a parabola, and three values determine the
# place of a parabola's peak exactly, also between pixels.

# %%


def brightest_pixel(heatmaps):
    flat = heatmaps.reshape(len(heatmaps), -1, heatmaps.shape[-1])
    row, column = np.unravel_index(flat.argmax(axis=1), heatmaps.shape[1:3])
    return np.stack([column, row], axis=-1)


def peaks(heatmaps):
    points = brightest_pixel(heatmaps).astype(float)
    logarithm = np.log(np.maximum(heatmaps, 1e-3))
    for n, k in np.ndindex(points.shape[:2]):
        x, y = points[n, k].astype(int)
        if 0 < x < SIZE[1] - 1 and 0 < y < SIZE[0] - 1:
            for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
                before = logarithm[n, y - dy, x - dx, k]
                after = logarithm[n, y + dy, x + dx, k]
                curvature = before + after - 2.0 * logarithm[n, y, x, k]
                if curvature < 0.0:
                    points[n, k, axis] += 0.5 * (before - after) / curvature
    return points


predicted = model.predict(test_images, verbose=0)


def errors_mm(points):
    distances = np.linalg.norm(points - test_points, axis=-1)
    return distances * test_spacing[:, None]


errors = errors_mm(peaks(predicted))
errors_of_pixels = errors_mm(brightest_pixel(predicted))
print(f"brightest pixel: {errors_of_pixels.mean():.2f} mm")
print(f"peak of the parabola: {errors.mean():.2f} mm")
for name, column in zip(NAMES, errors.T, strict=True):
    print(f"{name:>15}: mean {column.mean():.2f}, largest {column.max():.2f} mm")

# %% [markdown]
# A pixel of these images is about 2 mm wide. What half a pixel costs is the difference of
# the first two lines.

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 3), layout="constrained")
for axis, n in zip(axes, errors.max(axis=1).argsort()[::-1], strict=False):
    axis.imshow(test_images[n, ..., 0], cmap="gray")
    axis.scatter(*test_points[n].T, s=20, facecolors="none", edgecolors="tab:green")
    axis.scatter(*peaks(predicted[n : n + 1])[0].T, s=14, c="tab:orange", marker="x")
    axis.set_title(f"largest error {errors[n].max():.1f} mm", fontsize=9)
    axis.set_axis_off()
_ = figure.suptitle("The worst test images: truth (green), prediction (orange)")

# %% [markdown]
# Always look at the worst images, not at the mean alone. If a landmark is centimetres off,
# its heatmap has usually two spots, and the wrong one is brighter. The next tutorial is
# about that.
#
# ## What goes wrong
#
# **x and y exchanged.** The target is drawn at (y, x). The network learns what it can
# without complaint, and the loss falls; without the first training there would be nothing
# to compare it with. Only a picture, or an error in millimetres on points that were read
# correctly, shows it.

# %%
exchanged, loss_exchanged = train(heatmaps(train_points[..., ::-1]))
errors_exchanged = errors_mm(peaks(exchanged.predict(test_images, verbose=0)))
print(f"loss {loss_exchanged[-1]:.1f}, before {loss[-1]:.1f}")
print(f"error {errors_exchanged.mean():.1f} mm, before {errors.mean():.2f} mm")

# %% [markdown]
# **A spot that is too small.** With σ of half a pixel the target is nearly empty, and an
# empty heatmap is nearly right: the network has little reason to draw anything.

# %%
small_spots, _ = train(heatmaps(train_points, sigma=0.5))
of_small_spots = small_spots.predict(test_images, verbose=0)
errors_small = errors_mm(brightest_pixel(of_small_spots))
print(f"brightest value {of_small_spots.max(axis=(1, 2)).mean():.2f} (1 is right)")
print(f"error {errors_small.mean():.1f} mm, before {errors_of_pixels.mean():.2f} mm")

# %% [markdown]
# **Errors in pixels.** The images have different spacings, as films of different devices
# do. An error in pixels of one image is not comparable to that of another, and nobody can
# judge it. State millimetres, and the spacing that they come from.
#
# ## Exercises
#
# 1. With 24 training images instead of 240, how large is the error? Which landmark
#    suffers most?
# 2. `SIGMA` is a compromise. Train with 1, 2.5 and 6 pixels and compare the errors of
#    `peaks`. Which side of the compromise is steeper?
# 3. Add a landmark that looks like others: `"ring tip"`. Where do its errors come from?
# 4. Missing landmarks are marked by NaN. Where does this program break, and what is the
#    smallest change that ignores them in the loss?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. Set `TRAIN = 24` and run all cells. The error grows several times; look which
#    landmarks suffer most, and whether others look like them.
# 2. The narrow spot is the steeper side: the network finds some landmarks not at all. A
#    wide spot costs precision slowly, since the peak of a wide Gaussian is flat.
# 3. Its largest errors are near the distance between two fingers: the detector finds *a*
#    fingertip. The mean hides that; the picture of the worst images does not.
# 4. `heatmaps` returns NaN for the whole heatmap, and the loss becomes NaN after one
#    step. Replace the NaN targets by the predictions, so that their difference is zero:

# %% tags=["solution"]


def masked_squared_error(true, predicted):
    missing = keras.ops.isnan(true)
    true = keras.ops.where(missing, predicted, true)
    return squared_error(true, predicted)


incomplete = train_points[:8].copy()
incomplete[0, 3] = np.nan
value = masked_squared_error(
    heatmaps(incomplete), model.predict(train_images[:8], verbose=0)
)
print(keras.ops.convert_to_numpy(value).round(1))

# %% [markdown]
# ## Where this is in the package
#
# | here | in scn-keras | what it adds |
# |---|---|---|
# | `heatmaps` | `GaussianHeatmap` | σ is learned, for each landmark and direction |
# | `network` | `SpatialConfigurationNet` | no confused fingertips ([next tutorial](02_why_multiply.ipynb)) |
# | `squared_error` | `HeatmapSquaredError` | missing landmarks, a penalty that keeps σ small |
# | `peaks` | `HeatmapPeak` | a fit of the whole peak, with a covariance |
# | `errors_mm` | `PointError`, `scn-keras evaluate` | intervals, spacing in every direction, volumes |
#
# The idea of heatmaps for landmarks: Pfister, Charles and Zisserman, ICCV 2015. Their
# learned σ: Payer et al., Medical Image Analysis 2019, section 3.

# %% tags=["remove-cell"]
results = {
    "errors": errors,
    "errors_exchanged": errors_exchanged,
    "errors_small": errors_small,
}
