import io

import numpy as np
import pytest
from matplotlib import colors
from PIL import Image

from scn_keras.datasets.case import Case
from scn_keras.datasets.check import check_cases
from scn_keras.datasets.check.finding import View
from scn_keras.datasets.check.sample_picture import draw_sample
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures.style import PREDICTED

SCHEMA = LandmarkSchema(("tip", "base"))


def case(folder, name, points, shape=(40, 30), spacing=(1.0, 1.0)):
    path = folder / f"{name}.png"
    rng = np.random.default_rng(sum(map(ord, name)))
    Image.fromarray(rng.integers(0, 255, shape).astype(np.uint8)).save(path)
    affine = np.diag([*spacing, 1.0])
    points = {"points": np.array(points, float)}
    return Case(name, name, "", path, (path,), points, affine)


@pytest.mark.parametrize("count", [1, 5, 6, 7, 20])
def test_samples_are_spread_over_the_annotated_images(tmp_path, count):
    point, none = [[3, 4], [9, 20]], [[np.nan, np.nan]] * 2
    cases = [case(tmp_path, f"a{n:02d}", point) for n in range(count)]
    cases += [case(tmp_path, f"b{n}", none) for n in range(9)]
    samples = check_cases(cases[::-1], SCHEMA, tmp_path).samples
    numbers = [int(view.case.id.removeprefix("a")) for view in samples]
    assert len(numbers) == min(count, 6)
    # Neighbours are about equally far apart, and the ends are half as far.
    steps = np.diff(numbers)
    assert steps.size == 0 or (steps.min() >= 1 and np.ptp(steps) <= 1)
    assert abs(numbers[0] - (count - 1 - numbers[-1])) <= 1
    for view in samples:
        np.testing.assert_array_equal(view.points, point)


def test_images_without_points_are_shown_if_there_are_no_others(tmp_path):
    cases = [case(tmp_path, f"b{n}", [[np.nan, np.nan]] * 2) for n in range(3)]
    samples = check_cases(cases, SCHEMA, tmp_path).samples
    assert [view.case.id for view in samples] == ["b0", "b1", "b2"]
    picture = Image.open(io.BytesIO(draw_sample(samples[0], SCHEMA)))
    assert picture.width == 15 * 30  # the first multiple with 599 rows


def test_a_large_image_is_reduced_with_its_points(tmp_path):
    long = case(tmp_path, "long", [[200, 100], [700, 500]], (600, 1000), (0.1, 0.2))
    view = View(long, long.points["points"])
    picture = np.asarray(Image.open(io.BytesIO(draw_sample(view, SCHEMA))))
    # 600 columns; rows are twice as high as columns are wide.
    assert picture.shape[1] == 600 and 720 < picture.shape[0] < 800
    orange = np.array(colors.to_rgb(PREDICTED)) * 255
    near = np.abs(picture.astype(float) - orange).max(axis=-1) < 60
    for x, y in ((120.3, 120.6), (420.3, 600.6)):
        rows, columns = np.nonzero(
            near[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9]
        )
        center = [columns.mean() + int(x) - 8 + 0.5, rows.mean() + int(y) - 8 + 0.5]
        np.testing.assert_allclose(center, [x, y], atol=1.0)


def test_an_image_that_is_gone_has_no_picture(tmp_path):
    gone = case(tmp_path, "gone", [[3, 4], [9, 20]])
    gone.image_path.unlink()
    assert draw_sample(View(gone, gone.points["points"]), SCHEMA) is None
