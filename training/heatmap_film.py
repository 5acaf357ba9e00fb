"""A film of the heatmaps of one image during a training."""

import io
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from scn_keras.files.atomic_write import write_bytes
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_heatmaps, inner_heatmaps, to_png
from scn_keras.pictures.style import INK, halo

ALL = "all"

_FORMATS = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}
_SECONDS = 8.0  # of the film, and then the last frame again
_LAST_FRAME = 2000  # ms


class HeatmapFilm(keras.callbacks.Callback):
    """A callback that films the heatmaps of one image over the steps of a training.

    Each frame shows the stages of the network, see `draw_heatmaps`, with the number of
    the step. Early steps are filmed more often than late ones: frame k of n is that of
    step `steps * (k / (n - 1)) ** 2`, rounded. The frames are files in a folder beside
    the film, so that the film of a resumed training is that of an uninterrupted one.
    The folder is removed after the last step. The same training gives the same film.

    Filming does not change the training.

    Args:
        path: Path of the film, which ends in `.webp`, `.gif` or `.png` (animated PNG).
        image: Array `(*grid, 1)`, an input of the network.
        schema: `LandmarkSchema`.
        steps: Int, the steps of the whole training.
        landmark: Str, the name of the landmark whose heatmaps are filmed, or `"all"`
            for those of all landmarks, each in its colour.
        true: Array `(N, D)`, the true points in pixels of the grid, drawn as rings, or
            `None`.
        frames: Int, the number of frames.
        max_bytes: Int, the largest size of the film. If it is exceeded, every second
            frame is left out, as often as necessary.

    Raises:
        ValueError: If there is no such landmark or the format of the film is unknown.

    Example:

    ```python
    image, y = next(iter(source.plain()))
    film = HeatmapFilm("film.webp", image[0], source.schema, 800, "thumb tip")
    fit(recipe, "runs/hands", callbacks=[film])
    ```
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        image: np.ndarray,
        schema: LandmarkSchema,
        steps: int,
        landmark: str = ALL,
        true: np.ndarray | None = None,
        frames: int = 48,
        max_bytes: int = 2_000_000,
    ) -> None:
        super().__init__()
        self.path = pathlib.Path(path)
        self.require(schema, landmark)
        if self.path.suffix.lower() not in _FORMATS:
            raise ValueError(
                f"The file of a film must end in {', '.join(_FORMATS)}. "
                f"Received: {self.path}"
            )
        self.folder = self.path.with_name(f"{self.path.stem}_frames")
        self.image = keras.ops.convert_to_numpy(image)
        self.schema = schema
        self.true = true
        self.index = None if landmark == ALL else schema.names.index(landmark)
        self.max_bytes = max_bytes
        self.steps = steps
        self.filmed = set(film_steps(steps, frames))

    @staticmethod
    def require(schema: LandmarkSchema, landmark: str) -> None:
        """Validates the name of the landmark of a film.

        Raises:
            ValueError: If there is no landmark of this name.
        """
        if landmark != ALL and landmark not in schema.names:
            raise ValueError(
                f"A film shows one landmark or {ALL!r}. Expected one of "
                f"{', '.join(schema.names)}. Received: {landmark!r}"
            )

    def on_train_begin(self, logs: Any = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._film_step()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._film_step()

    def on_train_end(self, logs: Any = None) -> None:
        files = sorted(self.folder.glob("*.png"))
        write_bytes(self.path, encode_film(files, self.path.suffix, self.max_bytes))
        if self._step() >= self.steps:
            for file in files:
                file.unlink()
            self.folder.rmdir()

    def _step(self) -> int:
        iterations = self.model.optimizer.iterations
        return int(keras.ops.convert_to_numpy(iterations))

    def _film_step(self) -> None:
        step = self._step()
        if step not in self.filmed:
            return
        drawing = draw_heatmaps(
            self.image,
            inner_heatmaps(self.model, self.image),
            self.schema,
            self.index,
            true=self.true,
            width=9.0,
        )
        text = f"step {step} of {self.steps}"
        drawing.text(0.012, 0.025, text, color=INK, fontsize=9, path_effects=halo(2.5))
        write_bytes(self.folder / f"{step:08d}.png", to_png(drawing, dpi=80))


def film_steps(steps: int, frames: int) -> list[int]:
    """Returns the steps of the frames of a film, the first 0 and the last `steps`.

    Args:
        steps: Int, the steps of the training.
        frames: Int, the number of frames, at least 2; fewer for short trainings.

    Example:

    >>> film_steps(800, 5)
    [0, 50, 200, 450, 800]
    """
    last = max(frames, 2) - 1
    return sorted({round(steps * (k / last) ** 2) for k in range(last + 1)})


def encode_film(
    files: Sequence[pathlib.Path], suffix: str, max_bytes: int = 2_000_000
) -> bytes:
    """Returns the bytes of an animation of pictures of one size.

    Args:
        files: Sequence of paths of PNG files, the frames.
        suffix: Str, `.webp`, `.gif` or `.png`.
        max_bytes: Int, the largest size. If it is exceeded, every second frame is left
            out, as often as necessary, but not the first and the last.
    """
    frames = []
    for file in files:
        with Image.open(file) as frame:
            frames.append(frame.convert("RGB"))
    while True:
        data = _encode(frames, _FORMATS[suffix.lower()])
        if len(data) <= max_bytes or len(frames) <= 2:
            return data
        frames = [*frames[:-1:2], frames[-1]]


def _encode(frames: Iterable[Image.Image], format: str) -> bytes:
    first, *others = frames
    duration = round(1000.0 * _SECONDS / max(len(others), 1))
    settings: dict[str, Any] = {"WEBP": {"quality": 60, "method": 4}}.get(format, {})
    file = io.BytesIO()
    first.save(
        file,
        format,
        save_all=True,
        append_images=others,
        duration=[duration] * len(others) + [_LAST_FRAME],
        loop=0,
        **settings,
    )
    return file.getvalue()
