"""The commands `scn-keras datasets ...`."""

import json
import pathlib
import re
import sys

import click

from scn_keras.cli import _catalog
from scn_keras.cli._columns import print_columns
from scn_keras.cli._command import command_function
from scn_keras.cli._next_command import next_line
from scn_keras.cli._options import (
    DATA_DIR,
    FOLDER,
    OUT_FILE,
    json_option,
    require_folders,
    settings_option,
)


@click.group()
def datasets() -> None:
    """List, check, prepare and draw data sets."""


@datasets.command("list")
def list_datasets() -> None:
    """List the data sets that come with the package."""
    for name, texts in _catalog.data_sets().items():
        for number, text in enumerate(texts):
            print_columns(name if number == 0 else "", text)
    click.echo("\n`scn-keras datasets prepare NAME --manual-dir FOLDER` stores one.")


@datasets.command()
@click.argument("name")
@click.option(
    "--manual-dir",
    type=FOLDER,
    help="Folder of the files that you downloaded, for data sets that need them.",
)
@DATA_DIR
@click.option("--overwrite", is_flag=True, help="Prepare the data set again.")
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave out images that cannot be read, or whose points cannot be. Each is "
    "named, and the exit code is then 1.",
)
@command_function
def prepare(
    name: str,
    manual_dir: pathlib.Path | None,
    data_dir: pathlib.Path | None,
    overwrite: bool,
    skip_bad: bool,
) -> None:
    """Check the files of a data set and store them for streaming.

    NAME is one of `scn-keras datasets list`, or NAME/CONFIG; for a folder of your own,
    landmark_folder/ANY_NAME; for a builder of your own, module:Class. If files are
    missing or wrong, all problems are listed and nothing is written; see --skip-bad.
    """
    from scn_keras.datasets import prepare as prepare_dataset
    from scn_keras.files.shown_text import shown_text

    left_out: list[str] = []
    # The path of a file is rejected with advice.
    dataset, _, config = (name, "", "") if name.endswith(".py") else name.partition("/")
    builder = prepare_dataset(
        dataset,
        data_dir=data_dir,
        manual_dir=manual_dir,
        config=config or None,
        overwrite=overwrite,
        report=click.echo,
        left_out=left_out if skip_bad else None,
    )
    if dataset == "landmark_folder":
        from scn_keras.datasets._subsets import split_settings

        recipe = "volume" if builder.DIMENSIONS == 3 else "radiograph"
        settings = [f"dataset={name}", *split_settings(builder)]
        options = [word for setting in settings for word in ("--set", setting)]
        click.echo(next_line(["train", recipe, *options], data_dir))
    for problem in left_out:
        click.echo(f"Left out: {shown_text(problem)}", err=True)
    if left_out:
        sys.exit(1)


@datasets.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--as",
    "name",
    metavar="NAME",
    help="Data set whose layout the folder has.  [default: detected]",
)
@click.option(
    "--out",
    type=FOLDER,
    help="Write check.html, with pictures of the findings and samples, to this folder.",
)
@json_option("Write the findings to this file as JSON.")
@command_function
def check(
    folder: pathlib.Path,
    name: str | None,
    out: pathlib.Path | None,
    json_path: pathlib.Path | None,
) -> None:
    """Find errors in images and points before a data set is prepared.

    DIR is the folder that `scn-keras datasets prepare` takes as --manual-dir. The check
    finds swapped axes, points outside the image, LPS instead of RAS coordinates, y
    counted upwards, points of images of another size or in another unit, positions that
    stand for missing landmarks, missing, duplicate and exchanged landmarks, labels that
    are spelt differently, single landmarks far from where the others predict them,
    impossible spacings, duplicate images, two kinds of images, and patients in two
    splits. Files and rows that cannot be read are named, and all others are checked.
    What needs more images is listed as not tested. The exit code is 1 if there are
    errors, and 0 if there are only notes.
    """
    from scn_keras.datasets.check import check_folder, print_result, write_page
    from scn_keras.files.atomic_write import write_text

    require_folders(json_path)
    result = check_folder(folder, name)
    print_result(result)
    if json_path:
        write_text(json_path, json.dumps(result.to_dict(), indent=1) + "\n")
    if out:
        click.echo(f"Page: {write_page(result, out)}")
    if result.errors:
        sys.exit(1)
    target = result.dataset
    if target == "landmark_folder":
        # The name of a prepared folder consists of letters, digits, _, - and dots.
        own = re.sub(r"[^\w.-]", "_", result.folder.name).lstrip(".-")
        target += f"/{own or 'mine'}"
    click.echo(next_line(["datasets", "prepare", target, "--manual-dir", folder]))


@datasets.command()
@click.argument("name")
@click.option("--split", help="The split.  [default: the first of the data set]")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="Number of samples.  [default: 10, with --augmented 4]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the choice of samples and of their augmentation.",
)
@click.option(
    "--augmented",
    "recipe",
    metavar="[RECIPE]",
    is_flag=False,
    flag_value="",
    help="Draw the samples as augmented for training with RECIPE.  [default RECIPE: "
    "that of the data set]",
)
@click.option(
    "--out",
    type=OUT_FILE,
    help="The file: .png, .jpg, or .html.  [default: NAME.png]",
)
@DATA_DIR
@command_function
def show(
    name: str,
    split: str | None,
    count: int | None,
    seed: int,
    recipe: str | None,
    out: pathlib.Path | None,
    data_dir: pathlib.Path | None,
) -> None:
    """Draw samples of a prepared data set on one sheet.

    Each sample is drawn with its points. NAME is one of `scn-keras datasets list`,
    NAME/CONFIG, or module:Class. Volumes are drawn as maximum intensity projections
    along z, y and x.
    """
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.report.contact_sheet import (
        contact_sheet,
        recipe_for,
        write_sheet,
    )

    out = out or pathlib.Path(f"{name.replace('/', '-')}.png")
    augmented = None
    if recipe is not None:
        augmented = load_recipe(recipe) if recipe else recipe_for(name, data_dir)
    write_sheet(contact_sheet(name, split, count, seed, augmented, data_dir), out)
    click.echo(f"Drawn: {out}")


@datasets.command()
@click.argument("recipe")
@click.argument("out", metavar="DIR", type=FOLDER)
@settings_option()
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="Also store this split; may be repeated.  [default: the train split of the "
    "recipe]",
)
@DATA_DIR
@command_function
def arrays(
    recipe: str,
    out: pathlib.Path,
    settings: tuple[str, ...],
    splits: tuple[str, ...],
    data_dir: pathlib.Path | None,
) -> None:
    """Store the training images of a RECIPE as arrays in DIR.

    DIR is a new folder. `scn-keras train RECIPE --arrays DIR` trains on it, on any
    machine, with TensorFlow, JAX or PyTorch. It needs only Keras, NumPy and the
    backend.
    """
    from scn_keras.training.input.prepare_arrays import prepare_arrays
    from scn_keras.training.recipes import load_recipe

    resolved = load_recipe(recipe).override(settings)
    folder = prepare_arrays(resolved, out, data_dir, splits)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    click.echo(f"Stored: {len(folder.samples['id'])} images in {out}, {size:,} bytes")
