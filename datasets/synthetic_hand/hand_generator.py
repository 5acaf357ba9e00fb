"""Synthetic left-hand radiographs with exactly known landmarks."""

from typing import TypedDict

import numpy as np

from scn_keras.datasets.synthetic_hand.film import sample_film
from scn_keras.datasets.synthetic_hand.film_cover import sample_cover
from scn_keras.datasets.synthetic_hand.hand_anatomy import sample_hand

# Largest spacing in mm at which hands are drawn. Coarser images are averaged.
_MAX_PITCH = 0.7


class HandRadiograph(TypedDict):
    """The result of `generate_hand`."""

    image: np.ndarray
    points: np.ndarray
    spacing: float


def generate_hand(
    seed: int, index: int, size: tuple[int, int] = (512, 400)
) -> HandRadiograph:
    """Draws one radiograph of a left hand.

    A pure function of its arguments: the same seed and index give the same hand, pose,
    field and exposure. The random numbers are those of
    `PCG64(SeedSequence([seed, index]))`. Sizes with the same aspect ratio show the same
    field at another resolution, `x' = (x + 0.5) * s - 0.5`; another aspect ratio shows
    the same hand in a field of another shape. Only the noise differs.

    Args:
        seed: Int, the seed of the data set, not negative.
        index: Int, the number of the image, not negative.
        size: Pair of ints, rows and columns of the image.

    Returns:
        Dict with `image`, uint8 array `(rows, columns)`; `points`, float32 array
        `(37, 2)`, x and y in pixels with a pixel's centre at whole numbers; and
        `spacing`, a float, mm per pixel.

    Raises:
        ValueError: If seed or index is negative, or a size is below 32.

    Example:

    >>> hand = generate_hand(seed=1, index=0, size=(128, 100))
    >>> hand["image"].shape, hand["image"].dtype.name, hand["points"].shape
    ((128, 100), 'uint8', (37, 2))
    """
    if seed < 0 or index < 0:
        raise ValueError(
            "`seed` and `index` must not be negative. "
            f"Received: seed={seed}, index={index}"
        )
    if len(size) != 2 or min(size) < 32:
        raise ValueError(
            "`size` must be the number of rows and of columns, both at least 32. "
            f"Received: size={size}"
        )
    # Separate streams, so that the film does not depend on the numbers for the hand.
    streams = np.random.SeedSequence([seed, index]).spawn(4)
    rngs = [np.random.Generator(np.random.PCG64(stream)) for stream in streams]
    hand = sample_hand(rngs[0])
    film = sample_film(rngs[1])
    cover = sample_cover(rngs[2])
    spacing, corner = film.field(hand.points, size)
    hand = hand.moved(-corner)

    finer = max(1, int(np.ceil(spacing / _MAX_PITCH)))
    pitch = spacing / finer
    shape = (size[0] * finer, size[1] * finer)
    extent = spacing * np.array([size[1], size[0]])
    absorbed, skin = hand.soft_tissue.draw(extent, shape, pitch)
    absorbed *= film.unevenness(shape)
    for bone in hand.bones:
        bone.add_to(absorbed, pitch, film.sponge)
    grey = film.develop(absorbed, pitch)
    cover.draw(grey, pitch, hand.points, skin)
    if finer > 1:
        grey = grey.reshape(size[0], finer, size[1], finer).mean((1, 3))
    grey += film.noise * rngs[3].standard_normal(grey.shape, np.float32)
    image = np.clip(np.rint(grey * 255.0), 0, 255).astype(np.uint8)
    points = (hand.points / spacing - 0.5).astype(np.float32)
    return {"image": image, "points": points, "spacing": spacing}
