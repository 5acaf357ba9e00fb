"""JSON objects with the numbers of the lines on which they begin."""

import bisect
import json
import re
from collections.abc import Mapping, Sequence
from json import decoder, scanner
from pathlib import Path
from typing import Any

from scn_keras.files.text_values import read_text


class JsonObject(dict[str, Any]):
    """A JSON object and the line on which it begins."""

    line = 1


class _Decoder(json.JSONDecoder):
    """The Python scanner of the standard library, which gives positions."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self.parse_object = self._parse_object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _parse_object(self, text_and_end: tuple[str, int], *args: Any) -> Any:
        value, end = decoder.JSONObject(text_and_end, *args)  # type: ignore[attr-defined]
        located = JsonObject(value)
        located.line = bisect.bisect_left(self._line_ends, text_and_end[1]) + 1
        return located, end


def load_json(path: Path) -> Any:
    """Reads a JSON file with a `JsonObject` for each object.

    Args:
        path: Path, the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not JSON. The message names the file and the line.
    """
    text = read_text(path)
    for what, sign, largest in (("objects", "{", 500_000), ("values", ",", 4_000_000)):
        if (count := text.count(sign)) > largest:
            raise ValueError(
                f"A JSON file of points must have at most {largest:,} {what}. Divide "
                f"it. Received: {count:,} in {path}"
            )
    try:
        return _Decoder(text).decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno} is not JSON: {error.msg}."
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path} has too many brackets within brackets.") from error
    except ValueError as error:  # an integer of thousands of digits
        raise ValueError(f"{path} is not JSON: {error}.") from error


def objects_in(path: Path, parent: JsonObject, key: str) -> list[JsonObject]:
    """Returns the list of objects that an object has for a key, empty if it has none.

    Args:
        path: Path, the file, for messages.
        parent: `JsonObject`.
        key: Str.

    Raises:
        ValueError: If the value is not a list of objects.
    """
    value = parent.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, JsonObject) for v in value):
        raise ValueError(
            f"{path}, line {parent.line}: {key!r} must be a list of objects."
        )
    return value


def image_size_in(
    path: Path, parent: JsonObject, width: str, height: str
) -> tuple[int, int] | None:
    """Returns the width and the height of an image in an object; None without them.

    Args:
        path: Path, the file, for messages.
        parent: `JsonObject`.
        width: Str, the key of the width.
        height: Str, the key of the height.

    Raises:
        ValueError: If only one of them is given, or one is not a whole number.
    """
    values = [parent.get(key) for key in (width, height)]
    if values == [None, None]:
        return None
    if not all(isinstance(value, int | float) and value % 1 == 0 for value in values):
        raise ValueError(
            f"{path}, line {parent.line}: {width!r} and {height!r} must be two whole "
            f"numbers, or absent. Received: {width}={values[0]!r}, "
            f"{height}={values[1]!r}"
        )
    return int(values[0]), int(values[1])  # type: ignore[arg-type]


def text_fields(
    parent: Mapping[str, Any], without: Sequence[str] = ()
) -> dict[str, str]:
    """Returns the texts and numbers of an object as texts.

    Args:
        parent: Mapping, the object.
        without: Sequence of str, the keys to leave out.
    """
    return {
        key: str(value)
        for key, value in parent.items()
        if key not in without and isinstance(value, str | int | float)
    }
