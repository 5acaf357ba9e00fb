import io

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import OverlayOptions, draw_overlay, to_png
from scn_keras.pictures.style import PREDICTED, TRUE

SCHEMA = LandmarkSchema(("tip", "base", "side"), links=((0, 1),))


def pixels(drawing, dpi=100):
    """The picture `(rows, columns, 3)`, and where a point of the image lies in it."""
    picture = matplotlib.image.imread(io.BytesIO(to_png(drawing, dpi)))
    axes = drawing.axes[0]

    def place(x, y):
        # Computed from the layout alone: figure coordinates of the axes, top first.
        box = axes.get_position()
        left, right = axes.get_xlim()
        bottom, top = axes.get_ylim()
        u = box.x0 + (x - left) / (right - left) * box.width
        v = box.y0 + (y - bottom) / (top - bottom) * box.height
        rows, columns = picture.shape[:2]
        return round((1.0 - v) * rows), round(u * columns)

    return picture[..., :3], place


def has_color(picture, where, color, reach=3):
    row, column = where
    part = picture[row - reach : row + reach + 1, column - reach : column + reach + 1]
    wanted = matplotlib.colors.to_rgb(color)
    return bool((np.abs(part - wanted).max(axis=-1) < 0.15).any())


def test_points_are_drawn_where_they_are():
    image = np.full((120, 100), 90, np.uint8)
    predicted = np.array([[20.0, 30.0], [70.0, 90.0], [np.nan, np.nan]])
    true = np.array([[60.0, 20.0], [70.0, 90.0], [30.0, 100.0]])
    drawing = draw_overlay(
        image,
        SCHEMA,
        predicted,
        true,
        np.diag([0.5, 0.5, 1.0]),
        options=OverlayOptions(radius=4.0),
    )
    picture, place = pixels(drawing)
    assert has_color(picture, place(20, 30), PREDICTED)
    assert has_color(picture, place(70, 90), PREDICTED)
    # A line joins a predicted point and its true one.
    assert has_color(picture, place(40, 25), PREDICTED)
    assert not has_color(picture, place(30, 100), PREDICTED)
    # Rings of 4 mm are 8 pixels wide, and hollow.
    for x, y in true:
        for dx, dy in ((8, 0), (-8, 0), (0, 8), (0, -8)):
            assert has_color(picture, place(x + dx, y + dy), TRUE)
    assert not has_color(picture, place(30, 100), TRUE)
    assert not has_color(picture, place(30 + 5, 100), TRUE, reach=2)


def test_rings_follow_the_affine():
    image = np.zeros((100, 100), np.uint8)
    true = np.array([[50.0, 50.0]] * 3)
    affine = np.array([[0.0, -0.5, 7.0], [0.25, 0.0, 0.0], [0.0, 0.0, 1.0]])
    drawing = draw_overlay(
        image, SCHEMA, true, true, affine, options=OverlayOptions(radius=5.0)
    )
    picture, place = pixels(drawing)
    # 0.25 mm per pixel along x, 0.5 along y.
    for point in ((70, 50), (30, 50), (50, 60), (50, 40)):
        assert has_color(picture, place(*point), TRUE)
    assert not has_color(picture, place(50, 70), TRUE)


def texts(drawing):
    found = drawing.findobj(matplotlib.text.Text)
    return " | ".join(text.get_text() for text in found)


def test_misses_are_named_in_millimetres():
    image = np.zeros((100, 80, 1), np.uint8)
    true = np.array([[10.0, 10.0], [40.0, 40.0], [50.0, 60.0]])
    predicted = true + [[30.0, 40.0], [0.0, 1.0], [6.0, 8.0]]
    affine = np.diag([0.1, 0.1, 1.0])
    drawn = draw_overlay(
        image,
        SCHEMA,
        predicted,
        true,
        affine,
        options=OverlayOptions("film 7", radius=1.0),
    )
    assert "tip 5.0 mm" in texts(drawn)
    assert "side 1.0 mm" in texts(drawn)
    assert "base" not in texts(drawn)
    assert "film 7" in texts(drawn)
    assert "true, 1 mm radius" in texts(drawn)
    assert "2 mm" in texts(drawn)  # the scale: a fourth of 8 mm
    named = texts(
        draw_overlay(
            image, SCHEMA, predicted, true, affine, options=OverlayOptions(max_named=1)
        )
    )
    assert "tip" in named and "side" not in named


