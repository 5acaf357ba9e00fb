"""
Title: Landmark localization with heatmaps
Author: The scn-keras authors
Date created: 2026/11/30
Last modified: 2026/11/30
Description: Locating named points by heatmaps of a SpatialConfiguration-Net.
Accelerator: None
"""

"""
## Introduction

A landmark is a point that has a name, such as the left elbow. A model that outputs its
two coordinates has to learn what a coordinate is. With few images, as in medicine,
models draw a *heatmap* for each landmark instead, an image that is bright where the
landmark is. A convolution does this with the same weights everywhere.

Many landmarks look alike: a knee like an elbow, the left knee like the right one. The
[SpatialConfiguration-Net](https://doi.org/10.1016/j.media.2019.03.007) (Payer et al.,
2019) multiplies two heatmaps for each landmark. The first has a small receptive field:
it is precise, but responds at many joints. The second is computed from the first
heatmaps of *all* landmarks: it is coarse, but responds in one place only.

Two details matter as much as the network: a missing landmark must not contribute to the
loss, and a flip exchanges left and right in the image *and* in the names. We measure
what each of them is worth. Nothing is downloaded; two CPU cores need about two minutes.

## Setup
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

NUM_TRAINING_IMAGES, NUM_VALIDATION_IMAGES, NUM_TEST_IMAGES = 200, 50, 100
EPOCHS, BATCH_SIZE = 20, 4
SIZE = 96  # pixels of an image, in both directions
STRIDE = 2  # pixels of the image for each pixel of a heatmap
SIGMA = 1.5  # width of the target heatmaps, in their pixels

JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
NAMES = [f"{side} {joint}" for joint in JOINTS for side in ("left", "right")]
# The order of the landmarks in a mirror image: right, left, right, left, ...
SWAPPED = [index + 1 if index % 2 == 0 else index - 1 for index in range(len(NAMES))]

"""
## Data: drawn skeletons

We draw front views of small skeletons, whose bones all look alike. Position, size,
rotation, pose and the width of a pixel in millimeters vary. A point is `(x, y)` in
pixels, while an image is indexed by `[y, x]`. Landmarks outside the image are missing,
and so is a tenth of the training points, as if nobody had annotated them. A missing
point is NaN, never `(0, 0)`: that is a position, and a model would learn it.
"""


def random_limb(random, start, sign, angle, bend):
    points = [np.array(start) * (sign, 1.0)]
    for _ in range(2):
        step = np.array([sign * np.sin(angle), np.cos(angle)])
        points.append(points[-1] + random.uniform(5.5, 6.5) * step)
        angle += random.uniform(-bend, bend)
    return points


def random_pose(random):  # in millimeters, from a point between the hips
    points = np.zeros((len(NAMES), 2))
    for side, sign in enumerate((1.0, -1.0)):  # it looks at us: its left is our right
        arm = random_limb(random, (3.5, -10.0), sign, random.uniform(0.2, 1.5), 0.8)
        leg = random_limb(random, (2.5, 0.0), sign, random.uniform(0.0, 0.6), 0.4)
        points[side::2] = arm + leg
    return points


def draw_bone(image, start, end, width):
    y, x = np.mgrid[:SIZE, :SIZE]
    dx, dy = end - start
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx**2 + dy**2)
    along = along.clip(0.0, 1.0)
    distance = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    width = width * (1.0 + 0.5 * np.abs(2.0 * along - 1.0) ** 4)  # wider at its ends
    np.maximum(image, np.exp(-((distance / width) ** 2)), out=image)


def draw_skeleton(random):
    spacing = random.uniform(0.36, 0.44)  # millimeters per pixel
    cos, sin = np.cos(tilt := random.normal(0.0, 0.15)), np.sin(tilt)
    points = random_pose(random) @ np.array([[cos, sin], [-sin, cos]])
    points *= random.uniform(0.8, 1.15) / spacing
    points += SIZE / 2 + random.uniform(-12.0, 12.0, 2)
    image, width = np.zeros((SIZE, SIZE)), 0.8 / spacing
    for first in (0, 1, 2, 3, 6, 7, 8, 9):  # from each joint to the next of its limb
        draw_bone(image, points[first], points[first + 2], width)
    for first in (0, 6):  # from left to right
        draw_bone(image, points[first], points[first + 1], width)
    draw_bone(image, points[:2].mean(axis=0), points[6:8].mean(axis=0), width)
    image = 0.8 * image + random.normal(0.0, 0.1, image.shape)
    points[((points < 0.0) | (points > SIZE - 1.0)).any(axis=-1)] = np.nan
    return image[..., None].astype("float32"), points.astype("float32"), spacing


def make_data(seed, count, not_annotated=0.0):
    random = np.random.default_rng(seed)
    drawn = [draw_skeleton(random) for _ in range(count)]
    images, points, spacings = map(np.stack, zip(*drawn, strict=True))
    points[random.uniform(size=points.shape[:2]) < not_annotated] = np.nan
    return images, points, spacings


train_images, train_points, _ = make_data(1, NUM_TRAINING_IMAGES, not_annotated=0.1)
val_images, val_points, _ = make_data(2, NUM_VALIDATION_IMAGES)
test_images, test_points, test_spacings = make_data(3, NUM_TEST_IMAGES)


def show(axis, picture, title, points=None):
    axis.imshow(np.abs(picture), cmap="gray")
    if points is not None:
        colors = ["tab:green", "tab:orange"] * len(JOINTS)  # left, right
        axis.scatter(points[:, 0], points[:, 1], s=16, c=colors)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


_, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for index, axis in enumerate(axes):
    show(axis, train_images[index, ..., 0], f"image {index}", train_points[index])
plt.show()

"""
## Augmentation: a flip exchanges the names

