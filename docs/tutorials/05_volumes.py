# %% [markdown]
# # 5. Volumes
#
# A CT is an image with a third axis, and everything that you know from radiographs still
# holds. Four things are new: the order of the axes matters more, voxels are longer than
# wide, the patient lies obliquely in the scanner, and the memory is never enough. In this
# tutorial you meet each of them, in millimetres.
#
# **You learn**
#
# - the two orders of axes, and the affine with spacing, direction and origin;
# - what the size of a voxel of the network's grid costs in millimetres and in megabytes;
# - how a coarse network places the grid of a finer one, and how to find out whether the
#   voxels limit the precision or the training;
# - what happens if direction, order or sign of the axes are lost, and who notices;
# - how points travel to 3D Slicer and back.
#
# **You need** the [first tutorial](01_heatmaps.ipynb). It takes about four minutes on two
# cores.

# %%
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from IPython import display
from PIL import Image

from scn_keras.datasets import prepare
from scn_keras.datasets.check.check_folder import check_folder
from scn_keras.datasets.synthetic_volume import Builder, generate_volume
from scn_keras.files import PointSet, read_points, write_points
from scn_keras.geometry import apply_affine, invert_affine, spacing_of
from scn_keras.pictures.figure_files import to_png
from scn_keras.pictures.slices import draw_slices
from scn_keras.saved_models import predict
from scn_keras.training import Augmentation, load_recipe
from scn_keras.training.fit import fit

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
TRAIN, TEST = (4, 2) if SMALL else (36, 8)
COARSE_STEPS, FINE_STEPS = (2, 2) if SMALL else (900, 700)

NAMES = Builder.SCHEMA.names
work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)
results = {}

# %% [markdown]
# ## A volume
#
# The package draws CTs of a lower spine: six vertebrae that look alike, the sacrum and its
# two wings. Like a real CT, a volume consists of an array, and of an *affine*.

# %%
volume = generate_volume(seed=0, index=10_000, size=(96, 64, 64))
array, points, affine = volume["image"], volume["points"], volume["affine"]
print("array:", array.shape, array.dtype, "from", array.min(), "to", array.max(), "HU")
for name, point in zip(NAMES, points, strict=True):
    print(f"{name:>11}: {point.round(1)}")

# %% [markdown]
# The array is indexed by slice, row, column: **z, y, x**. A point is **x, y, z**. To confuse
# them is the first mistake to make with volumes, and it raises no error as long as the
# point lies inside the array in both orders, as vertebra 3 does.

# %%
SPACING = spacing_of(affine)  # mm, x, y, z


def planes(axes, center):
    """Shows the three planes through a voxel z, y, x, in their true proportions."""
    z, y, x = np.clip(np.round(center).astype(int), 0, np.subtract(array.shape, 1))
    shown = ((array[z], 0, 1), (array[:, y], 0, 2), (array[:, :, x], 1, 2))
    for axis, (plane, right, up), cross in zip(
        axes, shown, ((x, y), (x, z), (y, z)), strict=True
    ):
        axis.imshow(
            plane,
            cmap="gray",
            vmin=-300,
            vmax=600,
            origin="upper" if up == 1 else "lower",
            aspect=SPACING[up] / SPACING[right],
        )
        axis.plot(*cross, "+", c="tab:orange", markersize=14)
        axis.set_axis_off()


figure, axes = plt.subplots(2, 3, figsize=(5.4, 5), layout="constrained")
planes(axes[0], points[2, ::-1])
planes(axes[1], points[2])
axes[0, 1].set_title("vertebra 3, its point reversed to z, y, x", fontsize=8)
_ = axes[1, 1].set_title("the same point taken for z, y, x", fontsize=8)

# %% [markdown]
# ## The affine
#
# It maps x, y, z of a voxel to millimetres in the room: `point @ matrix.T + origin`. The
# length of each column of its matrix is the *spacing* along x, y and z; the columns divided
# by their lengths are the *direction cosines*: where the axes of the array point to.

# %%
matrix, origin = affine[:3, :3], affine[:3, 3]
direction = matrix / SPACING
print("spacing x, y, z:", SPACING.round(2), "mm")
print("origin:", origin.round(1), "mm")
print("direction:\n", direction.round(3))
true_mm = apply_affine(affine, points)
print("vertebra 1:", points[0].round(1), "->", true_mm[0].round(1), "mm")

