"""The commands `scn-keras evaluate`, `compare`, `calibrate` and `ensemble`."""

import pathlib
import sys

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._next_command import next_command
from scn_keras.cli._options import (
    DATA_DIR,
    FOLDER,
    OUT_FILE,
    PER_LANDMARK,
    json_option,
    require_folders,
    settings_option,
)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=FOLDER)
@click.option("--split", help="The split.  [default: the test split of the recipe]")
@click.option(
    "--folder",
    type=FOLDER,
    help="A folder of your own images with points, in the layout that `datasets "
    "prepare` reads for landmark_folder. It replaces the data set of the recipe and "
    "need not be prepared.",
)
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave out images of --folder that cannot be read. Each is named, and the "
    "exit code is then 1.",
)
@click.option(
    "--with-trained",
    is_flag=True,
    help="Also evaluate images that the model was trained on, which are refused "
    "otherwise. Both results are given, with and without them, marked.",
)
@click.option(
    "--observer",
    "observers",
    multiple=True,
    help="Observer whose points are the ground truth; may be repeated.  [default: "
    "each, and the mean]",
)
@PER_LANDMARK
@json_option("Also write all results to this file as one JSON list.")
@click.option(
    "--report",
    "report_path",
    type=OUT_FILE,
    help="File of the report, if there is one RUN.  [default: RUN/report.html]",
)
@DATA_DIR
@command_function
def evaluate(
    runs: tuple[pathlib.Path, ...],
    split: str | None,
    folder: pathlib.Path | None,
    skip_bad: bool,
    with_trained: bool,
    observers: tuple[str, ...],
    per_landmark: bool,
    json_path: pathlib.Path | None,
    report_path: pathlib.Path | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Measure the errors of RUNs on held-out images.

    A table is printed, and the results and the report of each run are written to its
    folder. Errors are in millimetres. If none of the images has a spacing, they are in
    pixels of the images; if only some have none, these are listed and not evaluated.
    Images that a model was trained on are found under any name and refused.
    """
    from scn_keras.files.shown_text import shown_text
    from scn_keras.training.evaluation.evaluate import evaluate_images, split_of
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.report.page import write_report
    from scn_keras.training.run import Run, write_json

    if report_path and len(runs) > 1:
        raise click.UsageError(
            "--report is for one RUN. Omit it for several RUNs, whose reports are "
            "written to their folders."
        )
    require_folders(json_path, report_path)
    if skip_bad and folder is None:
        raise click.UsageError("--skip-bad is for the images of --folder.")
    problems: dict[str, None] = {}
    results, reports = [], []
    for run in [Run(path) for path in runs]:
        left_out: list[str] = []
        images = split_of(run, split, data_dir, folder, left_out if skip_bad else None)
        problems.update(dict.fromkeys(left_out))
        evaluation = evaluate_images(
            run, images, observers or None, with_trained=with_trained
        )
        results += evaluation.results
        reports.append(write_report(run, path=report_path, evaluation=evaluation))
    print_results(results, landmarks=per_landmark)
    if json_path:
        write_json(json_path, results)
        click.echo(f"Results: {json_path}")
    for path, report in zip(runs, reports, strict=True):
        click.echo(f"Results: {path / 'results'}")
        click.echo(f"Report: {report}")
    for problem in problems:
        click.echo(f"Left out: {shown_text(problem)}", err=True)
    if problems:
        sys.exit(1)


@click.command()
@click.argument("first", type=FOLDER)
@click.argument("second", type=FOLDER)
@click.option(
    "--split", help="The split.  [default: the test split of the first recipe]"
)
@click.option(
    "--with-trained",
    is_flag=True,
    help="Also compare on images that one of the models was trained on, which is "
    "refused otherwise. Both comparisons are given, with and without them, marked.",
)
@PER_LANDMARK
@json_option("Write the numbers to this file as JSON.")
@command_function
def compare(
    first: pathlib.Path,
    second: pathlib.Path,
    split: str | None,
    with_trained: bool,
    per_landmark: bool,
    json_path: pathlib.Path | None,
) -> None:
    """Compare the SECOND run with the FIRST, image by image.

    Both must have been evaluated on the split. The confidence intervals of the
    differences come from a paired bootstrap over patients. Results of different
    protocols cannot be compared.
    """
    from scn_keras.training.evaluation.compare import compare as compare_runs
    from scn_keras.training.evaluation.compare import print_comparison
    from scn_keras.training.run import Run, write_json

    require_folders(json_path)
    compared = compare_runs(Run(first), Run(second), split, with_trained=with_trained)
    print_comparison(compared, (str(first), str(second)), landmarks=per_landmark)
    if json_path:
        write_json(json_path, compared)


@click.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Number of folds into which the patients are divided.  [default: 4]",
)
@click.option(
    "--crossval",
    type=FOLDER,
    metavar="FOLDER",
    help="Use the runs of this finished cross-validation of the same recipe, instead "
    "of training new ones.",
)
@click.option(
    "--folder",
    type=FOLDER,
    help="Use these images of your own with points, in the layout that `datasets "
    "prepare` reads for landmark_folder, together with the calibration of RUN, if it "
    "has one. Nothing is trained.",
)
@click.option("--split", help="Use this split of --folder only.  [default: all]")
@settings_option(
    "Change a setting of the recipe for the runs of the folds: with --set steps=2000 "
    "they take less time, but the radii become larger. May be repeated.",
)
@DATA_DIR
@command_function
def calibrate(
    run: pathlib.Path,
    folds: int | None,
    crossval: pathlib.Path | None,
    folder: pathlib.Path | None,
    split: str | None,
    settings: tuple[str, ...],
    data_dir: pathlib.Path | None,
) -> None:
    """Calibrate the uncertainty of a RUN by cross-validation.

    For each fold of the patients, a run of the same recipe is trained on the other
    folds and predicts the training images of that fold. From then on, evaluate, predict
    and export return the radius within which a point lies with a probability of 90 %,
    whether a landmark is present, and whether the points of an image can be trusted.
    The runs of the folds are written to RUN/calibration and can be deleted afterwards.
    An interrupted calibration continues if the command is run again.

    With --folder, radii, scores and trust are computed for the clinic of these images.
    From a few images, together with the calibration that the run has:

    \b
      scn-keras calibrate runs/cephalogram --folder our_films

    If the points of the clinic are marked elsewhere, use `scn-keras adapt` instead.
    """
    from scn_keras.training.adaptation.calibrate_on_folder import calibrate_on_folder
    from scn_keras.training.experiments.calibrate import calibrate as calibrate_run
    from scn_keras.training.run import Run

    if crossval is not None and (folds or settings):
        raise click.UsageError(
            "The runs of --crossval are already trained. Omit --folds and --set."
        )
    loaded = Run(run)
    if folder is not None:
        if crossval or folds or settings:
            raise click.UsageError(
                "--folder trains nothing. Omit --folds, --crossval and --set."
            )
        calibrate_on_folder(loaded, folder, split)
        click.echo(f"Calibrated: {loaded.calibration_path}")
        return
    if split is not None:
        raise click.UsageError("--split is for the images of --folder.")
    calibrate_run(loaded, folds or 4, crossval, settings, data_dir)
    click.echo(f"Calibrated: {loaded.calibration_path}")
    click.echo(next_command(["evaluate", run], loaded.recipe, data_dir))


@click.command()
@click.argument("out", metavar="DIR", type=FOLDER)
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--views",
    is_flag=True,
    help="Average over rotated and magnified views of each image; five times slower.",
)
@command_function
def ensemble(out: pathlib.Path, runs: tuple[pathlib.Path, ...], views: bool) -> None:
    """Combine finished RUNS into one run that averages heatmaps.

    The run is written to DIR. Like any run, it can be evaluated, compared and used to
    predict.
    """
    from scn_keras.training.experiments.ensemble import make_ensemble
    from scn_keras.training.run import Run

    members = [Run(path) for path in runs]
    run = make_ensemble(members, out, views)
    click.echo(f"Made: {run.path}, {run.inference}")
    data_dir = members[0].data.get("data_dir")
    click.echo(next_command(["evaluate", run.path], members[0].recipe, data_dir))