In a mirror image, the left knee is where a right knee is expected, and looks like one.
So the flip mirrors x *and* puts each point in the row of its partner. Without the
second, half of the training images contradict the other half.
"""


def with_flipped(images, points, swap):
    mirrored = points * (-1.0, 1.0) + (SIZE - 1.0, 0.0)
    mirrored = mirrored[:, SWAPPED] if swap else mirrored
    images = np.concatenate([images, images[:, :, ::-1]])
    return images, np.concatenate([points, mirrored]).astype("float32")


"""
## Loss: heatmaps are drawn from points, missing points have no weight

The targets stay points. The loss draws a Gaussian for each, as the product of a column
and a row. The `where` is necessary: a NaN that is multiplied by zero is still NaN.
"""


class HeatmapLoss(keras.losses.Loss):
    def call(self, points, heatmaps):
        points = (points + 0.5) / STRIDE - 0.5  # from pixels of the image
        is_known = ops.logical_not(ops.isnan(points))
        points = ops.where(is_known, points, 0.0)
        positions = ops.arange(SIZE // STRIDE, dtype="float32")
        squares = (positions - points[..., None]) ** 2  # (batch, landmarks, 2, SIZE)
        gaussians = ops.exp(-squares / (2.0 * SIGMA**2))
        target = ops.einsum("blx,bly->byxl", gaussians[:, :, 0], gaussians[:, :, 1])
        weight = ops.cast(is_known[:, None, None, :, 0], "float32")
        return ops.sum(weight * (heatmaps - target) ** 2, axis=(1, 2, 3))


"""
## Model: a product of two heatmaps

