import base64
import io
import re
import types

import numpy as np
from PIL import Image

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.report import examples


def test_slices_of_volumes_go_through_the_farthest_points(monkeypatch):
    drawn = []

    def draw_slices(*args, chosen, **kwargs):
        drawn.append((args[0].shape, chosen, args[3] is None))
        return real(*args, chosen=chosen, **kwargs)

    real = examples.draw_slices
    monkeypatch.setattr(examples, "draw_slices", draw_slices)
    points = np.full((4, 3), 3.0)
    reported = types.SimpleNamespace(
        unit="mm",
        truth=None,
        mean_errors={"head": 2.0, "foot": 1.0},
        run=types.SimpleNamespace(schema=LandmarkSchema(tuple("abcd"))),
        points={
            "head": {
                "points_px": points,
                "errors": {None: np.array([1.0, np.nan, 5.0, 2.0])},
                "radius90": np.array([1.0, 2.0, 3.0, np.nan]),
            },
            "foot": {
                "points_px": points,
                "errors": {None: np.array([np.nan, 1.0, np.nan, np.nan])},
                "radius90": np.full(4, np.nan),
            },
        },
    )
    volume = np.zeros((6, 8, 7, 1), np.uint8)
    samples = {
        "head": {"image": volume, "affine": np.eye(4)},
        "foot": {"image": volume, "affine": np.zeros((4, 4))},
    }
    truths = dict.fromkeys(samples, points)
    pages = [*examples.overlay_pictures(reported, samples, samples, truths)]
    assert drawn == [((6, 8, 7), [2, 3], False), ((6, 8, 7), [1], True)]
    for id, page in zip(samples, pages, strict=True):
        assert page.startswith('<div class="wide"><figure>')
        assert f'alt="Image {id} with' in page
        (code,) = re.findall('base64,([^"]*)"', page)
        assert Image.open(io.BytesIO(base64.b64decode(code))).width >= 1440
