import dataclasses
from typing import TYPE_CHECKING, Any

from scn_keras.inference.locator import Locator
from scn_keras.training.run import Run

if TYPE_CHECKING:
    from scn_keras.training.evaluation.folder_split import FolderSplit
    from scn_keras.training.evaluation.prepared_split import PreparedSplit


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluated run with the data of its report.

    Args:
        run: `Run`.
        images: `PreparedSplit` or `FolderSplit`, the images of the evaluation.
        results: List of dicts, see `evaluate`.
        points: Dict of the points of every image, see `points_table.read_points`.
        locator: `Locator` of the run with the loaded model.
    """

    run: Run
    images: "PreparedSplit | FolderSplit"
    results: list[dict[str, Any]]
    points: dict[str, dict[str, Any]]
    locator: Locator
