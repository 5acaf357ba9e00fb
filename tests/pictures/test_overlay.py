import io
import struct

import keras
import matplotlib
import matplotlib.image
import numpy as np
import pytest
import scipy.ndimage

from scn_keras.inference import decode, resample
from scn_keras.inference import locator as inference
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from scn_keras.pictures import overlay
from scn_keras.training.input import prepared_sets as data

SCHEMA = LandmarkSchema(("tip", "base", "side"), links=((0, 1),))


def pixels(drawing, dpi=100):
    """The picture `(rows, columns, 3)`, and where a point of the image lies in it."""
    picture = matplotlib.image.imread(io.BytesIO(overlay.to_png(drawing, dpi)))
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
    drawing = overlay.draw_overlay(
        image, SCHEMA, predicted, true, np.diag([0.5, 0.5, 1.0]), radius=4.0
    )
    picture, place = pixels(drawing)
    assert has_color(picture, place(20, 30), overlay.PREDICTED)
    assert has_color(picture, place(70, 90), overlay.PREDICTED)
    # A line joins a predicted point and its true one.
    assert has_color(picture, place(40, 25), overlay.PREDICTED)
    assert not has_color(picture, place(30, 100), overlay.PREDICTED)
    # Rings of 4 mm are 8 pixels wide, and hollow.
    for x, y in true:
        for dx, dy in ((8, 0), (-8, 0), (0, 8), (0, -8)):
            assert has_color(picture, place(x + dx, y + dy), overlay.TRUE)
    assert not has_color(picture, place(30, 100), overlay.TRUE)
    assert not has_color(picture, place(30 + 5, 100), overlay.TRUE, reach=2)


def test_rings_follow_the_affine():
    image = np.zeros((100, 100), np.uint8)
    true = np.array([[50.0, 50.0]] * 3)
    affine = np.array([[0.0, -0.5, 7.0], [0.25, 0.0, 0.0], [0.0, 0.0, 1.0]])
    drawing = overlay.draw_overlay(image, SCHEMA, true, true, affine, radius=5.0)
    picture, place = pixels(drawing)
    # 0.25 mm per pixel along x, 0.5 along y.
    for point in ((70, 50), (30, 50), (50, 60), (50, 40)):
        assert has_color(picture, place(*point), overlay.TRUE)
    assert not has_color(picture, place(50, 70), overlay.TRUE)


def texts(drawing):
    found = drawing.findobj(matplotlib.text.Text)
    return " | ".join(text.get_text() for text in found)


def test_misses_are_named_in_millimetres():
    image = np.zeros((100, 80, 1), np.uint8)
    true = np.array([[10.0, 10.0], [40.0, 40.0], [50.0, 60.0]])
    predicted = true + [[30.0, 40.0], [0.0, 1.0], [6.0, 8.0]]
    affine = np.diag([0.1, 0.1, 1.0])
    drawn = overlay.draw_overlay(
        image, SCHEMA, predicted, true, affine, title="film 7", radius=1.0
    )
    assert "tip 5.0 mm" in texts(drawn)
    assert "side 1.0 mm" in texts(drawn)
    assert "base" not in texts(drawn)
    assert "film 7" in texts(drawn)
    assert "true, with 1 mm around" in texts(drawn)
    assert "2 mm" in texts(drawn)  # the scale: a fourth of 8 mm
    named = texts(overlay.draw_overlay(image, SCHEMA, predicted, true, affine, named=1))
    assert "tip" in named and "side" not in named


