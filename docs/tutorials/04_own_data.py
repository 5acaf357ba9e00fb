# %% [markdown]
# # 4. Own data
#
# A folder of images and a table of points, as it arrives: some of it is wrong. You check
# it, correct what the check finds, train, look at the worst points, find what the check
# could not find, correct that, and train again. The commands are those that you will type
# for your own images.
#
# **You learn**
#
# - which mistakes `scn-keras datasets check` finds by itself, and which it cannot;
# - the sequence check, prepare, train, evaluate, correct, prepare again, train again;
# - to read an overlay: whether the model is wrong or the annotation;
# - why errors fall after a correction although the model is the same, and what is
#   dishonest about it.
#
# **You need** a terminal, and the guide to [your own images](../guides/own_data.md) beside
# this page. It takes about three minutes on two cores.

# %%
import contextlib
import csv
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

# Prepared data sets are stored here instead of ~/tensorflow_datasets.
work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)
os.environ["TFDS_DATA_DIR"] = str(folder / "data")

import matplotlib.pyplot as plt
import numpy as np
from click.testing import CliRunner
from PIL import Image, ImageOps

from scn_keras.cli import main
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.run import Run

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
COUNT, STEPS, FILTERS, LEVELS = (12, 2, 2, 2) if SMALL else (30, 400, 32, 4)


COLORS = ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "TERM")


def terminal(command):
    """Runs a command in `folder`, as a terminal does, and prints what it prints."""
    words = shlex.split(command)[1:]
    print(f"$ {command}", flush=True)
    if SMALL:  # without a new process
        with contextlib.chdir(folder):
            print(CliRunner().invoke(main, words).output)
    else:
        # Jupyter asks for colours and progress bars, which this page has no use for.
        plain = {k: v for k, v in os.environ.items() if k not in COLORS}
        done = subprocess.run(
            [sys.executable, "-m", "scn_keras.cli", *words],
            cwd=folder,
            env=plain,
            capture_output=True,
            text=True,
        )
        lines = [line for line in done.stdout.splitlines() if "━ 100%" not in line]
        print(*lines, sep="\n")
        if done.returncode:
            print(done.stderr)


# %% [markdown]
# ## The folder
#
# Thirty drawn radiographs as PNG files, and a table with a row for each. The next cell
# draws them and makes seven mistakes, each of a kind that real folders have. In a folder of
# your own nobody tells you which ones. Run the cell and read it afterwards.

# %%
SPACING = 0.8  # mm per pixel, for all images
NAMES = HAND_SCHEMA.names
HEADER = ["image", "patient", *(f"{name}_{axis}" for name in NAMES for axis in "xy")]
hands = folder / "hands"
hands.mkdir()


def draw(index):
    """Returns a drawn hand, resampled to the spacing of this clinic, and its points."""
    hand = generate_hand(seed=11, index=index, size=(256, 200))
    scale = hand["spacing"] / SPACING
    size = (round(200 * scale), round(256 * scale))
    image = Image.fromarray(hand["image"]).resize(size, Image.Resampling.BILINEAR)
    # The centre of the first pixel is 0: its left border, -0.5, stays in place.
    return image, (hand["points"] + 0.5) * [size[0] / 200, size[1] / 256] - 0.5


