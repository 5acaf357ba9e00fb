"""Messages between this process and the one that reads files: JSON and arrays.

Arrays are handed over as memory that both processes map, without a copy through a pipe.
There is no pickle: a library that a hostile file has taken over could answer anything.
"""

import json
import mmap
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files.image_header import ImageHeader

_LENGTH = struct.Struct("<Q")
_MAX_ARRAYS = 8
_MAX_BYTES = 2**28


def send(connection: socket.socket, message: Any) -> None:
    """Sends a message of dicts, lists, tuples, paths, headers, numbers and arrays."""
    arrays: list[int] = []
    try:
        body = json.dumps(_encode(message, arrays)).encode("ascii")
        socket.send_fds(connection, [_LENGTH.pack(len(body))], arrays)
        connection.sendall(body)
    finally:
        for descriptor in arrays:
            os.close(descriptor)


def receive(connection: socket.socket) -> Any:
    """Receives a message of `send`.

    Raises:
        EOFError: If the other process has ended.
    """
    head, arrays, _, _ = socket.recv_fds(connection, _LENGTH.size, _MAX_ARRAYS)
    try:
        head += _read(connection, _LENGTH.size - len(head))
        (length,) = _LENGTH.unpack(head)
        if length > _MAX_BYTES:
            raise EOFError
        return _decode(json.loads(_read(connection, length)), arrays)
    finally:
        for descriptor in arrays:
            os.close(descriptor)


def _read(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _encode(value: Any, arrays: list[int]) -> Any:
    if isinstance(value, dict):
        return {key: _encode(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, arrays) for item in value]}
    if isinstance(value, Path):
        return {"$path": str(value)}
    if isinstance(value, ImageHeader):
        return {"$header": _encode(vars(value), arrays)}
    if isinstance(value, np.ndarray):
        shape = [int(extent) for extent in value.shape]
        if value.size <= 16:  # an affine
            values = value.ravel().tolist()
            return {"$values": values, "dtype": value.dtype.str, "shape": shape}
        arrays.append(_shared(value))
        return {"$array": len(arrays) - 1, "dtype": value.dtype.str, "shape": shape}
    if isinstance(value, np.generic):
        return value.item()
    return value


def _decode(value: Any, arrays: list[int]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tuple" in value:
        return tuple(_decode(item, arrays) for item in value["$tuple"])
    if "$path" in value:
        return Path(value["$path"])
    if "$header" in value:
        return ImageHeader(**_decode(value["$header"], arrays))
    if "$values" in value:
        return np.array(value["$values"], value["dtype"]).reshape(value["shape"])
    if "$array" in value:
        dtype = np.dtype(value["dtype"])
        return _mapped(arrays[value["$array"]], dtype, value["shape"])
    return {key: _decode(item, arrays) for key, item in value.items()}


def _shared(array: np.ndarray) -> int:
    """Returns the descriptor of memory with a copy of an array."""
    try:
        descriptor = os.memfd_create("array")
    except (AttributeError, OSError):  # another system, or not allowed
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    # Writing is faster than copying into mapped memory, page by page.
    rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return descriptor


def _mapped(descriptor: int, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    if dtype.kind not in "biuf":
        raise EOFError
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    # Private: what is written here is not seen by processes that are forked later.
    memory = mmap.mmap(
        descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
    )
    return np.frombuffer(memory, dtype).reshape(shape)