def test_margin_shows_the_part_around_the_points():
    image = np.zeros((200, 300), np.uint8)
    true = np.array([[100.0, 60.0], [200.0, 80.0], [np.nan, np.nan]])
    predicted = np.array([[100.0, 60.0], [200.0, 90.0], [290.0, 70.0]])
    drawn = overlay.draw_overlay(image, SCHEMA, predicted, true, margin=0.1, width=4.0)
    # The points are 190 x 30 pixels; 19 more on every side, as far as there are any.
    assert drawn.axes[0].get_xlim() == (81.0, 299.5)
    assert drawn.axes[0].get_ylim() == (109.0, 41.0)
    width, height = drawn.get_size_inches()
    assert (height - 0.6) / width == pytest.approx(68.0 / 218.5)
    outside = overlay.draw_overlay(image, SCHEMA, true + 1000.0, margin=0.1)
    assert outside.axes[0].get_xlim() == (-0.5, 299.5)
    whole = overlay.draw_overlay(image, SCHEMA, predicted, true)
    assert whole.axes[0].get_ylim() == (199.5, -0.5)


@pytest.mark.parametrize("affine", [None, np.diag([0.0, 0.0, 1.0])])
def test_without_spacing_there_are_no_millimetres(affine):
    true = np.array([[10.0, 10.0], [40.0, 40.0], [50.0, 60.0]])
    drawn = overlay.draw_overlay(np.zeros((90, 70)), SCHEMA, true + 20, true, affine)
    assert "mm" not in texts(drawn)
    assert "true" in texts(drawn)
    alone = overlay.draw_overlay(np.zeros((90, 70)), SCHEMA, true, affine=affine)
    assert "true" not in texts(alone)


def test_formats():
    drawing = overlay.draw_overlay(
        np.zeros((40, 40)), SCHEMA, np.full((3, 2), 20.0), width=2.0
    )
    png, jpeg, svg = (
        convert(drawing)
        for convert in (overlay.to_png, overlay.to_jpeg, overlay.to_svg)
    )
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (280, 364)  # 140 per inch; strips of 0.3 inches
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert b"<svg" in svg
    assert svg == overlay.to_svg(drawing)


def test_colors():
    assert len(set(overlay.landmark_colors(SCHEMA))) == 3
    own = LandmarkSchema(("a", "b"), colors=("#010203", "#040506"))
    assert overlay.landmark_colors(own) == own.colors
    many = LandmarkSchema(tuple(str(n) for n in range(37)))
    colors = overlay.landmark_colors(many)
    assert len(colors) == 37
    assert all(a != b for a, b in zip(colors, colors[1:], strict=False))


def test_inner_heatmaps_multiply_to_the_output(tiny_run, tiny_data):
    model = tiny_run.load_model()
    sample = next(iter(data.load_samples("tiny_hands", "test", tiny_data)))
    image, _ = inference.to_network(
        decode.to_unit_range(sample["image"]),
        usable_spacing(sample["affine"], TENSORFLOW),
        tiny_run.recipe,
    )
    stages = overlay.inner_heatmaps(model, image.numpy())
    assert list(stages) == ["local appearance", "spatial configuration", "product"]
    output = keras.ops.convert_to_numpy(model(image[None]))[0]
    assert output.shape == (48, 32, 37)
    np.testing.assert_allclose(stages["product"], output, atol=1e-6)
    product = stages["local appearance"] * stages["spatial configuration"]
    np.testing.assert_allclose(product, output, atol=1e-6)


