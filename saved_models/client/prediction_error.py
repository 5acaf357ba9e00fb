import pathlib


class PredictionError(Exception):
    """The reason why an image has no `Prediction`.

    Args:
        file: Path of the image, or a name with the number of an array.
        message: Str, the reason in one sentence.
    """

    def __init__(self, file: pathlib.Path, message: str) -> None:
        super().__init__(message)
        self.file = file