The first convolutions see 21 pixels, a joint and a part of its bones. Their heatmaps
are the *only* input of the second part, which relates the landmarks to each other at a
quarter of the resolution.
"""


def spatial_configuration_net(filters=32):
    def convolve(x, kernel_size, **options):
        x = layers.Conv2D(filters, kernel_size, padding="same", **options)(x)
        return layers.LeakyReLU(0.1)(x)

    image = keras.Input((SIZE, SIZE, 1))
    x = convolve(image, 5, strides=STRIDE)
    for _ in range(3):
        x = convolve(x, 3)
    local = layers.Conv2D(len(NAMES), 3, padding="same", name="local")(x)
    x = layers.AveragePooling2D(4)(local)
    x = convolve(convolve(x, 7), 7)
    x = layers.Conv2D(len(NAMES), 7, padding="same")(x)
    spatial = layers.UpSampling2D(4, interpolation="bilinear", name="spatial")(x)
    return keras.Model(image, layers.Multiply()([local, spatial]))


def train(points, swap):
    keras.utils.set_random_seed(0)
    model = spatial_configuration_net()
    images, points = with_flipped(train_images, points, swap)
    steps = EPOCHS * len(images) // BATCH_SIZE
    warmup = {"warmup_target": 1e-3, "warmup_steps": steps // 20 + 1}
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, **warmup)
    model.compile(keras.optimizers.Adam(rate), HeatmapLoss())
    options = {"validation_data": (val_images, val_points), "verbose": 2}
    model.fit(images, points, batch_size=BATCH_SIZE, epochs=EPOCHS, **options)
    return model


model = train(train_points, swap=True)

"""
The two factors were never trained on their own. For the left knee of a test image, the
first responds at several joints, the second on one side.
"""

inner = [model.get_layer(name).output for name in ("local", "spatial")]
factors = keras.Model(model.input, [*inner, model.output])
titles = ("local appearance", "spatial configuration", "product")
_, axes = plt.subplots(1, 4, figsize=(10, 2.8))
show(axes[0], test_images[0, ..., 0], "left green, right orange", test_points[0])
heatmaps = factors.predict(test_images[:1], verbose=0)
for axis, title, heatmap in zip(axes[1:], titles, heatmaps, strict=True):
    show(axis, heatmap[0, ..., NAMES.index("left knee")], title)
plt.show()

"""
## From heatmaps to points

A pixel of a heatmap is 0.8 mm wide. The logarithm of a Gaussian is a parabola, and
three values determine its peak, also between pixels.
"""


def peak(heatmap):
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    row, column = np.clip((row, column), 1, SIZE // STRIDE - 2)
    window = np.log(heatmap[row - 1 : row + 2, column - 1 : column + 2].clip(1e-3))
    point = np.array([column, row], "float32")
    for axis, (before, here, after) in enumerate((window[1], window[:, 1])):
        curvature = before - 2.0 * here + after
        if curvature < 0.0:
            point[axis] += np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)
    return (point + 0.5) * STRIDE - 0.5  # to pixels of the image


"""
## Evaluation

Pixels become millimeters by the spacing of each image. The mean hides confusions, so we
count them: points that are nearer to the landmark of the other side than to their own.
Points that are missing in the truth are excluded.
"""


def evaluate(model, title):
    heatmaps = model.predict(test_images, verbose=0).transpose(0, 3, 1, 2)
    points = np.array([[peak(heatmap) for heatmap in maps] for maps in heatmaps])
    pixels = np.linalg.norm(points - test_points, axis=-1)
    pixels_to_other = np.linalg.norm(points - test_points[:, SWAPPED], axis=-1)
    mm = pixels * test_spacings[:, None]
    print(f"{title}: mean {np.nanmean(pixels):.2f} px, {np.nanmean(mm):.2f} mm,")
    confused, count = np.sum(pixels_to_other < pixels), np.sum(pixels >= 0.0)
    print(f"  max {np.nanmax(mm):.1f} mm, wrong side {confused} of {count}")


evaluate(model, "Names swapped, missing points masked")

"""
## What goes wrong without the details

The same training, once with flips that leave the names as they are, and once with
missing points at (0, 0).
"""

evaluate(train(train_points, swap=False), "Names not swapped")
evaluate(train(np.nan_to_num(train_points), swap=True), "Missing points at (0, 0)")

"""
On a CPU with TensorFlow, the evaluations print

```
Names swapped, missing points masked: mean 0.39 px, 0.15 mm,
  max 1.0 mm, wrong side 0 of 1189
Names not swapped: mean 12.89 px, 5.19 mm,
  max 32.2 mm, wrong side 518 of 1189
Missing points at (0, 0): mean 0.45 px, 0.18 mm,
  max 7.6 mm, wrong side 0 of 1189
```

With names that are not swapped, the training contradicts itself, and nearly half of the
points are on the wrong side. Missing points at (0, 0) hardly change the mean, but the
largest error grows from 1.0 to 7.6 mm. Look at the largest errors first.
"""
