import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from scn_keras.cli import main
from scn_keras.files import read_image, read_point_sets
from scn_keras.files.orientation import read_orientation
from scn_keras.files.turn_image import turn_image

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def tagged(path, orientation, array=GREY, **options):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(array).save(path, exif=exif, **options)
    return path


def shown(path):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)))


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_copies_are_what_viewers_show(tmp_path, out, suffix, orientation):
    path = tagged(tmp_path / f"film.{suffix}", orientation)
    copy = turn_image(path, out)
    assert copy == out / ("film.tif" if suffix == "tif" else "film.png")
    assert read_orientation(copy) == 1
    if suffix == "tif":  # which Pillow turns wrongly: the same pixels as PNG
        path = tagged(tmp_path / "film.png", orientation)
    np.testing.assert_array_equal(read_image(copy)[0], shown(path))
    np.testing.assert_array_equal(np.asarray(Image.open(copy)), shown(path))
    assert [*out.iterdir()] == [copy]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_bits_colours_and_density_are_kept(tmp_path, out, suffix):
    deep = (GREY.astype(np.uint16) * 250).reshape(4, 6)
    path = tagged(tmp_path / f"deep.{suffix}", 6, deep, dpi=(254, 508))
    copy = turn_image(path, out)
    array, _ = read_image(copy)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, np.rot90(deep, -1))
    with Image.open(copy) as image:
        density = [float(number) for number in image.info["dpi"]]
    np.testing.assert_allclose(density, (508, 254), rtol=1e-3)
    colours = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
    copy = turn_image(tagged(tmp_path / f"colours.{suffix}", 8, colours), out)
    np.testing.assert_array_equal(np.asarray(Image.open(copy)), np.rot90(colours, 1))


def test_an_upright_file_and_an_existing_copy_are_errors(tmp_path, out):
    with pytest.raises(ValueError, match="no orientation tag"):
        turn_image(tagged(tmp_path / "film.png", 1), out)
    path = tagged(tmp_path / "film.png", 3)
    turn_image(path, out)
    with pytest.raises(FileExistsError, match="film.png exists"):
        turn_image(path, out)


def turn(*arguments):
    return CliRunner().invoke(main, ["turn", *map(str, arguments)])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_command_turns_points_with_the_pixels(tmp_path, orientation):
    path = tagged(tmp_path / "film.png", orientation)
    tagged(tmp_path / "upright.png", 1)
    (tmp_path / "points.csv").write_text(
        "image,label,x,y\nfilm.png,a,2,1\nfilm.png,b,,\nupright.png,a,2,1\n"
    )
    out = tmp_path / "new" / "folder"
    done = turn(tmp_path, "--out", out, "--points", tmp_path / "points.csv")
    assert done.exit_code == 0, done.output
    assert f"Upright, not copied: {tmp_path}/upright.png" in done.output
    film, upright = read_point_sets(out / "points.csv")
    x, y = film.points[0].astype(int)
    assert shown(path)[y, x] == read_image(out / "film.png")[0][y, x] == GREY[1, 2]
    assert np.isnan(film.points[1]).all()
    assert upright.points.tolist() == [[2, 1], [np.nan, np.nan]][:1]
    assert not (out / "upright.png").exists()


def test_the_file_of_points_may_have_the_name_of_its_image(tmp_path):
    tagged(tmp_path / "film.jpg", 3)
    (tmp_path / "film.csv").write_text("label,x,y\na,2,1\n")
    done = turn(
        tmp_path / "film.jpg",
        "--out",
        tmp_path / "out",
        "--points",
        tmp_path / "film.csv",
    )
    assert done.exit_code == 0, done.output
    (points,) = read_point_sets(tmp_path / "out" / "film.csv")
    assert points.points.tolist() == [[3, 2]]


def test_a_damaged_file_among_others_is_named(tmp_path):
    tagged(tmp_path / "good.jpg", 6)
    tagged(tmp_path / "bad.jpg", 6)
    data = (tmp_path / "bad.jpg").read_bytes()
    (tmp_path / "bad.jpg").write_bytes(data[: len(data) // 2])
    done = turn(tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "Error: The image file is damaged" in done.output
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_points_of_other_images_are_an_error(tmp_path):
    tagged(tmp_path / "film.png", 6)
    (tmp_path / "points.csv").write_text("image,label,x,y\nother.png,a,2,1\n")
    options = ["--out", tmp_path / "out", "--points", tmp_path / "points.csv"]
    done = turn(tmp_path / "film.png", *options)
    assert done.exit_code == 1 and "Received: points of other.png" in done.output
    assert not (tmp_path / "out" / "points.csv").exists()