# %% [markdown]
# The millimetres are **LPS**, as in DICOM and ITK: x grows to the patient's left, y to the
# back (posterior), z to the head (superior). 3D Slicer, NIfTI and nibabel count in
# **RAS**: to the right, to the front, to the head. Both are the same room; x and y have the
# other sign.
#
# ## What a grid costs
#
# A CT of a trunk has 512 × 512 × 400 voxels, and one layer of 16 features of this size has
# 6.7 GB. Networks therefore see a *grid*: the volume, scaled with its proportions in
# millimetres. How coarse may it be? Even a perfect network that returns the nearest voxel
# of the grid is wrong by about half a voxel (0.48 of its side, on average).


# %%
def of_grid(grid, side=None):
    """Prints the voxels of a grid, and the error of a perfect network on it."""
    extent = np.array(array.shape[::-1]) * SPACING
    side = side or (extent / grid[::-1]).max()
    steps = (
        np.concatenate([c["points"] * spacing_of(c["affine"]) for c in CASES]) / side
    )
    rounding = np.linalg.norm(steps - np.round(steps), axis=1).mean() * side
    megabytes = 16 * 4 * np.prod(grid) / 1e6
    print(
        f"{' x '.join(map(str, grid)):>15}: {side:4.1f} mm per voxel, "
        f"{megabytes:6.0f} MB per layer, nearest voxel {rounding:.1f} mm off"
    )
    results[f"rounding {grid}"] = rounding


CASES = [generate_volume(0, 10_000 + n, (96, 64, 64)) for n in range(TEST)]
of_grid((32, 20, 20))
of_grid((64, 40, 40))
of_grid((128, 80, 80))
print("and around the spine only:")
of_grid((64, 24, 24), side=4.0)

# %% [markdown]
# Half the voxel is eight times the memory, and eight times the time. Two things help. A
# peak is fitted *between* the voxels, as in the [first tutorial](01_heatmaps.ipynb). And
# most of a trunk is not spine: a coarse network can find out where the spine is,
# and a second one looks at it closely. The last line has the voxels of 4 mm for the price
# of three times the first.
#
# ## Files
#
# Volumes as a hospital has them: NIfTI files, with the points of 3D Slicer beside them.


