import dataclasses

import tensorflow_datasets as tfds


@dataclasses.dataclass(eq=False, kw_only=True)
class SyntheticHandConfig(tfds.core.BuilderConfig):
    """Size, numbers and seed of synthetic hands.

    Hands of the same seed and index are the same at every size and for all numbers of
    images. Test hands are never among the training hands.

    Args:
        size: Pair of ints, rows and columns of the images.
        train: Int, the number of training images.
        test: Int, the number of test images.
        seed: Int, not negative.
        name: Str, the name of the folder. Defaults to one of the four arguments above.
        description: Str. Defaults to a sentence with the four arguments.

    Raises:
        ValueError: If a number of images is below 1.

    Example:

    >>> SyntheticHandConfig(size=(256, 200), train=20, test=5).name
    '256x200-train20-test5-seed0'
    """

    size: tuple[int, int] = (512, 400)
    train: int = 200
    test: int = 50
    seed: int = 0
    name: str = ""
    description: str | None = None

    def __post_init__(self) -> None:
        if min(self.train, self.test) < 1:
            raise ValueError(
                "`train` and `test` must be at least 1. "
                f"Received: train={self.train}, test={self.test}"
            )
        rows, columns = self.size
        numbers = f"train{self.train}-test{self.test}-seed{self.seed}"
        self.name = self.name or f"{rows}x{columns}-{numbers}"
        self.description = self.description or (
            f"{rows} x {columns} pixels (rows x columns), {self.train} training and "
            f"{self.test} test images, seed {self.seed}."
        )
