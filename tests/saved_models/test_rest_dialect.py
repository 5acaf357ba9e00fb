import base64
import json
import tracemalloc

import numpy as np
import pytest

from scn_keras.saved_models.rest_dialect import (
    Input,
    format_answer,
    format_call,
    parse_answer,
    parse_call,
)

SIGNATURES = {
    "serving_default": {
        "image_bytes": Input(np.dtype(object), (None,)),
        "spacing_mm": Input(np.dtype(np.float32), (None, 2)),
    },
    "arrays": {"image": Input(np.dtype(np.float32), (None, None, None, 1))},
    "landmarks": {"landmark": Input(np.dtype(np.int32), (None,))},
}
B64 = {"b64": base64.b64encode(b"\x89PNG").decode()}


def parse(call):
    return parse_call(json.dumps(call).encode(), SIGNATURES)


def test_rows_and_columns_say_the_same():
    rows = [{"image_bytes": B64, "spacing_mm": [0.1, 0.2]}] * 2
    columns = {"image_bytes": [B64] * 2, "spacing_mm": [[0.1, 0.2]] * 2}
    by_rows, by_columns = parse({"instances": rows}), parse({"inputs": columns})
    assert by_rows.rows and not by_columns.rows
    for call in (by_rows, by_columns):
        assert call.signature == "serving_default"
        assert call.inputs["image_bytes"].tolist() == [b"\x89PNG"] * 2
        assert call.inputs["spacing_mm"].dtype == np.float32
        np.testing.assert_allclose(call.inputs["spacing_mm"], [[0.1, 0.2]] * 2)


def test_the_only_input_needs_no_name():
    for value in ({"instances": [3, 1]}, {"inputs": [3, 1]}):
        call = parse({"signature_name": "landmarks", **value})
        assert call.inputs["landmark"].tolist() == [3, 1]
        assert call.inputs["landmark"].dtype == np.int32
    named = parse({"signature_name": "landmarks", "instances": [{"landmark": 2}]})
    assert named.inputs["landmark"].tolist() == [2]


def test_nan_travels_both_ways():
    body = json.dumps({"inputs": {"image_bytes": [B64], "spacing_mm": [[0, 0]]}})
    call = parse_call(body.replace("[[0, 0]]", "[[NaN, 1]]").encode(), SIGNATURES)
    assert np.isnan(call.inputs["spacing_mm"][0, 0])
    answer = format_answer({"points_mm": np.full((1, 2), np.nan, np.float32)}, True)
    assert answer == b'{"predictions": [[NaN, NaN]]}'


def test_what_is_written_is_read():
    outputs = {
        "points_px": np.array([[[1.25, np.nan]]], np.float32),
        "present": np.array([[True]]),
        "name": np.array([b"sella"], object),
    }
    read = parse_answer(format_answer(outputs, rows=False))
    np.testing.assert_array_equal(read["points_px"], outputs["points_px"])
    assert read["points_px"].dtype == np.float32
    assert read["present"].dtype == bool
    assert read["name"].tolist() == ["sella"]
    rows = json.loads(format_answer(outputs, rows=True))["predictions"]
    assert rows[0]["present"] == [True] and rows[0]["name"] == "sella"
    body = format_call("landmarks", {"landmark": np.arange(3)})
    assert parse_call(body, SIGNATURES).inputs["landmark"].tolist() == [0, 1, 2]


def test_floats_are_written_as_short_as_they_can_be_read_exactly():
    random = np.random.default_rng(0)
    image = random.normal(size=(3, 90, 80, 1)).astype(np.float32)
    image.flat[:4] = (0.1, 1e-30, 3e30, 0.0)
    body = format_call("arrays", {"image": image})
    assert b"[[[[0.1],[1e-30],[3e+30],[0.0]," in body
    assert len(body) < 0.7 * len(json.dumps(image.tolist()))
    np.testing.assert_array_equal(parse_call(body, SIGNATURES).inputs["image"], image)
    for odd in (np.full((1, 2, 2, 1), np.nan), np.zeros((2, 0, 3, 1))):
        body = format_call("arrays", {"image": odd.astype(np.float32)})
        assert json.loads(body)["inputs"]["image"] is not None


