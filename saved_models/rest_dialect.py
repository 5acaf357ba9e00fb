"""The JSON of TF Serving's REST API, for clients and servers.

A call holds rows under `instances` or columns under `inputs`. Bytes are written as
`{"b64": "..."}`, and NaN and Infinity as such, which is an extension of JSON.
https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Input(NamedTuple):
    """One input of a signature.

    Attributes:
        dtype: `np.dtype`, `object` for bytes.
        shape: Tuple of int, `None` for axes of any length.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...]


class PredictCall(NamedTuple):
    """A call of a signature.

    Attributes:
        signature: Str, the name of the signature.
        inputs: Dict of names to arrays.
        rows: Bool, whether the call is in rows, and so must be the answer.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    rows: bool


def parse_call(
    body: bytes, signatures: Mapping[str, Mapping[str, Input]]
) -> PredictCall:
    """Parses the body of a `:predict` call.

    Args:
        body: Bytes, the JSON of the call.
        signatures: Mapping of the signatures' names to mappings of names to `Input`.

    Returns:
        A `PredictCall`. Its arrays have the types and ranks of the signature, and
        first axes of equal length.

    Raises:
        ValueError: If the body is not a call of one of the signatures; the message is
            one sentence for the caller.
    """
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"JSON Parse error: {error}") from error
    if not isinstance(call, dict):
        raise ValueError("The body must be a JSON object with `instances` or `inputs`.")
    name = call.get("signature_name") or "serving_default"
    if not isinstance(name, str) or name not in signatures:
        raise ValueError(
            f'Serving signature name: "{str(name)[:80]}" not found in signature def. '
            f"There are: {', '.join(signatures)}"
        )
    wanted = signatures[name]
    if ("instances" in call) == ("inputs" in call):
        raise ValueError("The body must have one of `instances` and `inputs`.")
    rows = "instances" in call
    columns = _columns(call, wanted) if rows else _named(call["inputs"], wanted)
    inputs = {key: _to_array(key, columns[key], wanted[key]) for key in wanted}
    if len({len(array) for array in inputs.values()}) > 1:
        lengths = ", ".join(f"{len(array)} of {key}" for key, array in inputs.items())
        raise ValueError(f"Each image needs one of each input. Received: {lengths}")
    return PredictCall(name, inputs, rows)


def format_answer(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Formats the answer to a `:predict` call.

    Args:
        outputs: Mapping of names to arrays. A single output is written without its
            name.
        rows: Bool, whether to write rows or columns.
    """
    values = {key: _to_json(key, array) for key, array in outputs.items()}
    single = len(values) == 1
    if not rows:
        (answer,) = values.values() if single else (values,)
        return json.dumps({"outputs": answer}).encode()
    answers = [
        row[0] if single else dict(zip(values, row, strict=True))
        for row in zip(*values.values(), strict=True)
    ]
    return json.dumps({"predictions": answers}).encode()


