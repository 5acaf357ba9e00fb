from collections.abc import Sequence

import numpy as np


class BoxDifferences:
    """Differences of the means of two boxes at offsets from a pixel.

    A feature of a pixel p is the mean of the image in a box around p + a minus the mean
    in a box around p + b. Long offsets compare distant structures, short ones describe
    the surroundings. Brightness has no influence. The means of all boxes of a width are
    computed at once, from the integral image.

    At the border: a centre outside the image is moved to the nearest pixel of the
    image, and the mean is that of the part of the box inside the image.

    Source: the features of regression forests (Criminisi et al., MICCAI-MCV 2010, used
    by Ebner et al., MICCAI 2014). The widths and the distribution of the offsets in
    `draw` are of this package.

    Args:
        offsets: Int array `(F, 2, D)`, the offsets a and b of each feature in px,
            columns x, y(, z).
        boxes: Int array `(F, 2)`, the index in `widths` of each box.
        widths: Odd ints, the widths of the boxes in px, which are squares or cubes.

    Call arguments:
        image: Array `(rows, columns)` or `(slices, rows, columns)`.
        positions: Int array `(P, D)` of pixels, columns x, y(, z).

    Output:
        Float32 array `(P, F)`.

    Raises:
        ValueError: If shapes do not match, or a width is even or not positive.

    Example:

    >>> image = np.arange(12.0).reshape(3, 4)
    >>> right_minus_centre = scn_keras.classical.BoxDifferences(
    ...     offsets=[[[2, 0], [0, 0]]], boxes=[[0, 0]], widths=(1,)
    ... )
    >>> right_minus_centre(image, [[0, 0], [3, 2]]).tolist()
    [[2.0], [0.0]]
    """

    def __init__(
        self, offsets: np.ndarray, boxes: np.ndarray, widths: Sequence[int]
    ) -> None:
        self.offsets = np.asarray(offsets, "int32")
        self.boxes = np.asarray(boxes, "int32")
        self.widths = tuple(int(width) for width in widths)
        shape = self.offsets.shape
        if len(shape) != 3 or shape[1] != 2 or shape[2] not in (2, 3):
            raise ValueError(
                "`offsets` must have the shape (features, 2, D) with D 2 or 3. "
                f"Received: offsets of shape {shape}"
            )
        if self.boxes.shape != shape[:2]:
            raise ValueError(
                f"`boxes` must have the shape {shape[:2]}, as `offsets`. "
                f"Received: boxes of shape {self.boxes.shape}"
            )
        if not self.widths or any(w < 1 or w % 2 == 0 for w in self.widths):
            raise ValueError(
                f"`widths` must be odd positive integers. Received: widths={widths}"
            )
        if self.boxes.size and not (
            0 <= self.boxes.min() <= self.boxes.max() < len(self.widths)
        ):
            raise ValueError(
                f"`boxes` must be indices of the {len(self.widths)} widths. "
                f"Received: boxes from {self.boxes.min()} to {self.boxes.max()}"
            )

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def draw(
        cls,
        count: int,
        ranges: Sequence[float],
        widths: Sequence[int],
        rank: int,
        random: np.random.Generator,
    ) -> "BoxDifferences":
        """Draws random features.

        Args:
            count: Int, the number of features.
            ranges: Floats in px. Equal numbers of features have both offsets uniform
                in ± each range along every axis.
            widths: Odd ints, the widths of the boxes in px, drawn with equal
                probability.
            rank: Int, the number of axes of the images, 2 or 3.
            random: NumPy's generator.

        Returns:
            `BoxDifferences`.

        Example:

        >>> features = scn_keras.classical.BoxDifferences.draw(
        ...     6, (40, 10), (1, 3, 7), rank=2, random=np.random.default_rng(0)
        ... )
        >>> features.offsets.shape
        (6, 2, 2)
        """
        scale = np.resize(np.asarray(ranges, "float64"), count)[:, None, None]
        offsets = np.rint(random.uniform(-1.0, 1.0, (count, 2, rank)) * scale)
        boxes = random.integers(0, len(widths), (count, 2))
        return cls(offsets.astype("int32"), boxes, widths)

    def __call__(self, image: np.ndarray, positions: np.ndarray) -> np.ndarray:
        rank = self.offsets.shape[2]
        positions = np.asarray(positions, "int32")
        if np.ndim(image) != rank or positions.shape[1:] != (rank,):
            raise ValueError(
                f"Features of {rank} axes require an image of {rank} axes and "
                f"positions (P, {rank}). Received: image of shape {np.shape(image)}, "
                f"positions of shape {positions.shape}"
            )
        return self.at(box_means(image, self.widths), positions)

    def at(self, means: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Returns the features at pixels, from means computed before.

        Args:
            means: The result of `box_means(image, widths)`.
            positions: Int array `(P, D)` of pixels, columns x, y(, z).

        Returns:
            Float32 array `(P, F)`.
        """
        values = self._of_boxes(means, positions, 0)
        values -= self._of_boxes(means, positions, 1)
        return values

    def _of_boxes(self, means, positions, which):
        """Returns the means of the first or second boxes, `(P, F)`."""
        sizes = means.shape[1:]
        index = self.boxes[:, which].astype("int64")
        for axis, size in enumerate(sizes):
            column = len(sizes) - 1 - axis
            along = positions[:, column, None] + self.offsets[:, which, column]
            index = index * size + np.clip(along, 0, size - 1, out=along)
        return means.reshape(-1)[index]


def box_means(image: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Returns the mean of the box around every pixel, by integral images.

    Args:
        image: Array `(rows, columns)` or `(slices, rows, columns)`.
        widths: Odd ints, the widths of the boxes in px. Only the part of a box inside
            the image counts.

    Returns:
        Float32 array `(len(widths), *image.shape)`.

    Example:

    >>> scn_keras.classical.box_means(np.array([[0.0, 3.0, 9.0]]), (3,)).tolist()
    [[[1.5, 4.0, 6.0]]]
    """
    # A constant is subtracted, so that the sums remain small and therefore precise.
    image = np.asarray(image, "float64")
    base = image.mean()
    integral = image - base
    for axis in range(image.ndim):
        integral = np.cumsum(integral, axis=axis)
    integral = np.pad(integral, [(1, 0)] * image.ndim)
    result = np.empty((len(widths), *image.shape), "float32")
    for number, width in enumerate(widths):
        sums, count = integral, np.ones([1] * image.ndim)
        for axis, size in enumerate(image.shape):
            along = np.arange(size)
            low = np.maximum(along - width // 2, 0)
            high = np.minimum(along + width // 2 + 1, size)
            sums = np.take(sums, high, axis) - np.take(sums, low, axis)
            shape = [1] * image.ndim
            shape[axis] = size
            count = count * (high - low).reshape(shape)
        result[number] = sums / count + base
    return result
