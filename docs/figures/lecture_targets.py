"""Draws figures of the lecture: `python docs/figures/lecture_targets.py`.

Those in docs/figures/lecture that need no model: landmarks, lookalikes, sigma,
subpixel, votes and augmentation.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from scn_keras.array_api import NUMPY
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand import generate_hand
from scn_keras.training import Augmentation

FOLDER = pathlib.Path(__file__).with_name("lecture")
TRUE, FOUND = "tab:green", "tab:orange"
FINGERTIPS = ("thumb tip", "index tip", "middle tip", "ring tip", "little tip")

# Text of 24 pixels on a slide, at 1160 pixels for 10 inches.
plt.rcParams.update({"font.size": 15, "savefig.dpi": 116, "axes.titlesize": 15})


def save(figure: Figure, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png", pil_kwargs={"optimize": True})
    plt.close(figure)


def row_of(name: str) -> int:
    return HAND_SCHEMA.names.index(name)


def gaussian(shape: tuple[int, ...], point: np.ndarray, sigma: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    squares = (x - point[0]) ** 2 + (y - point[1]) ** 2
    return np.exp(-squares / (2.0 * sigma**2))


def landmarks() -> None:
    """A drawn hand, its 37 points and five names."""
    hand = generate_hand(seed=20, index=2, size=(384, 300))
    figure, axis = plt.subplots(figsize=(4.9, 5.0), layout="constrained")
    axis.imshow(hand["image"], cmap="gray")
    axis.scatter(*hand["points"].T, s=22, c=FOUND)
    places = {"middle tip": (62, 18), "thumb tip": (250, 140), "capitate": (245, 312)}
    for name, place in places.items():
        axis.annotate(
            name,
            hand["points"][row_of(name)],
            place,
            color="white",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "white", "lw": 1.5},
        )
    axis.set_axis_off()
    save(figure, "landmarks")


def lookalikes() -> None:
    """The surroundings of five fingertips, of equal size."""
    hand = generate_hand(seed=20, index=2, size=(640, 480))
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.7), layout="constrained")
    for axis, letter, name in zip(axes, "ABCDE", np.roll(FINGERTIPS, 2), strict=True):
        x, y = hand["points"][row_of(name)].round().astype(int)
        axis.imshow(np.pad(hand["image"], 30)[y : y + 61, x : x + 61], cmap="gray")
        axis.set_title(letter)
        axis.set_axis_off()
    save(figure, "lookalikes")


def sigma() -> None:
    """The same point with three widths of its target."""
    hand = generate_hand(seed=20, index=2, size=(128, 100))
    point = hand["points"][row_of("middle tip")]
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.7), layout="constrained")
    for n, width in enumerate((1.0, 3.0, 8.0)):
        axis = axes[n]
        axis.imshow(hand["image"], cmap="gray")
        target = gaussian(hand["image"].shape, point, width)
        axis.imshow(target, cmap="magma", alpha=0.65)
        axis.set_title(f"σ = {width:g} px", color=f"C{n}")
        axis.set_axis_off()
        x = np.linspace(-20.0, 20.0, 201)
        axes[3].plot(x, np.exp(-(x**2) / (2.0 * width**2)), lw=2.5)
    axes[3].set(xlabel="px from the point", title="profile", yticks=(0, 1))
    save(figure, "sigma")


def subpixel() -> None:
    """Three samples of a Gaussian, the brightest one and the peak of the parabola."""
    peak, width = 3.3, 1.5
    pixels, fine = np.arange(8), np.linspace(-0.3, 7.3, 300)
    curve = lambda x: np.exp(-((x - peak) ** 2) / (2.0 * width**2))  # noqa: E731
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    axes[0].plot(fine, curve(fine), color="0.6")
    axes[0].stem(pixels, curve(pixels), basefmt=" ")
    axes[0].axvline(3, color=FOUND, ls="--", lw=2.5, label="brightest pixel, 3")
    axes[0].axvline(peak, color=TRUE, lw=2.5, label="true peak, 3.3")
    axes[0].set(title="heatmap along x", xlabel="px", ylim=(0, 1.6), yticks=(0, 1))
    axes[0].legend(loc="upper right", fontsize=14)
    logarithm = np.log(curve(pixels))
    parabola = np.polyfit([2, 3, 4], logarithm[2:5], 2)
    axes[1].plot(fine, np.polyval(parabola, fine), color="0.6")
    axes[1].plot([2, 3, 4], logarithm[2:5], "o", ms=11)
    axes[1].axvline(-parabola[1] / (2.0 * parabola[0]), color=TRUE, lw=2.5)
    axes[1].set(title="its logarithm: a parabola", xlabel="px", ylim=(-2.0, 0.3))
    axes[1].set(xlim=(0.5, 6.2))
    save(figure, "subpixel")


def votes() -> None:
    """Displacements of patches to a landmark, wider for those that are near."""
    hand = generate_hand(seed=20, index=2, size=(384, 288))
    point = hand["points"][row_of("capitate")]
    x, y = np.meshgrid(np.arange(24, 288, 48), np.arange(24, 384, 48))
    distances = np.hypot(x - point[0], y - point[1])
    figure, axis = plt.subplots(figsize=(4.2, 5.0), layout="constrained")
    axis.imshow(hand["image"], cmap="gray")
    for line in np.arange(0, 385, 48):
        axis.axhline(line - 0.5, color="white", alpha=0.35, lw=0.8)
        axis.axvline(min(line, 288) - 0.5, color="white", alpha=0.35, lw=0.8)
    weights = np.exp(-((distances / 60.0) ** 2)).ravel()
    lengths = np.minimum(distances, 34.0) / np.maximum(distances, 1.0)
    dx, dy = (point[0] - x) * lengths, (point[1] - y) * lengths
    colors = [(1.0, 0.6, 0.1, 0.25 + 0.75 * weight) for weight in weights]
    options = {"angles": "xy", "scale_units": "xy", "units": "xy", "scale": 1.0}
    axis.quiver(x, y, dx, dy, color=colors, width=4.0, **options)
    axis.plot(*point, "o", ms=11, mfc="none", mec="lime", mew=3)
    axis.set_axis_off()
    save(figure, "votes")


def augmentation() -> None:
    """One drawn hand, and five draws of an augmentation, points moved with it."""
    size = (160, 128)
    hand = generate_hand(seed=20, index=2, size=size)
    image = hand["image"][..., None] / 127.5 - 1.0
    affine = np.diag([hand["spacing"]] * 2 + [1.0]).astype("float32")
    augmentation = Augmentation(
        rotation=0.25,
        scale=0.15,
        translation=0.06,
        elastic=0.07,
        gamma=0.5,
        intensity_scale=0.25,
        noise=0.06,
        erase=0.5,
    )
    figure, axes = plt.subplots(1, 6, figsize=(10, 2.7), layout="constrained")
    for n, axis in enumerate(axes):
        shown, points = image, hand["points"]
        if n:
            drawn = augmentation.draw(n, size)
            shown, target = augmentation.apply(
                drawn, image.astype("float32"), points, affine, xp=NUMPY
            )
            points = target["points"]
        axis.imshow(shown[..., 0], cmap="gray", vmin=-1.0, vmax=1.0)
        axis.scatter(*points.T, s=5, c=FOUND)
        axis.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5))
        axis.set_title(f"draw {n}" if n else "original")
        axis.set_axis_off()
    save(figure, "augmentation")


if __name__ == "__main__":
    for draw in (landmarks, lookalikes, sigma, subpixel, votes, augmentation):
        draw()
