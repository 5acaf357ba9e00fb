"""Stores the forests of an interrupted training."""

import pathlib

from scn_keras.classical._stored_model import load_arrays, save_arrays
from scn_keras.classical.offset_forest import OffsetForest


class FittedParts:
    """Stores the forests of an interrupted training.

    Args:
        folder: Path or `None`.
        total: Int, the number of forests.
        progress: Function of the number of finished forests and the total, or `None`.
    """

    def __init__(self, folder, total, progress):
        self._folder = None if folder is None else pathlib.Path(folder)
        self._total = total
        self._done = 0
        self._progress = progress or (lambda done, total: None)

    def holds(self, name):
        """Whether a forest is stored."""
        path = self._path(name)
        return path is not None and path.is_file()

    def forest(self, name, fit):
        """Returns a stored forest, or that of a function, which is then stored."""
        path = self._path(name)
        if path is not None and path.is_file():
            _, arrays = load_arrays(path, "OffsetForest")
            forest = OffsetForest.from_arrays(arrays)
        else:
            forest = fit()
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                save_arrays(path, {"kind": "OffsetForest"}, forest.arrays())
        self.done()
        return forest

    def done(self):
        """Counts a part that is finished."""
        self._done += 1
        self._progress(self._done, self._total)

    def _path(self, name):
        return None if self._folder is None else self._folder / f"{name}.npz"
