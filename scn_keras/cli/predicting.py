"""The command `scn-keras predict`."""

import pathlib
import sys

import click

from scn_keras.cli._catalog import known_model
from scn_keras.cli._command import command_function
from scn_keras.cli._options import FOLDER, OUT_FILE, json_option, require_folders


@click.command()
@click.argument("model", callback=known_model)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=pathlib.Path),
)
@click.option(
    "--spacing",
    nargs=2,
    type=click.FloatRange(min=0, min_open=True),
    metavar="X Y",
    help="Millimetres per pixel, for 2D files that do not contain a spacing.  "
    "[default: `spacing` in landmarks.toml beside the images, if there is one]",
)
@json_option("Write the points to this file as JSON.")
@click.option(
    "--csv",
    "csv_path",
    type=OUT_FILE,
    help="Write the points to this file as CSV.",
)
@click.option(
    "--markups",
    type=FOLDER,
    help="Write one .mrk.json per file for 3D Slicer to this folder.",
)
@click.option(
    "--overlay",
    type=FOLDER,
    help="Draw points and names, with a calibrated model also 90 % radii, on the "
    "images, one PNG per file, in this folder. Images keep their size or are enlarged. "
    "Of a volume, the slices through each landmark are drawn.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the N files with the largest mean 90 % radius of their landmarks, the "
    "largest first. For a model that is not calibrated, keep those with the highest "
    "expected error: a fifth of the width of the heatmap's peak, divided by its score. "
    "In mm, or in px if a file has no spacing.",
)
@command_function
def predict(
    model: str,
    files: tuple[pathlib.Path, ...],
    spacing: tuple[float, float] | None,
    json_path: pathlib.Path | None,
    csv_path: pathlib.Path | None,
    markups: pathlib.Path | None,
    overlay: pathlib.Path | None,
    worst: int | None,
) -> None:
    """Find the landmarks in image FILES with a MODEL.

    MODEL is a run, its file model.keras, an exported model, the name or the folder of a
    preset, or the address of a served model: http://localhost:8501/v1/models/NAME. For
    a folder in FILES, all images in it and in its subfolders are used; a folder with
    the slices of a DICOM series is one image. Points are in pixels of the file (x to
    the right, y down, the centre of the first pixel at 0, 0) and, if the spacing is
    known, in millimetres. Files that cannot be read are reported and skipped; the exit
    code is then 1.

    \b
    To correct the most uncertain images and train on them:
      scn-keras predict RUN FOLDER --worst 20 --markups DIR

    Then open those images and DIR/*.mrk.json in 3D Slicer, drag the points, save, and
    put images and markups into a folder that landmark_folder reads.
    """
    from rich.console import Console

    from scn_keras.files.shown_text import shown_text
    from scn_keras.saved_models.predicting import prediction_files

    require_folders(json_path, csv_path)

    if "://" in model:
        from scn_keras.saved_models.client.client import predict_served

        results, problems, schema = predict_served(model, files, spacing)
    else:
        from scn_keras.saved_models.predicting.predict import predict as predict_files
        from scn_keras.saved_models.predicting.predict import schema_of

        schema = schema_of(model)
        console = Console(stderr=True)
        # No progress bar if standard error is a pipe or a file.
        progress_console = console if console.is_terminal else None
        results, problems = predict_files(model, files, spacing, progress_console)
    if worst and results:
        results, unit = prediction_files.worst(results, worst)
        prediction_files.print_worst(results, unit, schema.names)
    if json_path:
        prediction_files.write_json(json_path, results, schema.names)
    if csv_path:
        prediction_files.write_csv(csv_path, results, schema.names)
    if markups:
        problems += prediction_files.write_markups(markups, results, schema.names)
    if overlay:
        problems += prediction_files.write_overlays(overlay, results, schema)
    if not (json_path or csv_path or markups or worst):
        prediction_files.print_points(results, schema.names)
    for path in filter(None, (json_path, csv_path, markups, overlay)):
        click.echo(f"Written: {shown_text(str(path))}")
    for note in dict.fromkeys(note for result in results for note in result.notes):
        click.echo(f"Note: {shown_text(note)}", err=True)
    in_pixels = [result for result in results if not result.calibrated]
    if in_pixels and in_pixels[0].affine.shape == (3, 3):
        click.echo(
            f"Note: {len(in_pixels)} of {len(results)} images have no spacing, so "
            "that their points are in pixels only. Give it by --spacing X Y, or as "
            "`spacing` under [files] in landmarks.toml beside the images.",
            err=True,
        )
    for problem in problems:
        click.echo(f"Error: {shown_text(problem)}", err=True)
    if problems:
        sys.exit(1)
