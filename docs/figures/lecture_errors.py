"""Draws figures of the lecture: `python docs/figures/lecture_errors.py`.

Those in docs/figures/lecture with points of the preset `synthetic_hand` on drawn hands
that it was not trained on: factors, influence, errors, observers, radii and novelty.
"""

import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from lecture_targets import FOUND, TRUE, row_of, save

from scn_keras.datasets.synthetic_hand import generate_hand
from scn_keras.geometry import apply_affine
from scn_keras.layers import HeatmapPeak
from scn_keras.models import preset_path
from scn_keras.pictures import inner_heatmaps
from scn_keras.saved_models import predict
from scn_keras.saved_models.explaining import explain
from scn_keras.saved_models.explaining.evidence_figures import shifts
from scn_keras.training import Run

PRESET = "synthetic_hand"
COUNT = 50


def located(hands: list) -> list:
    """Returns the results of the preset, with radii, for drawn images."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for n, hand in enumerate(hands):
            # A format that stores the spacing, which differs from image to image.
            files.append(pathlib.Path(folder) / f"{n:03}.mha")
            image = sitk.GetImageFromArray(hand["image"])
            image.SetSpacing([hand["spacing"]] * 2)
            sitk.WriteImage(image, files[-1])
        return predict(PRESET, files)[0]


def local_appearance_points(hands: list) -> np.ndarray:
    """Returns the points of the local appearance heatmaps, in pixels of the images."""
    run = Run(preset_path(PRESET))
    locator, model, peak = run.locator(), run.load_model(), HeatmapPeak()
    points = []
    for hand in hands:
        affine = np.diag([hand["spacing"]] * 2 + [1.0]).astype("float32")
        image = hand["image"][..., None].astype("float32") / 255.0
        grid_images, to_image = locator.to_grid(image, affine)
        heatmaps = inner_heatmaps(model, np.asarray(grid_images[0]))
        local = np.abs(np.asarray(heatmaps["local appearance"]))
        on_grid = np.asarray(peak(local[None])["points"])[0]
        points.append(apply_affine(np.asarray(to_image[0]), on_grid))
    return np.stack(points)


def errors_mm(hands: list, points: np.ndarray) -> np.ndarray:
    truth = np.stack([hand["points"] for hand in hands])
    spacing = np.array([hand["spacing"] for hand in hands])
    return np.linalg.norm(points - truth, axis=-1) * spacing[:, None]


def errors(hands: list, found: list) -> None:
    """Cumulative errors of the product and of local appearance on its own."""
    series = {
        "product": errors_mm(hands, np.stack([one.points_px for one in found])),
        "local appearance": errors_mm(hands, local_appearance_points(hands)),
    }
    figure, axis = plt.subplots(figsize=(10, 3.5), layout="constrained")
    for (name, values), color in zip(series.items(), (TRUE, FOUND), strict=True):
        ordered = np.sort(values.ravel())
        percent = 100.0 * np.arange(1, ordered.size + 1) / ordered.size
        axis.plot(ordered, percent, color=color, lw=3, label=name)
        print(
            f"{name}: mean {values.mean():.2f}, median {np.median(values):.2f}, "
            f"below 2 mm {100.0 * (values < 2.0).mean():.1f} %, "
            f"above 10 mm {100.0 * (values > 10.0).mean():.1f} %"
        )
    axis.axvline(2.0, color="0.4", ls="--")
    axis.set(xscale="log", xlim=(0.03, 200.0), ylim=(0, 101), ylabel="% of points")
    axis.set_xticks([0.1, 1, 2, 10, 100], ["0.1", "1", "2", "10", "100"])
    axis.set_xlabel("error below, mm")
    axis.legend(loc="lower right")
    save(figure, "errors")


def observers(hand: dict) -> None:
    """Simulated repeated annotations by two observers."""
    random = np.random.default_rng(0)
    x, y = hand["points"][row_of("capitate")]
    figure, axis = plt.subplots(figsize=(4.9, 4.4), layout="constrained")
    axis.imshow(hand["image"], cmap="gray")
    for name, offset, color in (("A", (-7, 2), FOUND), ("B", (9, -4), "tab:cyan")):
        marks = random.multivariate_normal(offset, [[16, 6], [6, 10]], 25)
        axis.scatter(*(marks + (x, y)).T, s=16, c=color)
        mean = marks.mean(axis=0) + (x, y)
        axis.plot(*mean, "+", color=color, ms=26, mew=4, label=f"observer {name}")
    axis.set(xlim=(x - 45, x + 45), ylim=(y + 40, y - 40))
    axis.legend(loc="lower right")
    axis.set_axis_off()
    save(figure, "observers")


def radii(hands: list, found: list) -> None:
    """Circles of 90 % in one image, and errors over radii in all."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.0), layout="constrained")
    hand, result = hands[0], found[0]
    axes[0].imshow(hand["image"], cmap="gray")
    circles = zip(result.points_px, result.radius90_px, strict=True)
    for point, radius in circles:
        axes[0].add_patch(plt.Circle(point, radius, fill=False, color=FOUND, lw=1.5))
    axes[0].scatter(*hand["points"].T, s=5, c="lime")
    middle = hand["points"][13:18].mean(axis=0)
    half = 95
    axes[0].set(xlim=(middle[0] - half * 1.25, middle[0] + half * 1.25))
    axes[0].set(ylim=(middle[1] + half, middle[1] - half))
    axes[0].set_axis_off()
    values = errors_mm(hands, np.stack([one.points_px for one in found]))
    radius = np.stack([one.radius90_mm for one in found])
    axes[1].scatter(radius, values, s=5, alpha=0.5)
    limit = float(np.percentile(radius, 99.7))
    axes[1].plot([0, limit], [0, limit], color="0.3", lw=2)
    axes[1].set(xlim=(0, limit), ylim=(0, limit))
    axes[1].set(xlabel="90 % radius, mm", ylabel="error, mm")
    print(f"coverage {100.0 * (values <= radius).mean():.1f} %")
    save(figure, "radii")