def format_call(signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Formats a `:predict` call in columns, which need each name only once.

    Args:
        signature: Str, the name of the signature.
        inputs: Mapping of names to arrays; bytes are in arrays of `object` of one axis.
    """
    columns = ", ".join(
        f"{json.dumps(key)}: {_column(array)}" for key, array in inputs.items()
    )
    name = json.dumps(signature)
    return f'{{"signature_name": {name}, "inputs": {{{columns}}}}}'.encode()


def parse_answer(body: bytes) -> dict[str, np.ndarray]:
    """Parses the answer to a call in columns.

    Args:
        body: Bytes, the JSON of the answer.

    Returns:
        Dict of names to arrays; a single output has the name `""`.
    """
    outputs = json.loads(body)["outputs"]
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    arrays = {key: np.array(value) for key, value in named.items()}
    return {
        key: array.astype(np.float32) if array.dtype == np.float64 else array
        for key, array in arrays.items()
    }


def _column(array):
    if array.dtype == object:
        return json.dumps([{"b64": base64.b64encode(item).decode()} for item in array])
    if array.dtype == np.float32 and array.size and np.isfinite(array).all():
        return _short_floats(array)
    return json.dumps(array.tolist())


def _short_floats(array):
    """Formats float32 numbers with the fewest digits that are read back exactly.

    This is half as long as the text of `json`. Large arrays are formatted in pieces,
    so that other threads can run in between.
    """
    if array.ndim > 1 and array.size > 2**14:
        return "[" + ",".join(map(_short_floats, array)) + "]"
    texts = array.ravel().astype(str).tolist()
    for size in array.shape[:0:-1]:
        begins = range(0, len(texts), size)
        texts = ["[" + ",".join(texts[at : at + size]) + "]" for at in begins]
    return "[" + ",".join(texts) + "]"


def _columns(call, wanted):
    instances = call["instances"]
    if not isinstance(instances, list) or not instances:
        raise ValueError("`instances` must be a list with at least one element.")
    if len(wanted) == 1:
        (key,) = wanted
        bare = [row[key] if _is_named(row, key) else row for row in instances]
        return {key: bare}
    named = [_named(row, wanted) for row in instances]
    return {key: [row[key] for row in named] for key in wanted}


def _is_named(row, key):
    return isinstance(row, dict) and key in row


def _named(values, wanted):
    if len(wanted) == 1 and not _is_named(values, *wanted):
        values = dict.fromkeys(wanted, values)
    if not isinstance(values, dict) or set(values) != set(wanted):
        got = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(
            f"The signature takes: {', '.join(wanted)}. Received: {str(got)[:200]}"
        )
    return values


def _to_array(key: str, value: Any, wanted: Input) -> np.ndarray:
    array = _bytes_array(key, value) if wanted.dtype == object else _numbers(key, value)
    if wanted.dtype != object:
        if array.dtype.kind not in {"f": "fiu", "b": "b"}.get(wanted.dtype.kind, "iu"):
            # An empty list becomes an array of floats.
            if array.size:
                raise ValueError(
                    f"`{key}` must hold {wanted.dtype} alone. Received: {array.dtype}"
                )
        with np.errstate(over="ignore"):
            exact, array = array, array.astype(wanted.dtype)
        if array.dtype.kind == "f" and np.isinf(array).any():
            if np.isfinite(exact[np.isinf(array)]).any():
                raise ValueError(f"`{key}` has a number beyond {wanted.dtype}.")
    if array.ndim != len(wanted.shape) or any(
        size not in (None, given)
        for size, given in zip(wanted.shape, array.shape, strict=True)
    ):
        shape = ", ".join("n" if size is None else str(size) for size in wanted.shape)
        raise ValueError(
            f"`{key}` must have the shape ({shape}). Received: shape {array.shape}"
        )
    return array


def _numbers(key, value):
    # Checked before NumPy allocates the length of the longest text for each text.
    if not _holds_numbers(value):
        raise _no_number(key)
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"`{key}` must be an even array of numbers.") from error
    if array.dtype.kind not in "fiub":
        raise _no_number(key)
    return array


def _holds_numbers(value):
    lists = [[value]]
    while lists:
        items = lists.pop()
        kinds = set(map(type, items))
        if not kinds <= {int, float, bool, list}:
            return False
        if list in kinds:
            lists += [item for item in items if isinstance(item, list)]
    return True


def _no_number(key):
    return ValueError(
        f"`{key}` must hold numbers alone: no text, no null, no number above 64 bits."
    )


def _bytes_array(key, value):
    if not isinstance(value, list):
        raise ValueError(f"`{key}` must be a list. Received: {type(value).__name__}")
    array = np.empty(len(value), object)
    for index, item in enumerate(value):
        array[index] = _to_bytes(key, item)
    return array


def _to_bytes(key, item):
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        text = item["b64"]
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            # TF Serving, too, takes lines, and texts without padding.
            text = "".join(text.split()).rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"`{key}`: the base64 text is damaged: {error}") from error
    raise ValueError(f'Each of `{key}` must be a text or {{"b64": "..."}}.')


def _to_json(key, array):
    if array.dtype != object:
        return array.tolist()
    if key.endswith("_bytes"):
        return [{"b64": base64.b64encode(item).decode()} for item in array]
    return [item.decode("utf-8", "replace") for item in array]