def test_margin_shows_the_part_around_the_points():
    image = np.zeros((200, 300), np.uint8)
    true = np.array([[100.0, 60.0], [200.0, 80.0], [np.nan, np.nan]])
    predicted = np.array([[100.0, 60.0], [200.0, 90.0], [290.0, 70.0]])
    drawn = draw_overlay(
        image, SCHEMA, predicted, true, options=OverlayOptions(margin=0.1, width=4.0)
    )
    # The points are 190 x 30 pixels; 19 more on every side, as far as there are any.
    assert drawn.axes[0].get_xlim() == (81.0, 299.5)
    assert drawn.axes[0].get_ylim() == (109.0, 41.0)
    width, height = drawn.get_size_inches()
    assert (height - 0.6) / width == pytest.approx(68.0 / 218.5)
    outside = draw_overlay(
        image, SCHEMA, true + 1000.0, options=OverlayOptions(margin=0.1)
    )
    assert outside.axes[0].get_xlim() == (-0.5, 299.5)
    whole = draw_overlay(image, SCHEMA, predicted, true)
    assert whole.axes[0].get_ylim() == (199.5, -0.5)


@pytest.mark.parametrize("affine", [None, np.diag([0.0, 0.0, 1.0])])
def test_without_spacing_there_are_no_millimetres(affine):
    true = np.array([[10.0, 10.0], [40.0, 40.0], [50.0, 60.0]])
    drawn = draw_overlay(np.zeros((90, 70)), SCHEMA, true + 20, true, affine)
    assert "mm" not in texts(drawn)
    assert "true" in texts(drawn)
    alone = draw_overlay(np.zeros((90, 70)), SCHEMA, true, affine=affine)
    assert "true" not in texts(alone)


def test_a_volume_is_drawn_along_each_axis():
    volume = np.zeros((40, 30, 20, 1), np.uint8)  # z, y, x
    true = np.array([[5.0, 10.0, 30.0], [15.0, 20.0, 8.0], [np.nan] * 3])
    predicted = true + [[0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    affine[:3, 3] = 100.0
    drawing = draw_overlay(
        volume, SCHEMA, predicted, true, affine, options=OverlayOptions(width=9.0)
    )
    assert texts(drawing).count("tip 3.0 mm") == 1
    picture = matplotlib.image.imread(io.BytesIO(to_png(drawing, 100)))
    rows, columns = picture.shape[:2]
    boxes = [axes.get_position() for axes in drawing.axes]
    # x y, x z and y z, equally high: 10 x 15, 10 x 40 and 15 x 40 mm.
    assert [round(b.width * columns / (b.height * rows), 3) for b in boxes] == [
        *(0.667, 0.25, 0.375),
    ]
    for box, shape, (first, second) in zip(
        boxes, ((30, 20), (40, 20), (40, 30)), ((0, 1), (0, 2), (1, 2)), strict=True
    ):
        for point in predicted[:2]:
            u = (point[first] + 0.5) / shape[1]
            v = (point[second] + 0.5) / shape[0]
            v = v if second == 2 else 1.0 - v  # z upwards, y downwards
            where = (
                round((1.0 - box.y0 - v * box.height) * rows),
                round((box.x0 + u * box.width) * columns),
            )
            assert has_color(picture[..., :3], where, PREDICTED)


@pytest.mark.parametrize("name", [r"$\frac$ a", "$x^2$", r"a\$b", "$1 and $2"])
def test_dollars_in_names_are_no_formulas(name):
    """Drawn as by matplotlib with its parser of formulas off."""
    points = np.array([[10.0, 12.0], [30.0, 12.0], [20.0, 30.0]])
    schema = LandmarkSchema((name, "base", "side"))
    options = OverlayOptions(title=name)

    def drawn(schema, options):
        image = np.zeros((40, 40), np.uint8)
        true = points + [[9.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        drawing = draw_overlay(image, schema, points, true, np.eye(3), options=options)
        return drawing, [*drawing.texts, *drawing.axes[0].texts]

    drawing, texts = drawn(schema, options)
    plain, plain_texts = drawn(
        LandmarkSchema(("?", "base", "side")), OverlayOptions(title="?")
    )
    for text in plain_texts:
        text.set_parse_math(False)
        text.set_text(text.get_text().replace("?", name))
    assert sum(name in text.get_text() for text in plain_texts) == 2
    assert to_png(drawing) == to_png(plain)
    assert len(texts) == len(plain_texts)