# %%
def as_image(case, affine=None):
    """Returns a volume as an image of ITK, with its spacing, direction and origin."""
    affine = case["affine"] if affine is None else affine
    image = sitk.GetImageFromArray(case["image"])
    image.SetSpacing(spacing_of(affine).tolist())
    image.SetDirection((affine[:3, :3] / spacing_of(affine)).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def write_case(target, case, change=lambda mm: mm):
    """Writes a volume, and its points in millimetres as a markup of 3D Slicer."""
    sitk.WriteImage(as_image(case), str(target.with_suffix(".nii.gz")))
    mm = change(apply_affine(case["affine"], case["points"]))
    write_points(target.with_suffix(".mrk.json"), PointSet(NAMES, mm, "LPS"))


for name in ("train", "test", "other"):
    (folder / name).mkdir()
for n in range(TRAIN):
    write_case(folder / "train" / f"case{n:02}", generate_volume(0, n, (96, 64, 64)))
for n, case in enumerate(CASES):
    write_case(folder / "test" / f"case{n:02}", case)
sorted(path.name for path in (folder / "train").iterdir())[:4]

# %% [markdown]
# ## Coarse, then fine
#
# A recipe with a coarse stage. The coarse grid holds the whole volume. The points of the
# coarse network are aligned with the mean shape of the training spines; this places the
# fine grid of 64 × 24 × 24 voxels of 4 mm along the spine.

# %%
settings = ["dataset=landmark_folder/spines", "validation=0.0"]
settings += [f"steps={COARSE_STEPS}", f"steps_per_epoch={COARSE_STEPS}"]
settings += ["image_to_grid.grid=(32, 20, 20)", "image_to_grid.axes=patient"]
if SMALL:
    settings += ["network.filters=4", "network.levels=2", "augmentation=None"]
coarse_recipe = load_recipe("synthetic_volume").override(settings)
recipe = dataclasses.replace(
    coarse_recipe,
    name="spine",
    coarse=coarse_recipe,
    image_to_grid=dataclasses.replace(
        coarse_recipe.image_to_grid, grid=(64, 24, 24), grid_spacing=(4.0, 4.0, 4.0)
    ),
    # About the errors of the coarse stage, which are not known in the training.
    augmentation=None
    if SMALL
    else Augmentation(
        translation=0.0,
        translation_mm=6.0,
        rotation=0.12,
        scale=0.06,
        scale_per_axis=0.03,
    ),
    steps=FINE_STEPS,
    steps_per_epoch=FINE_STEPS,
)
with contextlib.redirect_stdout(io.StringIO()):
    prepare("landmark_folder", folder / "data", folder / "train", config="spines")
    run = fit(recipe, folder / "run", folder / "data")

# %% [markdown]
# ## Errors in millimetres
#
# Eight other volumes. `predict` reads a file with its affine and returns millimetres.

# %%
files = sorted((folder / "test").glob("*.nii.gz"))
truth = np.array([apply_affine(c["affine"], c["points"]) for c in CASES])


def locate(model, files):
    with contextlib.redirect_stdout(io.StringIO()):
        predictions, problems = predict(model, files)
    assert not problems  # noqa: S101
    return predictions


def errors_of(predictions, truth=truth):
    found = np.array([prediction.points_mm for prediction in predictions])
    return np.linalg.norm(found - truth, axis=-1)


by_fine = locate(run.path, files)
coarse, fine = errors_of(locate(run.coarse.path, files)), errors_of(by_fine)
print("median error, mm      coarse   fine")
for name, a, b in zip(NAMES, coarse.T, fine.T, strict=True):
    print(f"{name:>18}: {np.median(a):8.1f} {np.median(b):6.1f}")
HALF = 17.0  # mm, half the distance between two vertebrae


def summary(title, errors):
    right = errors[errors < HALF]
    results[title] = right.mean() if right.size else HALF
    print(
        f"{title}: {(errors > HALF).sum()} of {errors.size} points on another vertebra; "
        f"the others are {results[title]:.1f} mm off"
    )


summary("coarse", coarse)
summary("fine", fine)

# %% [markdown]
# Two kinds of error, and the last two lines separate them. A mean of all errors would mix
# both. *Which* vertebra it is, the finer grid does not decide better here: 17 points on
# another vertebra, before 12. All six look alike, only the sacrum at their lower end tells
# them apart. *Where* on its vertebra a point lies, it decides hardly better: 5.2 mm instead
# of 5.8 mm, in spite of voxels of 4 mm instead of about 10 mm.
#
# ## Is it the grid?
#
# A perfect network that returns the nearest voxel would be 4.9 mm off on the coarse grid,
# and 1.9 mm on the fine one. The coarse network with 5.8 mm is close to what its grid
# permits. The fine one is not. Is its training too short, or are its volumes too few? The
# test of the [third tutorial](03_little_data.ipynb): the errors on volumes that the
# networks have been trained with.

# %%
seen = [generate_volume(0, n, (96, 64, 64)) for n in range(min(TRAIN, TEST))]
seen_mm = np.array([apply_affine(c["affine"], c["points"]) for c in seen])
seen_files = sorted((folder / "train").glob("*.nii.gz"))[: len(seen)]
for title, path in (("coarse", run.coarse.path), ("fine", run.path)):
    summary(f"{title}, training volumes", errors_of(locate(path, seen_files), seen_mm))

# %% [markdown]
# On its own training volumes, the fine network is 5.7 mm off, no better than on the others.
# So it is neither the voxels that limit the precision here, nor the number of volumes: the
# network has not learned yet what its grid permits, and the first thing to try is more
# steps. The recipe `synthetic_volume`, with voxels of about 5 mm, states what 1,500 steps
# reach: a median of 2.1 mm. Counting is another matter: 6 points of the training volumes
# are on another vertebra, and 17 of the others. For this, more volumes are worth a try.
#
# Compare a network with its grid before you make the voxels smaller. At eight times the
# memory, this is the most expensive of all changes.
#
# ## Look
#
# The best of the eight volumes, with three slices through two of its points. The blue rings
# are the true points. `scn-keras predict --overlay` draws the same for your files.

# %%
best = int(np.argmin(fine.mean(axis=1)))
found = by_fine[best]
drawing = draw_slices(
    CASES[best]["image"].clip(-300, 700),
    Builder.SCHEMA,
    found.points_px,
    found.affine,
    chosen=[3, 7],
    true=CASES[best]["points"],
)
picture = Image.open(io.BytesIO(to_png(drawing, drawing.dpi))).convert("RGB")
picture.thumbnail((900, 1200))
jpeg = io.BytesIO()
picture.save(jpeg, "JPEG", quality=80)
display.Image(jpeg.getvalue())

# %% [markdown]
# ## The same patient, stored otherwise
#
# A patient who lies otherwise in the scanner: the same voxels, another direction and
# origin. The millimetres must turn with the patient. And the same patient, stored in
# another order of axes: programs write volumes from right to left, from the front to the
# back, or as a stack of coronal slices. The affine says how, so that the same point in the
# room has the same millimetres.

# %%
case = CASES[best]
cos, sin = np.cos(0.4), np.sin(0.4)
motion = np.array([[cos, -sin, 0, 30], [sin, cos, 0, -80], [0, 0, 1, 12], [0, 0, 0, 1]])
other = folder / "other"
stored = as_image(case)
moved_image = as_image(case, motion @ case["affine"])
lost = sitk.GetImageFromArray(case["image"])  # cubes of 1 mm
images = {
    "moved": moved_image,
    "RAS": sitk.DICOMOrient(stored, "RAS"),
    "coronal": sitk.DICOMOrient(stored, "LIP"),
    "lost": lost,
}
for name, image in images.items():
    sitk.WriteImage(image, str(other / f"{name}.nii.gz"))
    print(f"{name}: {' x '.join(map(str, image.GetSize()))} voxels in x, y, z")


def variants(model, names):
    predictions = locate(model, [other / f"{name}.nii.gz" for name in names])
    return dict(zip(names, predictions, strict=True))


known = found.points_mm


def compare(title, points_mm):
    results[title] = apart = np.linalg.norm(points_mm - known, axis=1).mean()
    number = f"{apart:.1f}" if apart > 0.1 else f"{apart:.0e}"
    print(f"{title}: {number} mm from the points above")


of_file = variants(run.path, images)
back = apply_affine(invert_affine(motion), of_file["moved"].points_mm)
compare("turned by 23 degrees and moved, then moved back", back)
compare("voxels stored as RAS", of_file["RAS"].points_mm)
compare("coronal slices", of_file["coronal"].points_mm)

# %% [markdown]
# The same points in each case, to the last digits of float32. For the first one, this is
# no merit: the voxels are the same, and the affine does the rest. For the others it is one.
# The setting `axes="patient"` of the recipe orders the axes of each volume by the patient
# before the network sees it: those closest to left, back and head. Without it:
#
# ## What goes wrong
#
# **The grid follows the file.** `axes="stored"`, the default, is right if all volumes come
# from one program. The same networks with this setting, and the files of another program:

# %%
follows = shutil.copytree(run.path, folder / "follows")
for path in (follows / "recipe.json", follows / "coarse" / "recipe.json"):
    text = path.read_text()
    path.write_text(text.replace('"axes": "patient"', '"axes": "stored"'))
of_stored = variants(follows, ("RAS", "coronal"))
compare("RAS voxels as they are", of_stored["RAS"].points_mm)
compare("coronal slices as they are", of_stored["coronal"].points_mm)

# %% [markdown]
# The network has never seen a patient from behind, or upside down. It finds something,
# writes millimetres, and nothing is reported. Set `axes="patient"`, or turn all files
# before the training and before each prediction, for example with
# `SimpleITK.DICOMOrient(image, "LPS")`.
#
# **The affine is used wrongly.** Now without a network: a program has the right voxels, and
# computes millimetres from them in a wrong way. A ruler is the usual check: are distances
# in the patient plausible? We use the distance from the sacrum to vertebra 6.


# %%
def length(mm):
    return np.linalg.norm(mm[5] - mm[6])


WRONG = {
    "direction dropped": points * SPACING + origin,
    "x, y, z exchanged with z, y, x": apply_affine(affine, points[:, ::-1]),
    "RAS taken for LPS": true_mm * [-1, -1, 1],
    "spacing as z, y, x": points * SPACING[::-1] @ direction.T + origin,
    "voxels taken for mm": points @ direction.T + origin,
}
print(f"right: sacrum to vertebra 6 {length(true_mm):.0f} mm")
for title, mm in WRONG.items():
    results[title] = np.linalg.norm(mm - true_mm, axis=1).mean()
    print(f"{title}: {results[title]:.0f} mm off; {length(mm):.0f} mm long")

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
shown = [*WRONG, "RAS voxels as they are", "coronal slices as they are"]
axis.barh(shown, [results[title] for title in shown], color="tab:orange")
_ = axis.set_xlabel("mean distance from the right points, mm")
axis.invert_yaxis()

# %% [markdown]
# The ruler finds what changes lengths: exchanged axes and wrong spacings. It finds neither
# a lost direction nor the wrong sign, since these turn and shift the patient as a whole.
# Only another source in the same room shows them: a second scan, a segmentation, or the
# image itself in a viewer that reads the affine.
#
# **The spacing is lost before the network.** A converter wrote the array without its
# header. The network sees a patient with other proportions, and there are no millimetres
# that mean anything. Even if somebody repairs them afterwards with the right affine, the
# points have been searched in a distorted image:

# %%
repaired = apply_affine(case["affine"], of_file["lost"].points_px)
compare("found without spacing, repaired afterwards", repaired)

# %% [markdown]
# **Points in RAS among points in LPS.** One annotator exported from a program that counts
# in RAS. `scn-keras datasets check` compares the points with the volumes:

# %%
(folder / "mixed").mkdir()
for n, case in enumerate(CASES[:6]):
    flip = (lambda mm: mm * [-1, -1, 1]) if n == 1 else (lambda mm: mm)
    write_case(folder / "mixed" / f"case{n:02}", case, flip)
for finding in check_folder(folder / "mixed").findings[:2]:
    print(f"{finding.severity}: {', '.join(finding.cases)}: {finding.message[:300]}")

# %% [markdown]
# ## To 3D Slicer and back
#
# `write_points` writes the points as a markup of 3D Slicer; `scn-keras predict --markups`
# does so for many files. The file names its coordinate system, and a program must read it:
# the numbers of both files differ, the points do not.

# %%
found_points = PointSet(NAMES, found.points_mm, "LPS")
numbers = {}
for system in ("LPS", "RAS"):
    path = folder / f"found_{system}.mrk.json"
    write_points(path, found_points, coordinate_system=system)
    read = read_points(path)
    (markup,) = json.loads(path.read_text())["markups"]
    numbers[system] = [point["position"] for point in markup["controlPoints"]]
    same = np.array_equal(read.points, found_points.points)
    print(
        f"{markup['coordinateSystem']}: {np.round(numbers[system][0], 1)}, the same:",
        same,
    )
apart = np.linalg.norm(np.subtract(numbers["LPS"], numbers["RAS"]), axis=1)
results["numbers of RAS read as LPS"] = apart.mean()
print(f"a program that ignores the coordinate system: {apart.mean():.0f} mm off")

# %% [markdown]
# ## Exercises
#
# 1. Compute the millimetres of voxel (10, 20, 30) with the affine, by hand, and with
#    `TransformIndexToPhysicalPoint` of SimpleITK.
# 2. Which grid has voxels of 2 mm for the whole volume, and how much memory takes one of
#    its layers? And around the spine?
# 3. The array of the volume is mirrored from left to right, `array[:, :, ::-1]`, and the
#    affine is kept. Which ruler finds it? What must be done with the affine so that the
#    points stay where they are?
# 4. Are the largest errors of the fine network about the distance of two vertebrae? What
#    would you change?

# %% [markdown] tags=["solution"]
# ### Solutions

# %% tags=["solution"]
by_hand = matrix @ [10, 20, 30] + origin
by_itk = as_image(volume).TransformIndexToPhysicalPoint((10, 20, 30))
print(by_hand.round(3), np.round(by_itk, 3))
# 2
extent = np.array(array.shape[::-1]) * SPACING
of_grid(tuple(int(8 * np.ceil(side / 16)) for side in extent[::-1]), side=2.0)
of_grid((128, 48, 48), side=2.0)
# 3: a column of the affine is reversed, and its origin is at the other end.
mirror = np.diag([-1.0, 1, 1, 1])
mirror[0, 3] = array.shape[2] - 1
mirrored = apply_affine(mirror, points)  # where the points are in the mirrored array
kept = apply_affine(affine, mirrored)
print(f"affine kept: {np.linalg.norm(kept - true_mm, axis=1).mean():.0f} mm off, ")
print(f"sacrum to vertebra 6 {length(kept):.0f} mm, as before {length(true_mm):.0f} mm")
right = apply_affine(affine @ mirror, mirrored)
print(f"affine mirrored as well: {np.abs(right - true_mm).max():.1e} mm off")
# 4
large = fine[:, :6][fine[:, :6] > HALF]
step = np.linalg.norm(np.diff(truth[:, :6], axis=1), axis=-1)
print(f"large errors, mm: {np.sort(large).round().astype(int)}")
print(f"from one vertebra to the next: {step.mean():.0f} mm")

# %% [markdown] tags=["solution"]
# 3: no ruler finds it, since a mirror image has the same distances. The names of left and
# right are exchanged, and so is every tumour.
#
# 4: 13 of the 17 are between 18 and 34 mm, about the step of 31 mm from one vertebra to the
# next: a miscount by one. The other four are between one step and two. More training, more
# volumes, or a local network with a wider view may help with counting; smaller voxels do
# not.
#
# ## Where to go on
#
# [Choose the grid](../guides/settings.md), [file formats](../formats.md), and the recipes
# [`volume` and `mouse_skull`](../recipes.md) for your own volumes.

# %% tags=["remove-cell"]
work.cleanup()
