"""Mutated files of every format; `benchmarks.fuzz_readers` reads ten thousands."""

import csv
import json
import re
import struct

import numpy as np
import pytest

from scn_keras.files import read_image, read_points
from scn_keras.files.text_values import MAX_LINES, MAX_TEXT_BYTES

# The benchmarks are not part of the wheel.
fuzz_readers = pytest.importorskip("benchmarks.fuzz_readers")
fuzz, mutations = fuzz_readers.fuzz, fuzz_readers.mutations
seeds, image_seeds = fuzz_readers.seeds, fuzz_readers.image_seeds


@pytest.mark.parametrize("kind", [*seeds()])
def test_mutated_files_get_an_answer_or_a_sentence(kind, tmp_path):
    result = fuzz(kind, 20, 3, tmp_path)
    assert result["faults"] == []
    assert result["count"] == 20
    assert result["past_header"] >= 1


@pytest.mark.filterwarnings("ignore:.*has no Pixel Spacing")
@pytest.mark.parametrize("kind", [*image_seeds()])
def test_valid_files_are_read(kind, tmp_path):
    for number, content in enumerate(seeds()[kind]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
        array, _ = read_image(folder / next(iter(content)))
        assert np.ptp(array) > 0


def test_headers_that_end_early(tmp_path):
    """Of what mutations have found."""
    png = seeds()["png"][0]["a.png"]
    for name, data in (
        ("a.png", png[:20]),
        ("b.png", png[:8] + (b"\0\0\0\0abcd" + struct.pack(">I", 0)) * 100_001),
        # BitsPerSample (258) without a value.
        ("a.tif", b"II*\0\x08\0\0\0\x02\0" + TIFF_ENTRIES + bytes(4)),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match=str(path)):
            read_image(path)


TIFF_ENTRIES = struct.pack("<HHII", 258, 3, 0, 0) + struct.pack("<HHII", 262, 3, 1, 1)


def test_the_same_seed_gives_the_same_files():
    for kind in ("dcm", "nii.gz", "json"):
        first = [*mutations(kind, 10, 1)]
        assert first == [*mutations(kind, 10, 1)]
        assert first != [*mutations(kind, 10, 2)]


@pytest.mark.parametrize(
    "value",
    [
        "[" * 200_000 + "]" * 200_000,
        "9" * 10_000,
        "1" + "0" * 400,
        '"' + "A" * 9999 + '"',
    ],
)
def test_odd_values_of_json_get_a_short_sentence(tmp_path, value):
    path = tmp_path / "a.json"
    point = {"label": "a", "position": [1, 2]}
    text = json.dumps({"points": [point, point]}).replace("[1, 2]", value, 1)
    path.write_text(text)
    for broken in (text, text.replace(value, f"[{value}, 2]")):
        path.write_text(broken)
        with pytest.raises(ValueError, match=f"^{path}") as caught:
            read_points(path)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("kind", "number"),
    [("Studio", '"original_width": 80'), ("tps", "LM=3")],
)
@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_many_digits_get_a_sentence(tmp_path, kind, number, digits):
    ((name, data),) = seeds()[kind][0].items()
    path = tmp_path / name
    text = data.decode().replace(number, re.sub(r"\d+", "9" * digits, number))
    assert text != data.decode()
    path.write_text(text)
    with pytest.raises(ValueError, match=str(path)) as caught:
        read_points(path)
    assert len(str(caught.value)) < 1000


def test_a_table_with_a_huge_field_gets_a_sentence(tmp_path):
    huge = "A" * (csv.field_size_limit() + 1)
    for name, text, message in (
        (
            "a.csv",
            f"image,label,x,y\n1,{huge},1,2\n",
            "line 2 is not CSV: field larger",
        ),
        ("a.fcsv", f"1,1,2,3,0,0,0,1,1,1,0,{huge},,\n", "not a table of values: field"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ValueError, match=f"^{path}.*{message}"):
            read_points(path)


def test_files_of_points_have_a_largest_size(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(ValueError, match="must have at most 33,554,432 bytes"):
        read_points(path)
    path.write_text("label,x,y\n" + "\n" * MAX_LINES)
    with pytest.raises(ValueError, match="must have at most 250,000 lines"):
        read_points(path)
    path = tmp_path / "a.json"
    path.write_text('{"points": [' + "{}," * 500_001 + "{}]}")
    with pytest.raises(ValueError, match="must have at most 500,000 objects"):
        read_points(path)
    path.write_text('{"points": [' + "1," * 4_000_001 + "1]}")
    with pytest.raises(ValueError, match="must have at most 4,000,000 values"):
        read_points(path)
    path.write_text(
        '{"points": [{"label": "a",\n"position": [1, 2]}]}' + "\n" * MAX_LINES
    )
    assert read_points(path).labels == ("a",)