def write_table(table):
    with (hands / "points.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for number, points in enumerate(table):
            cells = [f"{value:.1f}" for value in points.ravel()]
            rows.writerow([f"hand{number:02}.png", f"patient {number}", *cells])


table = []
for number in range(COUNT):
    image, points = draw(number)
    if number == 3:  # two fingers in the wrong order
        a, b = NAMES.index("middle tip"), NAMES.index("ring tip")
        points[[a, b]] = points[[b, a]]
    if number == 5:  # clicked in a viewer that showed the image flipped
        points[:, 0] = image.width - 1 - points[:, 0]
    if number == 6:  # saved by a viewer that showed it flipped, after the clicks
        image = ImageOps.mirror(image)
    if number == 8:  # one click on the shaft instead of the joint
        points[NAMES.index("index middle base")] += [0, 9]
    if number == 10:
        points[NAMES.index("little middle base")] += [0, 8]
    name = "hand_07.png" if number == 7 else f"hand{number:02}.png"
    image.save(hands / name)
    table.append(points)
write_table(table)
(hands / "landmarks.toml").write_text(
    "[files]\nspacing = [0.08, 0.08]\n\n[splits]\nfolds = 3\n"
)
print((hands / "points.csv").read_text()[:120], "...")

# %% [markdown]
# ## Check
#
# The image files have no spacing, so `landmarks.toml` states one for all. It also deals the
# patients to three folds.

# %%
terminal("scn-keras datasets check hands --out check")

# %% [markdown]
# Three of the seven mistakes; the file name has two findings. `check/check.html` shows each
# with a picture. Look before you correct: a finding states *that* two things contradict
# each other, and not which of them is wrong. Two of them, and a hand without a mistake:


# %%
def overlay(axis, number, found=None, zoom=None):
    """Draws an image, its points, and lines to the points of a model."""
    image = Image.open(hands / f"hand{number:02}.png")
    axis.imshow(image, cmap="gray")
    points = table[number]
    if found is not None:
        for truth, point in zip(points, found, strict=True):
            axis.plot(*np.transpose([truth, point]), color="tab:orange", lw=1.2)
    axis.plot(*points.T, "o", ms=5, mfc="none", mec="tab:green")
    axis.set(xlim=(-0.5, image.width - 0.5), ylim=(image.height - 0.5, -0.5))
    if zoom is not None:
        x, y = points[zoom]
        axis.set(xlim=(x - 30, x + 30), ylim=(y + 30, y - 30))
    axis.set_axis_off()


figure, axes = plt.subplots(1, 3, figsize=(7.5, 3.3), layout="constrained")
for axis, number in zip(axes, (2, 3, 5), strict=True):
    overlay(axis, number)
    for name in ("middle tip", "ring tip", "thumb tip"):
        place = table[number][NAMES.index(name)]
        axis.annotate(name.split()[0], place, color="tab:green", fontsize=8)
    _ = axis.set_title(f"hand{number:02}", fontsize=9)

# %% [markdown]
# In hand03 every point is on a fingertip, and two names are exchanged. In hand05 the points
# are those of a hand in the mirror, and the image is a left hand as the others are: the
# points were clicked in a viewer that showed the image flipped. Both corrections are
# corrections of the table. The third is a file name.

# %%
a, b = NAMES.index("middle tip"), NAMES.index("ring tip")
table[3][[a, b]] = table[3][[b, a]]
with Image.open(hands / "hand05.png") as image:
    table[5][:, 0] = image.width - 1 - table[5][:, 0]
write_table(table)
(hands / "hand_07.png").rename(hands / "hand07.png")
terminal("scn-keras datasets check hands")

# %% [markdown]
# ## Measure something of known size
#
# Nothing more is found. But nothing in a PNG file states how wide a pixel is, and a wrong
# spacing contradicts nothing in the folder. Your own knowledge does: from the wrist to the
# tip of the middle finger a hand of an adult is 17 to 20 cm long.

# %%
wrist, tip = NAMES.index("radius, ulnar edge"), NAMES.index("middle tip")
lengths = [np.linalg.norm(points[tip] - points[wrist]) for points in table]
for spacing in (0.08, 0.8):
    print(f"at {spacing} mm per pixel: {np.median(lengths) * spacing:.0f} mm")

# %% [markdown]
# A decimal was lost. Without this step every error on this page would be a tenth of what it
# is, and look ten times as good.

# %%
settings = (hands / "landmarks.toml").read_text()
(hands / "landmarks.toml").write_text(settings.replace("0.08", "0.8"))
terminal("scn-keras datasets prepare landmark_folder/hands --manual-dir hands")

# %% [markdown]
# ## Train
#
# A recipe is a Python file. Begin with the settings of a published one
# (`scn-keras recipes`), and change what your images need: the grid in the proportions of
# the images, and the steps that your time allows.

# %%
RECIPE = f"""
from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hands",
        dataset="landmark_folder/hands",
        train_split="fold1+fold2",
        test_split="fold3",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(96, 80)),
        network=Network(
            filters={FILTERS}, levels={LEVELS}, dropout=0.25,
            spatial_kernel_size=7, spatial_factor=8,
        ),
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02),
        augmentation=Augmentation(rotation=0.2, scale=0.1, elastic=0.05),
        batch_size=4,
        steps={STEPS},
        steps_per_epoch={max(STEPS // 4, 2)},
    )
"""
(folder / "hands.py").write_text(RECIPE)
terminal("scn-keras train hands.py --out runs/first")
terminal("scn-keras evaluate runs/first")

# %% [markdown]
# ## See the worst
#
# `runs/first/report.html` shows the worst images first. Here is more from the table of points
# that the evaluation has written, and for the training images as well: a model of few
# steps does not learn single wrong points by heart, so that it contradicts them.

# %%
terminal("scn-keras evaluate runs/first --split fold1+fold2")


splits = ("fold3", "fold1+fold2")
cases = {
    id: case
    for split in splits
    for id, case in read_points(Run(folder / "runs/first"), split).items()
}
ids = list(cases)
errors = np.stack([case["errors"][None] for case in cases.values()])
print("Images by the median of their points:")
by_median = np.argsort(-np.median(errors, axis=1))
for n in by_median[:3]:
    print(f"  {ids[n]}: {np.median(errors[n]):.1f} mm")

# %% [markdown]
# One image differs from all others as a whole. In the others, single points may be wrong.
# The largest errors are those of landmarks that are hard in every image, on the wrist here.
# Suspicious is a point that is far off *for its landmark*: its error is divided by the
# error below which the landmark stays in three quarters of the images.

# %%
ratios = errors / np.percentile(errors, 75, axis=0)
ratios[by_median[0]] = 0.0
rows = [divmod(int(k), len(NAMES)) for k in np.argsort(-ratios, axis=None)[:9]]
for n, landmark in rows:
    print(
        f"{ids[n]}  {NAMES[landmark]:20} {errors[n, landmark]:5.1f} mm, "
        f"{ratios[n, landmark]:.1f} times its usual error"
    )

# %%
figure, axes = plt.subplots(2, 5, figsize=(8.5, 4.2), layout="constrained")
for axis, (n, landmark) in zip(axes.flat, [(by_median[0], None), *rows], strict=True):
    overlay(axis, int(ids[n][4:]), cases[ids[n]]["points_px"], landmark)
    title = ids[n] + ("" if landmark is None else f"\n{NAMES[landmark]}")
    axis.set_title(title, fontsize=8)

# %% [markdown]
# The green circles are the annotation, and the orange lines lead from there to the points
# of the model. Do not ask which of the two is right. Ask the image: is there a joint under
# the circle, or at the end of the line?
#
# | picture | what is wrong |
# |---|---|
# | one long line; a joint at its end, and none under the circle | the annotation of this point |
# | one long line; a joint under the circle, and none at its end | the model |
# | a joint at both ends, on different fingers | the model, if the circle is on the finger of its name; else the annotation |
# | all lines of an image are long | the image: mirrored, turned, another row of the table, another kind of image |
# | all lines of all images are short and parallel | the convention: half a pixel, or observers with another definition |
#
# Read this way, hand06 is an image in the mirror: its points are those of a left hand like
# the others, and the model's lie on the other side. `check` found the mirrored points of
# hand05 by their shape, but compares no single image with its points. The thumb of hand11
# is the model's mistake, although its errors are the largest: each circle is on a joint.
# So is "ring distal base" of hand08. "Index middle base" of hand08 is another matter. There
# is no joint under its circle, and a gap between two bones at the end of its line. The same
# holds for "little middle base" of hand10, the last of the list. On the wrist (hand15,
# hand03) neither end is clearly right in these small images: nothing is corrected there.
#
# So of nine points with unusual errors two are mistakes of the annotation. That is a usual
# yield, and the reason why somebody has to look.
#
# ## Correct
#
# You would click on the joints. Here the next cell does it, for hand08 and hand10, and
# flips the image of hand06 back.

# %%
table[8][NAMES.index("index middle base")] -= [0, 9]
table[10][NAMES.index("little middle base")] -= [0, 8]
write_table(table)
with Image.open(hands / "hand06.png") as image:
    mirrored = ImageOps.mirror(image)
mirrored.save(hands / "hand06.png")
terminal("scn-keras datasets prepare landmark_folder/hands --manual-dir hands")

# %% [markdown]
# The prepared set is compared with the folder, and the images are named. With
# `--overwrite` it is prepared again. Every patient stays in its fold.

# %%
terminal(
    "scn-keras datasets prepare landmark_folder/hands --manual-dir hands --overwrite"
)
terminal("scn-keras evaluate runs/first")

# %% [markdown]
# The mean error fell from 5.5 to 1.9 mm, and the model is the same. One wrong image of ten
# made most of the first number. The two corrected points are in images of the training, so
# that the test does not change by them. A publication that gives the second number has to
# state what was corrected, and by what rule.
#
# ## Train again
#
# The new run has the recipe of the first one and starts from its weights, for a quarter of
# its steps.

# %%
terminal(
    "scn-keras train runs/first --from runs/first --out runs/second "
    f"--steps {max(STEPS // 4, 2)}"
)
terminal("scn-keras evaluate runs/second")
terminal("scn-keras compare runs/first runs/second")

# %% [markdown]
# The second run is better by 0.25 mm, surely (the interval excludes 0), on ten images. But
# why? It has two corrected points of 740, *and* a hundred steps more. To separate them,
# continue the first run on the old points by as many steps, too. Two points of 740 are few
# for a training; one image of ten was a lot for the test.
#
# ## What goes wrong
#
# - **Only points are looked at that the model contradicts.** Where model and annotation are
#   wrong together, nobody looks. Corrections of a *test* set after looking at a model's
#   errors favour this model: let somebody correct who does not see the model's points, look
#   at a few images that were not on the list, and state what was corrected.
# - **Correcting towards the model.** A line of 3 mm to a blurred joint is no mistake of the
#   annotation. Two observers differ by as much. Correct what you would also have called
#   wrong without the line.
# - **All images have the same mistake.** The model learns it and agrees. See exercise 1 of
#   [eight silent mistakes](10_silent_mistakes.ipynb).
# - **The old run's numbers.** Results that were written before the correction belong to the
#   old points. Evaluate both runs again; `compare` refuses results of different points.
#
# ## Exercises
#
# 1. Exchange the rows of hand10 and hand11 in the table, and run `check`. What does it
#    find, and what would an overlay show?
# 2. Shift "index middle base" of hand08 by 8, 10 and 12 mm. From where on does `check`
#    find it by itself?
# 3. Mirror the image *and* the points of hand09. Is this a mistake? What does `check`
#    print?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. Nothing: both rows are those of a left hand, and all points are inside of the images.
#    In an overlay all lines of both images are long, as in hand06.
# 2. At 8 mm it finds nothing, and at 10 mm there is a note. The position of a point is
#    predicted from the others of its hand, within a millimetre or so as a rule, and hands
#    differ. Only what is far outside of this is noted.
# 3. It is a right hand, and no mistake. `check` notes that the points are mirrored and
#    probably the image as well. You decide: flip both, so that all are left hands, or
#    leave it out. What the model sees later has to be treated in the same way.

# %% tags=["solution"]
good = [points.copy() for points in table]
table[10], table[11] = table[11], table[10]
write_table(table)
terminal("scn-keras datasets check hands")
for shift in (8, 10, 12):
    table = [points.copy() for points in good]
    table[8][NAMES.index("index middle base")] += [0, shift / SPACING]
    write_table(table)
    print(f"\nShifted by {shift} mm:")
    terminal("scn-keras datasets check hands")
table = [points.copy() for points in good]
with Image.open(hands / "hand09.png") as image:
    mirrored = ImageOps.mirror(image)
mirrored.save(hands / "hand09.png")
table[9][:, 0] = mirrored.width - 1 - table[9][:, 0]
write_table(table)
print("\nA right hand:")
terminal("scn-keras datasets check hands")

# %% tags=["remove-cell"]
results = {"errors": errors}
work.cleanup()
