"""The command `scn-keras export`."""

import pathlib
import sys

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import DATA_DIR, FOLDER


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("files", nargs=-1, type=click.Path(path_type=pathlib.Path))
@click.option("--name", help="Name of the model.  [default: that of the recipe]")
@click.option("--version", type=click.IntRange(min=1), help="[default: the next]")
@click.option(
    "--format",
    type=click.Choice(["savedmodel", "onnx", "litert", "openvino"]),
    default="savedmodel",
    show_default=True,
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "int8"]),
    default="float32",
    show_default=True,
    help="bfloat16 is available for savedmodel, int8 for onnx and litert. The loss of "
    "accuracy is measured on held-out images or on --images.",
)
@click.option(
    "--images",
    metavar="FOLDER",
    type=FOLDER,
    help="Images for a reduced precision of a model whose data set is not prepared, "
    "such as a preset; with points, if the change of the error is to be measured.",
)
@click.option(
    "--max-image-mb",
    type=click.IntRange(1, 2047),
    default=64,
    show_default=True,
    help="The largest image that a SavedModel decodes, in MB: rows x columns x "
    "channels x bytes, at least two bytes per pixel. See docs/security.md for the "
    "memory that it takes.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Compare the export with the run, and with other runtimes, on FILES or on a "
    "synthetic image. If DIR is an exported version, that version is compared and "
    "nothing is exported.",
)
@click.option(
    "--spacing",
    nargs=2,
    type=float,
    help="Spacing of FILES in mm per pixel, x and y.",
)
@DATA_DIR
@command_function
def export(
    run: pathlib.Path,
    folder: pathlib.Path,
    files: tuple[pathlib.Path, ...],
    name: str | None,
    version: int | None,
    format: str,
    precision: str,
    images: pathlib.Path | None,
    max_image_mb: int,
    check: bool,
    spacing: tuple[float, float] | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Export a RUN or a preset as a SavedModel for TF Serving.

    The model is written to DIR/NAME/VERSION. Its input is the bytes of PNG, JPEG or BMP
    files with their spacing, or volumes. It returns points in pixels and millimetres,
    and their uncertainty.

    \b
      scn-keras export RUN DIR --check FILE...      export, and compare
      scn-keras export RUN DIR/NAME/1 --check       compare an existing export

    The exit code is 1 if a comparison exceeds its tolerance, or one of FILES cannot be
    read; the others are compared.
    """
    if files and not check:
        raise click.UsageError(
            "FILES are images for the comparison with the run. For this, add --check."
        )
    from scn_keras.files.shown_text import shown_text
    from scn_keras.models import preset_path
    from scn_keras.saved_models.export_folder import beside
    from scn_keras.saved_models.exporting.export import export as export_run
    from scn_keras.training.run import Run

    loaded = Run(preset_path(run))
    path = folder
    if not (check and beside(folder, "export.json").is_file()):
        path = export_run(
            loaded,
            *(folder, name, version, format, precision, data_dir, images),
            max_image_mb=max_image_mb,
        )
        click.echo(f"Exported: {path}")
    if check:
        from scn_keras.saved_models.exporting import parity

        problems: list[str] = []
        rows = parity.check(loaded, path, files, spacing, problems)
        parity.print_parity(rows)
        for problem in problems:
            click.echo(f"Error: not compared: {shown_text(problem)}", err=True)
        if problems or not all(row.kept for row in rows):
            sys.exit(1)
