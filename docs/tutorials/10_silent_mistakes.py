# %% [markdown]
# # 10. Eight silent mistakes
#
# Images and points from files have conventions: which coordinate is first, where a pixel
# begins, what a missing point is, how wide a pixel is. A wrong one raises no error. The
# loss falls, the curve looks well, and the numbers are wrong. In this tutorial you make
# eight such mistakes on purpose, measure what each one costs, and find it.
#
# **You learn**
#
# - how large each mistake is in millimetres, and which statistic shows it;
# - what `scn-keras datasets check` finds by itself, and what it cannot find;
# - why images that are in the training *and* in the test are the most expensive mistake.
#
# **You need** nothing but this page; no training. It takes about a minute on two cores.

# %%
import contextlib
import csv
import io
import os
import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from scn_keras.datasets.check.check_folder import check_folder
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.saved_models import predict

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
COUNT = 6 if SMALL else 24

# %% [markdown]
# ## A folder without mistakes
#
# Twenty-four drawn radiographs and a table of their 37 points, as an annotation tool would
# write it. The model is the preset `synthetic_hand`, which has never seen these hands. Its
# points are right to a third of a millimetre, so that they can tell us whether the *table*
# is right.

# %%
SPACING = 0.5  # mm per pixel, for all images
work = tempfile.TemporaryDirectory()


def draw(index):
    """Returns a drawn hand, resampled to the spacing of this clinic."""
    hand = generate_hand(seed=7, index=index, size=(512, 400))
    scale = hand["spacing"] / SPACING
    size = (round(400 * scale), round(512 * scale))
    image = Image.fromarray(hand["image"]).resize(size, Image.Resampling.BILINEAR)
    # The centre of the first pixel is 0: its left border, -0.5, stays in place.
    return image, (hand["points"] + 0.5) * [size[0] / 400, size[1] / 512] - 0.5


HANDS = [draw(n) for n in range(COUNT)]


def write(name, change_points=None, change_image=None, patient=None, spacing=SPACING):
    """Writes a folder of images and a table of points; returns the folder."""
    folder = pathlib.Path(work.name) / name
    folder.mkdir()
    header = [f"{n}_{axis}" for n in HAND_SCHEMA.names for axis in "xy"]
    with (folder / "points.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient", "split", *header])
        for n, (image, points) in enumerate(HANDS):
            points = points.copy()
            if change_points is not None:
                points = change_points(n, points, image.size)
            if change_image is not None:
                image = change_image(n, image)
            split = "test" if n >= COUNT * 2 // 3 else "train"
            image.save(folder / f"hand{n:02}.png")
            who = f"p{n:02}" if patient is None else patient(n)
            cells = ["" if np.isnan(v) else f"{v:.2f}" for v in points.ravel()]
            table.writerow([f"hand{n:02}.png", who, split, *cells])
    (folder / "landmarks.toml").write_text(
        f"[files]\nspacing = [{spacing}, {spacing}]\n"
    )
    return folder


