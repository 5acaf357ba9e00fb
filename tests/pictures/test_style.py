from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import landmark_colors

SCHEMA = LandmarkSchema(("tip", "base", "side"))


def test_colors():
    assert len(set(landmark_colors(SCHEMA))) == 3
    own = LandmarkSchema(("a", "b"), colors=("#010203", "#040506"))
    assert landmark_colors(own) == own.colors
    many = LandmarkSchema(tuple(str(n) for n in range(37)))
    colors = landmark_colors(many)
    assert len(colors) == 37
    assert all(a != b for a, b in zip(colors, colors[1:], strict=False))
