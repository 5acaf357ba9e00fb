import numpy as np

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import landmark_colors
from scn_keras.pictures.style import grey_limits, to_grey

SCHEMA = LandmarkSchema(("tip", "base", "side"))


def test_colors():
    assert len(set(landmark_colors(SCHEMA))) == 3
    own = LandmarkSchema(("a", "b"), colors=("#010203", "#040506"))
    assert landmark_colors(own) == own.colors
    many = LandmarkSchema(tuple(str(n) for n in range(37)))
    colors = landmark_colors(many)
    assert len(colors) == 37
    assert all(a != b for a, b in zip(colors, colors[1:], strict=False))


def test_grey_values_that_are_no_numbers():
    image = np.linspace(0.0, 100.0, 101)[None].astype(np.float32)
    image[0, [3, 50, 70]] = np.nan, np.inf, -np.inf
    low, high = grey_limits(image)
    assert 0.0 <= low < 2.0 and 98.0 < high <= 100.0
    grey = to_grey(image, (0.0, 100.0))
    assert grey.dtype == np.uint8
    assert grey[0, [0, 3, 20, 50, 70, 100]].tolist() == [0, 0, 51, 255, 0, 255]
    assert grey_limits(np.full((2, 2), np.nan)) == (0.0, 1.0)
