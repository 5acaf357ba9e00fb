import io

import matplotlib.text
import numpy as np
import pytest
from matplotlib import colors
from PIL import Image

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_prediction, draw_slices, to_png
from scn_keras.pictures.style import PREDICTED, TRUE


def pixels(drawing):
    """The pixels of the file, as another program reads them."""
    picture = Image.open(io.BytesIO(to_png(drawing, drawing.dpi)))
    return np.asarray(picture.convert("RGB"))


def texts(drawing):
    return [t for t in drawing.findobj(matplotlib.text.Text) if t.get_text()]


def has_color(picture, x, y, reach=2, color=PREDICTED):
    part = picture[
        max(round(y) - reach, 0) : round(y) + reach + 1,
        max(round(x) - reach, 0) : round(x) + reach + 1,
    ]
    wanted = np.array(colors.to_rgb(color)) * 255
    return bool((np.abs(part - wanted).max(axis=-1) < 45).any())


def noise(rows, columns):
    image = np.random.default_rng(0).integers(0, 256, (rows, columns)).astype(np.uint8)
    image[:, :20], image[:, 20:40] = 0, 255  # what is black and what is white
    return image


@pytest.mark.parametrize("affine", [None, np.diag([0.1, 0.1, 1.0])])
def test_a_large_image_is_drawn_pixel_by_pixel(affine):
    image = noise(1021, 233)
    point = np.array([[180.0, 900.0]])
    drawing = draw_prediction(image, LandmarkSchema(("tip",)), point, affine)
    picture = pixels(drawing)
    assert picture.shape[1] == 233 and picture.shape[0] > 1021
    # The name is at the point, all else is the image.
    np.testing.assert_array_equal(picture[:800], np.repeat(image[:800, :, None], 3, -1))
    assert has_color(picture, 180, 900)
    (left, top), (right, bottom) = (
        drawing.transFigure.inverted().transform(corner) * [233, picture.shape[0]]
        for corner in texts(drawing)[0].get_window_extent().get_points()
    )
    assert 0 <= left < right <= 233
    assert abs(picture.shape[0] - 0.5 * (top + bottom) - 900) < 40


def test_small_images_are_enlarged_by_a_whole_number():
    points = np.array([[10.0, 20.0], [69.0, 89.0]])
    schema = LandmarkSchema(("first", "second"))
    picture = pixels(draw_prediction(noise(90, 70), schema, points))
    factor = picture.shape[1] / 70
    assert factor == 12  # the first with 1000 rows
    for x, y in points:
        assert has_color(picture, factor * (x + 0.5), factor * (y + 0.5))
    assert not has_color(picture, 12 * 40, 12 * 60, 30)


def test_long_pixels_and_radii_have_their_true_scale():
    affine = np.array([[0.0, -0.3, 5.0], [0.1, 0.0, 5.0], [0.0, 0.0, 1.0]])
    points = np.array([[300.0, 150.0]])
    schema = LandmarkSchema(("tip",))
    drawing = draw_prediction(
        np.zeros((400, 600)), schema, points, affine, np.array([8.0]), "film 7"
    )
    picture = pixels(drawing)
    # 0.1 mm and 0.3 mm: 600 x 1200 pixels of 0.1 mm. 8 mm are 80 of them.
    assert picture.shape[1] == 600 and 1200 < picture.shape[0] < 1300
    for dx, dy in ((80, 0), (-80, 0), (0, 80), (0, -80), (48, 64)):
        assert has_color(picture, 300.5 + dx, 451.5 + dy)
    assert not has_color(picture, 300.5, 451.5 + 26.7, 4)
    written = {text.get_text() for text in texts(drawing)}
    assert {"tip", "film 7", "90 % radius", "10 mm"} == written


def test_absent_landmarks_are_listed_and_not_drawn():
    points = np.array([[np.nan, np.nan], [40.0, 30.0]])
    schema = LandmarkSchema(("lost", "$found$"), links=((0, 1),))
    drawing = draw_prediction(
        np.zeros((60, 80)), schema, points, None, np.array([9.0, np.nan])
    )
    written = {text.get_text() for text in texts(drawing)}
    assert written == {r"\$found\$", "Without a point: lost", "90 % radius"}
    nothing = draw_prediction(np.zeros((60, 80)), schema, points[[0, 0]])
    assert {text.get_text() for text in texts(nothing)} == {
        r"Without a point: lost, \$found\$"
    }