def read_points(folder):
    with (folder / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    return np.array(
        [
            [
                [float(row[f"{n}_{axis}"] or "nan") for axis in "xy"]
                for n in HAND_SCHEMA.names
            ]
            for row in rows
        ]
    )


results, tables = {}, {}


def examine(title, folder):
    """Measures the points of a folder against the model, and checks the folder."""
    with contextlib.redirect_stdout(io.StringIO()):
        predictions, _ = predict("synthetic_hand", sorted(folder.glob("*.png")))
    found = np.stack([prediction.points_px for prediction in predictions])
    errors = np.linalg.norm(found - read_points(folder), axis=-1) * SPACING
    results[title] = (np.nanmean(errors), np.nanmedian(errors))
    tables[title] = errors
    print(
        f"{title}: mean {results[title][0]:.2f} mm, median {results[title][1]:.2f} mm"
    )
    kinds = {}
    for finding in check_folder(folder).findings:
        kinds.setdefault((finding.severity, finding.what), []).append(finding)
    for (severity, what), same in list(kinds.items())[:3]:
        print(f"  {severity}: {what} ({len(same)} x)")
    if not kinds:
        print("  nothing found")
    return errors


_ = examine("no mistake", write("right"))
# %% [markdown]
# ## 1. x and y exchanged
#
# Arrays are indexed by row and column, y first; points are x first. A table written from
# an array has them the wrong way round.

# %%
_ = examine("x and y exchanged", write("exchanged", lambda n, p, size: p[:, ::-1]))
# %% [markdown]
# ## 2. Points of the reduced image
#
# The images were halved for annotation, and the points were not doubled afterwards.

# %%
_ = examine("points of the halved image", write("halved", lambda n, p, size: p / 2))

# %% [markdown]
# ## 3. A mirrored image
#
# A viewer flipped three images, and the points were set on the flipped ones. On images
# with left and right landmarks this also exchanges their names.


# %%
def mirrored(n, points, size):
    if n < 3:
        points[:, 0] = size[0] - 1 - points[:, 0]
    return points


_ = examine("three images mirrored", write("mirrored", mirrored))

# %% [markdown]
# ## 4. Missing is (0, 0)
#
# Many formats have no word for "not there". The tool wrote zeros, and a network that is
# trained on them learns that the landmark is in the corner.


# %%
def zeros(n, points, size):
    points[[3, 20]] = 0.0 if n % 3 == 0 else points[[3, 20]]
    return points


_ = examine("missing as (0, 0)", write("zeros", zeros))

# %% [markdown]
# ## 5. Two landmarks exchanged
#
# In two images somebody clicked the ring finger before the middle finger.


# %%
def clicked(n, points, size):
    a, b = (HAND_SCHEMA.names.index(f"{f} tip") for f in ("middle", "ring"))
    if n in (1, 4):
        points[[a, b]] = points[[b, a]]
    return points


_ = examine("two landmarks exchanged", write("clicked", clicked))
# %% [markdown]
# Four of 888 points are wrong. The median does not move, and the mean is still that of a
# good model: neither shows such a mistake. The list of the farthest points in the report
# does, and so does `check`.
#
# ## 6. Half a pixel
#
# Some tools count from the *corner* of the first pixel, others from its centre. In large
# pixels this is the difference between two published methods.

# %%
_ = examine("half a pixel", write("corner", lambda n, p, size: p + 0.5))
# %% [markdown]
# A quarter of a millimetre here, in both coordinates. `check` cannot see it: every hand is
# annotated the same way. A model trained on such points learns them, and is then wrong by
# half a pixel for everyone who reads its points by another rule. Read the documentation of
# both tools ([file formats](../formats.md#points)).
#
# ## 7. The spacing of another device
#
# The pixels of one image are 0.5 mm, but the folder states 0.4 for all. The points are
# right, in pixels. Every error in millimetres is too small by a fifth, and so is every
# distance that a physician measures.

# %%
wrong_spacing = write("spacing", spacing=0.4)
with contextlib.redirect_stdout(io.StringIO()):
    predictions, _ = predict("synthetic_hand", sorted(wrong_spacing.glob("*.png")))
length = [
    np.linalg.norm(p.points_mm[28] - p.points_mm[15]) for p in predictions
]  # from the base of the middle metacarpal to the middle fingertip
results["spacing"] = (np.mean(length), np.mean(length) * SPACING / 0.4)
print(f"middle finger with its metacarpal: {np.mean(length):.0f} mm as stated, ")
print(f"{np.mean(length) * SPACING / 0.4:.0f} mm in truth")

# %% [markdown]
# Nothing in the pixels says how large they are. Measure something of known size.
#
# ## 8. The same film in the training and in the test
#
# A hospital exported the same films twice, under other names and at another exposure. Half
# of the test images are training images. A model that has learned its training images by
# heart looks excellent.


# %%
def copied(n, image):
    first = COUNT * 2 // 3
    if n >= first and n % 2 == 0:
        original = np.asarray(HANDS[n - first][0].resize(image.size), float)
        image = Image.fromarray(np.uint8(np.clip(0.8 * original + 20, 0, 255)))
    return image


leak = write("leak", change_image=copied)
findings = [f for f in check_folder(leak).findings if f.kind == "same image"]
results["leak"] = (float(len(findings)), 0.0)
for finding in findings[:3]:
    print(f"{' and '.join(finding.cases)}: {finding.message}")

# %% [markdown]
# This has happened. Of the 150 test films of the ISBI 2015 challenge of cephalograms, 20
# are training films again, some of them at another exposure, and three occur twice.
# Hundreds of publications state their numbers on these 150. `scn-keras evaluate` gives
# both, on all films and on the 127 others, and refuses images of the training in tests of
# your own ([evaluation](../guides/evaluation.md)).
#
# ## What each one costs

# %%
shown = [t for t in results if t not in ("spacing", "leak")]
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.barh(shown, [results[title][0] for title in shown], color="tab:orange")
axis.set_xscale("log")
_ = axis.set_xlabel("mean distance of the table's points from the model's, mm")
axis.invert_yaxis()

# %% [markdown]
# The large mistakes are the harmless ones: somebody notices 50 mm. Those near the error of
# the model itself stay for years.
#
# ## Exercises
#
# 1. Mirror *all* images instead of three. Does `check` still find it? Why not?
# 2. Exchange "ulnar styloid" and "radial styloid" in all images. What finds that?
# 3. Write a check of your own: for each landmark, the largest distance from the model's
#    point divided by the median of all. Which of the eight does it find?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. No. If every table is wrong in the same way, the points agree with each other. Only
#    the images can contradict them, and a mirrored hand is a possible hand: the other one.
#    A person who looks at one picture of the page of `check --out` sees it at once.
# 2. Nothing that compares images with each other, for the same reason; the model of
#    another clinic does, since it has learned the other names. `evaluate` then lists both
#    landmarks as marked elsewhere, with offsets that are equal and opposite.
# 3. See the next cell. It finds those of which *some* points are wrong: 3, 4 and 5. Where
#    all are wrong, as in 1 and 2, the median is as large as the rest. 6 is the same for all
#    points, 7 is not in the points, and in 8 all points are right.

# %% tags=["solution"]
for title, errors in tables.items():
    ratio = np.nanmax(errors) / np.nanmedian(errors)
    print(f"{title:>28}: largest error {ratio:.0f} times the median")

# %% tags=["remove-cell"]
work.cleanup()
