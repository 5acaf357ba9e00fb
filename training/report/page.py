"""Writes the report of a run: one page with results, curves and example images."""

import html
import json
import pathlib
import string
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from scn_keras.files.atomic_write import write_text
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.evaluation import Evaluation
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.evaluation.result_table import (
    between_observers,
    observer_pairs,
    scope,
)
from scn_keras.training.report.curves import curve_pictures
from scn_keras.training.report.examples import heatmap_pictures, overlay_pictures
from scn_keras.training.report.offset_figure import offset_picture
from scn_keras.training.report.reported_split import ReportedSplit
from scn_keras.training.report.tables import (
    farthest_table,
    headline_card,
    landmark_table,
    offset_table,
    protocol_list,
    results_tables,
)
from scn_keras.training.run import Run

# By the dimensions of the images.
_ABOUT_RINGS = {
    2: "A dot outside of its ring is a miss; the farthest three are named.",
    3: "Below the projections are slices through the two points with the largest "
    "errors. Rings are true points.",
}


def write_report(
    run: Run,
    split: str | None = None,
    data_dir: str | pathlib.Path | None = None,
    worst: int = 10,
    best: int = 3,
    folder: str | pathlib.Path | None = None,
    path: str | pathlib.Path | None = None,
    evaluation: Evaluation | None = None,
) -> pathlib.Path:
    """Writes `report.html` of an evaluated run, a self-contained page.

    The page contains, in this order, the worst images with predicted and true points,
    the points with the largest errors, all results of the run, those of each landmark,
    the cumulative error curve, the training history, heatmaps of the stages of the
    network for a typical image and for the point with the largest error, the best
    images, and the protocol of the results. In the headline, the truth
    is the observer of the training.

    Args:
        run: `Run`, evaluated on the split.
        split: Str, the split whose images are shown; `None` for the recipe's
            `test_split`.
        data_dir: Str or path, the folder of prepared data sets; `None` for the
            default of TensorFlow Datasets.
        worst: Int, the number of images with the largest mean errors that are shown.
        best: Int, the number of images with the smallest mean errors.
        folder: Str or path, the folder of images that the run was evaluated on;
            `None` for the recipe's data set.
        path: Str or path, the file to write; `None` for `report.html` in the run.
        evaluation: `Evaluation` of the run, whose images, points and model are used
            instead of `split`, `data_dir` and `folder`.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the run has not been evaluated on the split, or the
            data set does not exist.

    Example:

    ```python
    write_report(Run("runs/cephalogram_fast"), split="test1")
    ```
    """
    if evaluation is None:
        images = split_of(run, split, data_dir, folder)
        points = read_points(run, images.name)
    else:
        images, points = evaluation.images, evaluation.points
    reported = ReportedSplit(run, images.name, images.truths, points)
    ranked = [*reported.mean_errors]  # in descending order
    worst_ids, best_ids = ranked[:worst], ranked[::-1][:best]
    farthest = reported.farthest_points[0].image
    samples = images.find({*worst_ids, *best_ids, reported.typical_image, farthest})
    truths = {
        id: images.true_points(sample, reported.truth) for id, sample in samples.items()
    }
    pictures = {
        "worst": overlay_pictures(reported, worst_ids, samples, truths),
        "best": overlay_pictures(reported, best_ids, samples, truths),
        "heatmaps": heatmap_pictures(
            reported, samples, truths, evaluation.locator if evaluation else None
        ),
        "curves": (
            *curve_pictures(reported),
            offset_picture(reported.headlines[0], run.schema),
        ),
    }
    path = run.path / "report.html" if path is None else pathlib.Path(path)
    write_text(path, _assemble(reported, pictures))
    return path


def _assemble(reported: ReportedSplit, pictures: Mapping[str, Iterable[str]]) -> str:
    """Fills the template with tables and pictures."""
    headline = reported.headlines[0]
    dataset = headline["protocol"]["dataset"]
    template = resources.files(__package__).joinpath("template.html").read_text("utf-8")
    return string.Template(template).substitute(
        title=html.escape(f"{reported.run.recipe.name} on {dataset}"),
        subtitle=html.escape(_subtitle(reported.run)),
        cards="\n".join(map(headline_card, reported.headlines)),
        results="\n".join(results_tables(reported.results)),
        observers="\n".join(
            f"<p>{html.escape(between_observers(pair, split).capitalize())}</p>"
            for split, pair in observer_pairs(reported.results)
        ),
        protocol=protocol_list(headline["protocol"]),
        headline=html.escape(scope(headline)),
        landmarks=landmark_table(headline) + offset_table(headline),
        farthest=farthest_table(reported),
        rings=_ABOUT_RINGS[len(reported.run.recipe.grid)],
        footer=_footer(reported.run),
        **{name: "\n".join(fragments) for name, fragments in pictures.items()},
    )


def _subtitle(run: Run) -> str:
    recipe = run.recipe
    observer = f", observer {recipe.observer}" if recipe.observer else ""
    return (
        f"{run.path.name}: {recipe.steps} steps of {recipe.batch_size} on "
        f"{recipe.train_split}{observer}, grid {' × '.join(map(str, recipe.grid))}, "
        f"{len(run.schema)} landmarks, seed {recipe.seed}"
    )


def _environment(run: Run) -> dict[str, Any] | None:
    """Returns the environment of the training; a preset has it in its metadata."""
    for name, key in (("environment.json", None), ("metadata.json", "environment")):
        path = run.path / name
        if path.is_file():
            content = json.loads(path.read_text("utf-8"))
            return content if key is None else content.get(key)
    return None


def _footer(run: Run) -> str:
    environment = _environment(run)
    if environment is None:
        return "All settings are in recipe.json."
    versions = ", ".join(f"{k} {v}" for k, v in environment["versions"].items())
    return html.escape(
        f"Trained with {versions}, backend {environment['backend']}, Python "
        f"{environment['python']}. All results are in results/ next to this page, all "
        "settings in recipe.json."
    )
