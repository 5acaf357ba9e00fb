import dataclasses
import json

import pytest

from scn_keras import LandmarkSchema

HAND = LandmarkSchema(
    ("thumb", "index", "wrist left", "wrist right"),
    links=((0, 2), (1, 2), (2, 3)),
    pairs=((2, 3),),
    colors=("red", "#00ff00", "blue", "blue"),
)


def test_survives_json():
    text = json.dumps(HAND.to_dict())
    assert LandmarkSchema.from_dict(json.loads(text)) == HAND
    assert hash(LandmarkSchema.from_dict(json.loads(text))) == hash(HAND)
    plain = LandmarkSchema(("sella", "nasion"))
    assert LandmarkSchema.from_dict({"names": ["sella", "nasion"]}) == plain
    assert len(plain) == 2


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HAND.names = ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": ("a", "b", "a")}, r"names.*\['a'\]"),
        ({"links": ((0, 3),)}, r"`links`.*3 landmarks.*\(0, 3\)"),
        ({"links": ((-1, 0),)}, r"`links`.*\(-1, 0\)"),
        ({"links": ((0, 1, 2),)}, r"`links`.*\(0, 1, 2\)"),
        ({"pairs": ((1, 7),)}, r"`pairs`.*\(1, 7\)"),
        ({"colors": ("red", "blue")}, "one colour for each of the 3.*2 colours"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        LandmarkSchema(**{"names": ("a", "b", "c"), **arguments})
