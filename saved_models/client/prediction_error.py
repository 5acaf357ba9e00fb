import pathlib


class PredictionError(Exception):
    """One image that was not answered, in the place of its `Prediction`.

    Args:
        file: Path of the image, or what stands for an array.
        message: Str, why, in one sentence.
    """

    def __init__(self, file: pathlib.Path, message: str) -> None:
        super().__init__(message)
        self.file = file