def test_heatmap_panels():
    # Two landmarks; the first is negative in both factors, where both are strong.
    maps = np.zeros((30, 20, 2), np.float32)
    maps[8, 5, 0] = -2.0
    maps[20, 15, 1] = 3.0
    spread = np.zeros_like(maps)
    spread[8:20, 5, 0] = -0.5
    spread[20, 5:16, 1] = 0.5
    heatmaps = {
        "local appearance": maps,
        "spatial configuration": spread,
        "product": maps * spread,
    }
    image = np.full((30, 20, 1), -1.0, np.float32)
    schema = LandmarkSchema(("a", "b"), colors=("#ff0000", "#00ff00"))
    drawing = overlay.heatmap_figure(image, heatmaps, schema)
    assert [axes.get_title() for axes in drawing.axes] == list(heatmaps)
    for axes, rows in zip(drawing.axes, (8, slice(8, 20), 8), strict=True):
        layer = axes.images[1].get_array()
        assert np.all(layer[rows, 5] == (1.0, 0.0, 0.0, 1.0))
        assert np.all(layer[20, 15] == (0.0, 1.0, 0.0, 1.0))
        assert np.all(layer[2, 2, 3] == 0.0)

    drawing = overlay.heatmap_figure(image, heatmaps, schema, landmark=0)
    colors = [overlay.TRUE, overlay.TRUE, overlay.PREDICTED]  # negative twice
    for axes, color in zip(drawing.axes, colors, strict=True):
        layer = axes.images[1].get_array()
        assert np.allclose(layer[8, 5], (*matplotlib.colors.to_rgb(color), 1.0))
        assert np.all(layer[20, 15, 3] == 0.0)
    assert drawing.axes[0].get_title() == "local appearance, -2 to 0"


def test_dead_heatmaps_are_drawn():
    heatmaps = {
        name: np.zeros((30, 20, 3), np.float32)
        for name in ("local appearance", "spatial configuration", "product")
    }
    for landmark in (None, 1):
        drawing = overlay.heatmap_figure(
            np.zeros((30, 20, 1)), heatmaps, SCHEMA, landmark, width=3.0
        )
        assert overlay.to_png(drawing).startswith(b"\x89PNG")


def test_a_volume_is_drawn_along_each_axis():
    volume = np.zeros((40, 30, 20, 1), np.uint8)  # z, y, x
    true = np.array([[5.0, 10.0, 30.0], [15.0, 20.0, 8.0], [np.nan] * 3])
    predicted = true + [[0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    affine[:3, 3] = 100.0
    drawing = overlay.draw_overlay(
        volume, SCHEMA, predicted, true, affine, radius=2.0, width=9.0
    )
    assert texts(drawing).count("tip 3.0 mm") == 1
    picture = matplotlib.image.imread(io.BytesIO(overlay.to_png(drawing, 100)))
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
            assert has_color(picture[..., :3], where, overlay.PREDICTED)


def test_heatmaps_of_a_volume_are_drawn_on_the_slice_of_the_peak():
    maps = np.zeros((12, 30, 20, 1), np.float32)
    maps[7, 8, 5] = 2.0
    image = np.zeros((12, 30, 20, 1), np.float32)
    schema = LandmarkSchema(("a",))
    for landmark in (None, 0):
        drawing = overlay.heatmap_figure(
            image, {"heatmaps": maps}, schema, landmark, np.array([[5.0, 8.0, 7.0]])
        )
        (axes,) = drawing.axes
        layer = axes.images[1].get_array()
        assert layer[8, 5, 3] == 1.0
        assert layer[..., 3].sum() == 1.0


def test_inner_heatmaps_of_a_network_without_the_two_parts():
    image = keras.Input((8, 8, 1))
    model = LandmarkModel(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))
    stages = overlay.inner_heatmaps(model, np.ones((8, 8, 1), np.float32))
    assert {name: maps.shape for name, maps in stages.items()} == {
        "heatmaps": (8, 8, 2)
    }


def test_inner_heatmaps_coarser_than_the_image_are_enlarged():
    network = SpatialConfigurationNet(
        2, (32, 16, 1), filters=4, levels=2, spatial_factor=4, stride=2
    )
    image = np.random.default_rng(0).normal(size=(32, 16, 1)).astype("float32")
    stages = overlay.inner_heatmaps(LandmarkModel(network), image)
    assert [maps.shape for maps in stages.values()] == [(32, 16, 2)] * 3
    product = np.asarray(network(image[None]))[0]
    expected = scipy.ndimage.zoom(
        product, (2, 2, 1), order=1, mode="nearest", grid_mode=True
    )
    np.testing.assert_allclose(
        stages["product"], expected, atol=1e-5 * np.abs(product).max()
    )