def test_base64_may_have_lines_and_no_padding():
    for text in ("iVBORw==", "iVBO\nRw==\n", "iVBORw", " iVBO Rw "):
        call = {"image_bytes": [{"b64": text}], "spacing_mm": [[0, 0]]}
        assert parse({"inputs": call}).inputs["image_bytes"][0] == b"\x89PNG"[:4]


def test_infinity_is_a_number():
    body = b'{"inputs": {"image_bytes": ["a"], "spacing_mm": [[Infinity, 1]]}}'
    assert np.isinf(parse_call(body, SIGNATURES).inputs["spacing_mm"][0, 0])


def test_texts_among_numbers_take_no_room():
    call = {"image_bytes": [B64], "spacing_mm": ["a" * 50_000] + [""] * 20_000}
    tracemalloc.start()
    with pytest.raises(ValueError, match="numbers alone"):
        parse({"inputs": call})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e6


def test_bytes_come_back_as_base64_by_the_name_of_the_output():
    outputs = {"picture_bytes": np.array([b"\xff"], object)}
    assert json.loads(format_answer(outputs, True)) == {
        "predictions": [{"b64": "/w=="}]
    }


ONE = {"image_bytes": [B64], "spacing_mm": [[0, 0]]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ([], "JSON object"),
        ({}, "one of `instances` and `inputs`"),
        ({"instances": [1], "inputs": [1]}, "one of `instances` and `inputs`"),
        ({"instances": []}, "at least one"),
        ({"instances": {}}, "at least one"),
        ({"signature_name": "other", "inputs": ONE}, '"other" not found'),
        ({"signature_name": [1], "inputs": ONE}, "not found"),
        ({"inputs": {"image_bytes": [B64]}}, "takes: image_bytes, spacing_mm"),
        ({"inputs": {**ONE, "more": [1]}}, "takes: image_bytes, spacing_mm"),
        ({"inputs": [B64]}, "takes: image_bytes, spacing_mm"),
        ({"instances": [B64]}, "takes: image_bytes, spacing_mm"),
        ({"inputs": {**ONE, "spacing_mm": [0, 0]}}, r"shape \(n, 2\).*\(2,\)"),
        ({"inputs": {**ONE, "spacing_mm": [[0, 0, 0]]}}, r"shape \(n, 2\).*\(1, 3\)"),
        ({"inputs": {**ONE, "spacing_mm": [[0], [0, 1]]}}, "even array"),
        ({"inputs": {**ONE, "spacing_mm": [["0.1", "0.1"]]}}, "numbers alone"),
        ({"inputs": {**ONE, "spacing_mm": [[None, 1]]}}, "numbers alone"),
        ({"inputs": {**ONE, "spacing_mm": [[10**30, 1]]}}, "numbers alone"),
        ({"inputs": {**ONE, "spacing_mm": [[1e300, 1]]}}, "beyond float32"),
        ({"inputs": {**ONE, "spacing_mm": [[True, False]]}}, "float32 alone"),
        ({"inputs": {**ONE, "spacing_mm": [[0, 0]] * 2}}, "1 of image_bytes, 2 of"),
        ({"inputs": {**ONE, "image_bytes": B64}}, "must be a list"),
        ({"inputs": {**ONE, "image_bytes": [{"b64": "!"}]}}, "base64 text is damaged"),
        ({"inputs": {**ONE, "image_bytes": [{"b64": 1}]}}, "must be a text or"),
        ({"inputs": {**ONE, "image_bytes": [1]}}, "must be a text or"),
        ({"inputs": {**ONE, "image_bytes": [{"url": "file:///a"}]}}, "a text or"),
        ({"signature_name": "landmarks", "inputs": [0.5]}, "int32 alone"),
        ({"signature_name": "arrays", "inputs": [[[1.0]]]}, r"\(n, n, n, 1\)"),
    ],
)
def test_what_is_no_call_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        parse(call)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{'a': 1}", b"1" * 5000]
)
def test_what_is_no_json_gets_one_sentence(body):
    with pytest.raises(ValueError, match="JSON"):
        parse_call(body, SIGNATURES)
