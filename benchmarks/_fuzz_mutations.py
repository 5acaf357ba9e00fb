"""Mutations of valid files that keep enough of their structure to be parsed."""

import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from benchmarks._fuzz_seeds import Files

_NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1)
_INTEGERS = (*_NUMBERS, 2**31, 2**32 - 1, -1, -2, -32768, -(2**31))
_TEXTS = (
    *("", "0", "-1", "1e308", "nan", "inf", "-0.0", "99999999999999999999", "1,5"),
    *("%s%n%d", "../../etc/passwd", "/etc/passwd", "LIST", "LOCAL", "A" * 5000),
    *(
        "\0",
        "é\u0301",
        "\U0001f9b7",
        "A" * 140_000,
        '"',
        "'",
        ";",
        "\t",
        "[",
        "{",
        "null",
    ),
)


def mutate(files: Files, kind: str, draw: random.Random) -> Files:
    """Returns a changed copy of one of the files.

    Args:
        files: Dict of bytes by name, a valid file and those beside it.
        kind: Str, the format.
        draw: `random.Random`.
    """
    name, *others = files
    if others and draw.random() < 0.2:
        name = draw.choice(others)
    data = files[name]
    structured = _STRUCTURED.get(kind, _mutate_bytes)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        change = structured if draw.random() < 0.9 else _mutate_bytes
        data = change(data, draw)
    return {**files, name: data}


def _mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return bytes([draw.randrange(256)])
    # Half of the changes in the first bytes, where headers are.
    end = len(data) if draw.random() < 0.5 else min(len(data), 512)
    at = draw.randrange(end)
    way = draw.randrange(7)
    if way == 0:
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if way == 1:
        return data[:at] + draw.randbytes(draw.randint(1, 4)) + data[at + 4 :]
    if way == 2:
        form = draw.choice("BHIQ")
        value = draw.choice(_INTEGERS) % 256 ** struct.calcsize(form)
        number = struct.pack(draw.choice("<>") + form, value)
        return data[:at] + number + data[at + len(number) :]
    if way == 3:
        return data[:at]
    length = draw.choice((1, 2, 8, 100, 1000))
    if way == 4:
        return data[:at] + data[at + length :]
    if way == 5:
        return data[:at] + data[at : at + length] * draw.choice((2, 3, 50)) + data[at:]
    other = draw.randrange(len(data))
    return data[:at] + data[other : other + length] + data[at + length :]


def _mutate_text(data: bytes, draw: random.Random) -> bytes:
    """Changes a line, a word or a number of a text, or of the text before pixels."""
    end = data.find(b"\0") if b"\0" in data else len(data)
    lines = data[:end].split(b"\n")
    at = draw.randrange(len(lines))
    way = draw.randrange(7)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(at, draw.choice(lines))
    elif way == 2:
        lines[at] += draw.choice(_TEXTS).encode()
    else:
        words = [*re.finditer(rb"[\w.+-]+", lines[at])]
        if words:
            word = draw.choice(words)
            new = str(draw.choice((*_TEXTS, *_INTEGERS))).encode()
            if way >= 4 and word[0].isdigit():  # near to the right one
                new = str(max(int(word[0]) + draw.choice((-1, 1, 2)), 0)).encode()
            lines[at] = lines[at][: word.start()] + new + lines[at][word.end() :]
    return b"\n".join(lines) + data[end:]


def _mutate_gzip(data: bytes, draw: random.Random) -> bytes:
    try:
        inside = gzip.decompress(data)
    except (EOFError, OSError, zlib.error):
        return _mutate_bytes(data, draw)
    return gzip.compress(_mutate_fields(inside, draw), 1, mtime=0)