@pytest.mark.parametrize(("count", "side"), [(19, 1200), (48, 200)])
def test_names_do_not_cover_each_other(count, side):
    """With the boxes of the texts as matplotlib measures them."""
    rng = np.random.default_rng(1)
    angle = np.sort(rng.uniform(0.0, 6.0, count))
    points = side * (0.5 + 0.35 * np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    schema = LandmarkSchema(tuple(f"landmark {n}" for n in range(count)))
    drawing = draw_prediction(np.zeros((side, side)), schema, points)
    boxes = {
        text.get_text(): text.get_window_extent().get_points().reshape(4)
        for text in texts(drawing)
    }
    assert set(boxes) == set(schema.names)
    left, bottom, right, top = np.array([*boxes.values()]).T
    assert left.min() >= 0 and right.max() <= drawing.bbox.width
    overlap_x = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    overlap_y = np.minimum(top[:, None], top) - np.maximum(bottom[:, None], bottom)
    shared = np.maximum(overlap_x, 0.0) * np.maximum(overlap_y, 0.0)
    np.fill_diagonal(shared, 0.0)
    assert shared.max() <= 0.1 * ((right - left) * (top - bottom)).min()


def tile(picture, column, height):
    """A slice of the first landmark; its rows begin below the projections."""
    size = 240
    left = column * (size + 6)
    return picture[height : height + size, left : left + size].astype(int)


# Columns: the directions of the stored axes, the first along the columns.
LPS = np.eye(3)
SRA = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])


@pytest.mark.parametrize("directions", [LPS, SRA])
def test_slices_through_a_landmark_of_a_volume(directions):
    """A marker lies to the left, one behind, and one above the landmark."""
    shape_lps = np.array([40, 50, 30])
    spacing_lps = np.array([1.0, 1.0, 2.0])
    volume = np.zeros(shape_lps)
    landmark = np.array([18, 26, 12])
    for axis, distance in enumerate((7, 9, 4)):
        place = landmark.copy()
        place[axis] += distance
        volume[tuple(slice(n - 1, n + 2) for n in place)] = 200.0
    # From left, posterior, superior to the stored axes.
    order = np.abs(directions).argmax(axis=0)
    sign = directions[order, np.arange(3)]
    stored = volume.transpose(order)
    stored = np.flip(stored, np.flatnonzero(sign < 0))
    size = shape_lps[order]
    point = np.where(sign < 0, size - 1 - landmark[order], landmark[order])
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_lps[order]
    image = np.transpose(stored)  # z, y, x
    drawing = draw_prediction(
        image,
        LandmarkSchema(("tip",)),
        point[None].astype(float),
        affine,
        np.array([5]),
    )
    written = [text.get_text() for text in texts(drawing)]
    for name, lps_axis in (("sagittal", 0), ("coronal", 1), ("axial", 2)):
        index = point[list(order).index(lps_axis)]
        assert f"{name} {index}" in written
    assert "tip, 90 % radius 5.0 mm" in written
    # Half of the longest extent, 60 mm, in 240 pixels.
    zoom = 8.0
    picture = pixels(drawing)
    gap = next(
        row
        for row in range(picture.shape[0])
        if (picture[row : row + 6] == picture[row, 0]).all() and row > 100
    )
    height = gap + 6 + 28
    axial, coronal, sagittal = (tile(picture, n, height) for n in range(3))

    def white(slice_, right, down):
        x, y = (round(120 + zoom * mm) for mm in (right, down))
        return slice_[y - 2 : y + 3, x - 2 : x + 3].min() > 150

    # Radiological: the patient's left on the right, the head above.
    assert white(axial, 7, 0) and white(axial, 0, 9) and not white(axial, -7, 0)
    assert white(coronal, 7, 0) and white(coronal, 0, -8) and not white(coronal, 0, 8)
    assert white(sagittal, 9, 0) and white(sagittal, 0, -8)
    bright = np.argwhere(axial[100:140, 150:200, 2] > 100)
    np.testing.assert_allclose(bright.mean(axis=0) + [100.5, 150.5], [120, 176], atol=1)
    for slice_ in (axial, coronal, sagittal):
        assert has_color(slice_, 120 + 5 * zoom, 120)
        assert has_color(slice_, 120, 120 + 5 * zoom)


