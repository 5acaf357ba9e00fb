import struct

import numpy as np

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import OverlayOptions, draw_overlay, to_jpeg, to_png, to_svg


def test_formats():
    drawing = draw_overlay(
        np.zeros((40, 40)),
        LandmarkSchema(("a", "b")),
        np.full((2, 2), 20.0),
        options=OverlayOptions(width=2.0),
    )
    png, jpeg, svg = (convert(drawing) for convert in (to_png, to_jpeg, to_svg))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (280, 364)  # 140 per inch; strips of 0.3 inches
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert b"<svg" in svg
    assert svg == to_svg(drawing)
