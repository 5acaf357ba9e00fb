"""The command `scn-keras turn`."""

import pathlib
import sys

import click

from scn_keras.cli._command import command_function
from scn_keras.cli._options import FOLDER

_PATH = click.Path(exists=True, path_type=pathlib.Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option(
    "--out", type=FOLDER, required=True, help="Write the copies to this folder."
)
@click.option(
    "--points",
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
    multiple=True,
    help="Also write a copy of this file of points, as CSV, in which the points of the "
    "turned images are turned. For points in stored pixels, as ImageJ counts them. "
    "Those of labelme, CVAT and browsers fit the copies as they are. May be repeated.",
)
@command_function
def turn(
    files: tuple[pathlib.Path, ...],
    out: pathlib.Path,
    points: tuple[pathlib.Path, ...],
) -> None:
    """Write turned copies of image FILES with an orientation tag.

    A tag of TIFF, JPEG (EXIF) and PNG files tells viewers to turn or mirror the stored
    pixels. Other programs do not, so that points counted in one do not fit the other,
    and such files are refused. The copies are lossless, upright and without the tag;
    those of JPEG files are PNG. Of folders, all images are taken. Files without a tag,
    or with the tag 1, are named and not copied.

    \b
      scn-keras turn scan.tif --out upright
      scn-keras turn scans --points points.csv --out upright
    """
    from scn_keras.files import read_point_sets, write_points
    from scn_keras.files.find_images import find_images, stem_of
    from scn_keras.files.orientation import read_orientation
    from scn_keras.files.read_points import POINT_SUFFIXES
    from scn_keras.files.turn_image import turn_image, turn_points

    paths = [
        path
        for file in files
        for path in (find_images(file) if file.is_dir() else [file])
    ]
    sets = {path: read_point_sets(path) for path in points}
    targets = {
        path: out / f"{stem_of(path.name, POINT_SUFFIXES)}.csv" for path in points
    }
    for target in targets.values():
        if target.exists() or [*targets.values()].count(target) > 1:
            raise FileExistsError(f"{target} exists. Choose another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    copies: dict[pathlib.Path, pathlib.Path] = {}
    problems = []
    for path in paths:
        try:
            if read_orientation(path) == 1:
                click.echo(f"Upright, not copied: {path}")
                continue
            copies[path] = turn_image(path, out)
            click.echo(f"Written: {copies[path]}")
        except (ValueError, OSError) as error:
            problems.append(str(error))
    for path in points if copies else ():
        try:
            turned = turn_points(sets[path], copies, path)
            write_points(targets[path], turned)
        except ValueError as error:
            problems.append(str(error))
            continue
        click.echo(f"Written: {targets[path]}")
        if dropped := sorted({name for s in turned for name in s.attributes}):
            click.echo(f"Note: without the columns {', '.join(dropped)}.", err=True)
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        sys.exit(1)
