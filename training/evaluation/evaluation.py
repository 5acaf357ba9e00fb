import dataclasses
from typing import TYPE_CHECKING, Any

from scn_keras.inference.locator import Locator
from scn_keras.training.run import Run

if TYPE_CHECKING:
    from scn_keras.training.evaluation.folder_split import FolderSplit
    from scn_keras.training.evaluation.prepared_split import PreparedSplit


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluated run, with what a report of it needs.

    Args:
        run: `Run`.
        images: `PreparedSplit` or `FolderSplit`, the images it was scored on.
        results: List of dicts, see `evaluate`.
        points: Dict of the points of every image, see `points_table.read_points`.
        locator: `Locator` of the run, its model loaded.
    """

    run: Run
    images: "PreparedSplit | FolderSplit"
    results: list[dict[str, Any]]
    points: dict[str, dict[str, Any]]
    locator: Locator