def test_a_volume_without_spacing_is_drawn_as_it_is_stored():
    points = np.array([[10.0, 4.0, 6.0], [np.nan] * 3, [30.0, 4.0, 6.0]])
    schema = LandmarkSchema(("in", "lost", "outside"))
    drawing = draw_prediction(np.zeros((12, 10, 20, 1)), schema, points)
    written = {text.get_text() for text in texts(drawing)}
    assert {"x 10", "y 4", "z 6", "Without a point: lost"} <= written
    assert {"in", "outside, outside the image"} <= written
    assert not any("mm" in text or "axial" in text for text in written)


def test_slices_of_some_landmarks():
    points = np.array([[3.0, 4.0, 5.0], [np.nan] * 3, [8.0, 2.0, 7.0]])
    schema = LandmarkSchema(("first", "lost", "last"))
    volume = np.zeros((12, 10, 20))
    drawing = draw_prediction(volume, schema, points, with_slices=[1, 2])
    written = [text.get_text() for text in texts(drawing)]
    # In each of the three projections; slices of the last only.
    assert written.count("first") == 3 and written.count("last") == 4
    assert "x 8" in written and "x 3" not in written


def test_true_points_in_slices():
    points = np.array([[10.0, 12.0, 14.0], [4.0, 5.0, 6.0], [9.0, 9.0, 9.0]])
    true = points + [[1.0, 2.0, 2.0], [np.nan] * 3, [0.0, 0.0, 0.0]]
    schema = LandmarkSchema(("first", "second", "third"))
    volume = np.zeros((30, 30, 30))
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    drawing = draw_slices(volume, schema, points, affine, chosen=[0, 1], true=true)
    written = {text.get_text() for text in texts(drawing)}
    # 0.5, 1 and 1 mm apart.
    assert "first, 1.50 mm from the true point" in written and "second" in written
    picture = pixels(drawing)
    top = (6 * 240 + 5 * 6 - 2 * 6) // 3 + 6 + 28  # of three equal projections
    slices = [tile(picture, n, top) for n in range(6)]
    # 7.5 mm are 240 pixels wide; y is downwards in the axial plane, z upwards.
    for slice_, mm in zip(slices, ((0.5, 1), (0.5, -1), (1, -1)), strict=False):
        x, y = (120 + 32 * offset for offset in mm)
        for dx, dy in ((5, 0), (-5, 0), (0, 5), (0, -5)):
            assert has_color(slice_, x + dx, y + dy, color=TRUE)
    assert not any(has_color(slice_, 120, 120, 110, TRUE) for slice_ in slices[3:])


def test_names_that_do_not_fit_enlarge_the_image():
    points = np.array([[30.0, 300.0], [60.0, 900.0]])
    schema = LandmarkSchema(("nasal spine", "menton"))
    drawing = draw_prediction(np.zeros((1100, 70)), schema, points)
    (name,) = (text for text in texts(drawing) if text.get_text() == schema.names[0])
    (left, _), (right, _) = name.get_window_extent().get_points()
    assert drawing.bbox.width == pytest.approx(140, abs=0.1)  # 3000 / 1100 times
    assert 70 < right - left and 0 <= left and right <= 140
    # A point that is not in the image does not enlarge it.
    outside = draw_prediction(np.zeros((1100, 300)), schema, points + [5000.0, 0.0])
    assert outside.bbox.width == pytest.approx(300, abs=0.1)


def test_circles_do_not_cover_the_caption():
    point = np.array([[200.0, 1000.0]])
    schema = LandmarkSchema(("tip",))
    picture = pixels(
        draw_prediction(np.zeros((1010, 400)), schema, point, None, np.array([30.0]))
    )
    assert has_color(picture, 170.5, 1000.5)
    below = picture[1012:, 150:250].astype(int)
    assert (np.ptp(below, axis=-1) < 30).all()  # all of it is dark grey


def test_names_in_any_script_and_of_any_length():
    points = np.array([[100.0, 300.0], [100.0, 500.0], [100.0, 800.0]])
    long = "distal phalanx of the little finger, radial edge"
    schema = LandmarkSchema(("\u874d\u978d", f"{long} 1", f"{long} 2"))
    written = {
        text.get_text()
        for text in texts(draw_prediction(np.zeros((1000, 800)), schema, points))
    }
    assert len(written) == 3 and "\u874d\u978d" in written
    assert {text[-1] for text in written if "\u2026" in text} == {"1", "2"}