def novelty(hand: dict) -> None:
    """The same hand in three positions, and whether the model trusts it."""
    image = hand["image"]
    noise = np.random.default_rng(0).integers(0, 255, image.shape, "uint8")
    shown = {
        "as it is": image,
        "mirrored": np.ascontiguousarray(image[:, ::-1]),
        "upside down": np.ascontiguousarray(image[::-1, ::-1]),
        "noise": noise,
    }
    hands = [{"image": image, "spacing": hand["spacing"]} for image in shown.values()]
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.9), layout="constrained")
    rows = zip(axes, shown.items(), located(hands), strict=True)
    for axis, (name, image), result in rows:
        axis.imshow(image, cmap="gray")
        axis.scatter(*result.points_px.T, s=8, c=FOUND)
        axis.set(xlim=(-0.5, image.shape[1]), ylim=(image.shape[0], -0.5))
        axis.set_title(f"{name}:\n{'trusted' if result.trusted else 'not trusted'}")
        axis.set_axis_off()
    save(figure, "novelty")


def factors(hand: dict, landmark: str = "middle tip") -> None:
    """The two factors of a heatmap, and their product."""
    run = Run(preset_path(PRESET))
    affine = np.diag([hand["spacing"]] * 2 + [1.0]).astype("float32")
    image = hand["image"][..., None].astype("float32") / 255.0
    grid_image = np.asarray(run.locator().to_grid(image, affine)[0][0])
    heatmaps = inner_heatmaps(run.load_model(), grid_image)
    figure, axes = plt.subplots(1, 3, figsize=(10, 4.9), layout="constrained")
    for axis, (title, values) in zip(axes, heatmaps.items(), strict=True):
        values = np.asarray(values)[..., row_of(landmark)]
        limit = np.abs(values).max()
        axis.imshow(grid_image[..., 0], cmap="gray")
        axis.imshow(values, cmap="PuOr_r", alpha=0.6, vmin=-limit, vmax=limit)
        axis.set_title(title)
        axis.set_axis_off()
    save(figure, "factors")


def influence(hand: dict) -> None:
    """How far points move if a landmark is occluded, by parts of the hand."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "hand.mha"
        image = sitk.GetImageFromArray(hand["image"])
        image.SetSpacing([hand["spacing"]] * 2)
        sitk.WriteImage(image, file)
        explanation = explain(PRESET, file)
    moved = shifts(explanation)
    np.fill_diagonal(moved, np.nan)
    groups = [(0, 6), (6, 13), (13, 18), (18, 37)]
    names = ("forearm", "carpals", "metacarpals", "fingers")
    means = [[np.nanmean(moved[a:b, c:d]) for c, d in groups] for a, b in groups]
    figure, axis = plt.subplots(figsize=(4.9, 4.5), layout="constrained")
    axis.imshow(means, cmap="Oranges", vmin=0.0, vmax=1.5 * np.max(means))
    for (row, column), value in np.ndenumerate(means):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center")
    axis.set_xticks(range(4), names, rotation=30)
    axis.set_yticks(range(4), names)
    axis.set(xlabel="occluded", ylabel="moved")
    axis.set_title(f"mean shift, {explanation.unit}")
    save(figure, "influence")


if __name__ == "__main__":
    hands = [generate_hand(seed=20, index=n) for n in range(COUNT)]
    factors(hands[2])
    influence(hands[2])
    found = located(hands)
    errors(hands, found)
    observers(hands[2])
    radii(hands, found)
    novelty(hands[2])
