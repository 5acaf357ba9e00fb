import dataclasses

import tensorflow_datasets as tfds


@dataclasses.dataclass(eq=False, kw_only=True)
class SyntheticVolumeConfig(tfds.core.BuilderConfig):
    """Size, numbers and seed of synthetic volumes.

    Volumes of the same seed and index show the same person at every size and for all
    numbers of volumes. Test volumes are never among the training volumes.

    Args:
        size: Three ints, slices, rows and columns.
        train: Int, the number of training volumes.
        test: Int, the number of test volumes.
        seed: Int, not negative.
        name: Str, the name of the folder. Defaults to one of the four arguments above.
        description: Str. Defaults to a sentence with the four arguments.

    Raises:
        ValueError: If a number of volumes is below 1.

    Example:

    >>> SyntheticVolumeConfig(size=(48, 32, 32), train=20, test=5).name
    '48x32x32-train20-test5-seed0'
    """

    size: tuple[int, int, int] = (96, 64, 64)
    train: int = 40
    test: int = 10
    seed: int = 0
    name: str = ""
    description: str | None = None

    def __post_init__(self) -> None:
        if min(self.train, self.test) < 1:
            raise ValueError(
                "`train` and `test` must be at least 1. "
                f"Received: train={self.train}, test={self.test}"
            )
        size = "x".join(map(str, self.size))
        numbers = f"train{self.train}-test{self.test}-seed{self.seed}"
        self.name = self.name or f"{size}-{numbers}"
        self.description = self.description or (
            f"{size.replace('x', ' x ')} voxels (slices x rows x columns), "
            f"{self.train} training and {self.test} test volumes, seed {self.seed}."
        )