def _mutate_fields(data: bytes, draw: random.Random) -> bytes:
    """Writes an odd number into an aligned field, of a NIfTI header mostly."""
    if len(data) < 352 or draw.random() < 0.3:
        return _mutate_bytes(data, draw)
    form = draw.choice("bhif")
    size = struct.calcsize(form)
    at = draw.randrange(348 // size) * size
    value: float = draw.choice((0, 1, 2, 3, 16, 64, 100, -1))
    if form == "f":
        value = draw.choice((0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30, 353.0))
    return data[:at] + struct.pack("<" + form, value) + data[at + size :]


def _mutate_png(data: bytes, draw: random.Random) -> bytes:
    """Changes a chunk and makes its checksum right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return _mutate_bytes(data, draw)
    index = draw.randrange(len(chunks))
    kind, content = chunks[index]
    way = draw.randrange(5)
    if way == 0:
        chunks.insert(index, chunks[index])
    elif way == 1 and len(chunks) > 1:
        del chunks[index]
    elif way == 2 and kind == b"IDAT":
        try:
            content = zlib.compress(_mutate_bytes(zlib.decompress(content), draw))
        except zlib.error:
            pass
        chunks[index] = kind, content
    else:
        chunks[index] = kind, _mutate_bytes(content, draw)
    return data[:8] + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _mutate_zip(data: bytes, draw: random.Random) -> bytes:
    """Changes a file in an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, zlib.error):
        return _mutate_bytes(data, draw)
    except (EOFError, RuntimeError):
        return _mutate_bytes(data, draw)
    if not files:
        return _mutate_bytes(data, draw)
    # Mostly the parts with the cells, and the texts in them.
    cells = [name for name in files if "sheet1" in name or "sharedStrings" in name]
    name = draw.choice(cells if cells and draw.random() < 0.85 else [*files])
    texts = [*re.finditer(rb">([^<>]+)<", files[name])]
    if texts and draw.random() < 0.5:
        begin, end = draw.choice(texts).span(1)
        new = escape(str(draw.choice((*_TEXTS, *_INTEGERS)))).encode()
        files[name] = files[name][:begin] + new + files[name][end:]
    else:
        change = _mutate_text if draw.random() < 0.7 else _mutate_bytes
        files[name] = change(files[name].replace(b"><", b">\n<"), draw)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _mutate_json(data: bytes, draw: random.Random) -> bytes:
    """Changes one value anywhere in a tree."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return _mutate_bytes(data, draw)
    places: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict | list):
            keys = [*node] if isinstance(node, dict) else [*range(len(node))]
            places += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    if not places:
        return _mutate_bytes(data, draw)
    node, key = draw.choice(places)
    way = draw.randrange(6)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, list):
        node.insert(key, node[key])
    elif way == 2:
        other, other_key = draw.choice(places)
        try:
            node[key] = json.loads(json.dumps(other[other_key]))
        except (KeyError, IndexError):
            pass
    else:
        node[key] = draw.choice(_VALUES)
    text = json.dumps(tree)
    if draw.random() < 0.02:  # as deep as no parser by recursion can go
        text = text.replace("1.5", "[" * 100_000 + "]" * 100_000)
        text = text.replace("3.5", "[" * 5000 + "]" * 5000)
    return text.encode()


_VALUES = (
    *(None, True, False, 0, 1, -1, 1.5, 1e308, 10**400, float("nan"), float("inf")),
    *(
        "",
        "x",
        "3.5",
        "undefined",
        "polygon",
        "../../etc/passwd",
        "é",
        "\0",
        "A" * 5000,
    ),
    *([], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], [None, None], ["a", "b"]),
    *({}, {"a": 1}, [{}], [[]], [[[[]]]], {"label": "a"}),
)

_STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "png": _mutate_png,
    "nii": _mutate_fields,
    "nii.gz": _mutate_gzip,
    **dict.fromkeys(("mha", "mhd", "nrrd", "nhdr"), _mutate_text),
    **dict.fromkeys(("json", "mrk.json", "COCO", "labelme", "Studio"), _mutate_json),
    **dict.fromkeys(("csv", "fcsv", "toml", "tps", "pts", "CVAT"), _mutate_text),
    **dict.fromkeys(("napari", "ImageJ", "DLC"), _mutate_text),
    "VIA": lambda data, draw: (_mutate_json if data[:1] == b"{" else _mutate_text)(
        data, draw
    ),
    "xlsx": _mutate_zip,
}
