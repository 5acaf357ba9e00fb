"""Does the server stay up, and its memory bounded, whatever bytes it is sent?

    python -m benchmarks.hostile_requests [MODEL] [--count 10000] [--seed 0]

Sends mutated PNG, JPEG, BMP and JSON requests to the application of `scn-keras serve`,
a share of them over a real socket, and checks each answer: 200 with points, or an error
code with one sentence as JSON; never 500, and none that comes late. Between them, sound
requests must be answered as ever. Prints a line a kind of request and the growth of
memory, and exits with 1 where something was not as it should be. Without MODEL it makes
a small network of random weights: what is attacked is the way to it.
"""

import argparse
import base64
import functools
import io
import json
import pathlib
import random
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import httpx2 as httpx
import keras
import numpy as np
import SimpleITK as sitk
import uvicorn
from PIL import Image

from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.saved_models.server.server import UVICORN_SETTINGS, create_app
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

_SOCKET_SHARE = 0.1
_LATE = 75.0  # seconds; the server gives up after 60
# What the process may grow by, once it has seen one of each kind.
MAX_GROWTH_MB = 1500.0

Draw = random.Random


def random_model(folder: pathlib.Path) -> pathlib.Path:
    """Exports a small network of random weights.

    Args:
        folder: Path of a temporary folder.

    Returns:
        The folder of the version.
    """
    recipe = Recipe(
        name="random",
        dataset="synthetic_hand",
        image_to_grid=ImageToGrid(grid=(64, 48)),
    )
    run = Run.create(folder / "run", recipe, LandmarkSchema(("a", "b", "c")))
    network = SpatialConfigurationNet(
        3, (64, 48, 1), filters=4, levels=3, spatial_kernel_size=3, spatial_factor=8
    )
    LandmarkModel(network).save(run.model_path)
    return export(run, folder / "models")


# --- Files ---


def _image(draw: Draw, mode: str) -> Image.Image:
    size = (draw.randint(1, 90), draw.randint(1, 90))
    pixels = np.frombuffer(draw.randbytes(4 * size[0] * size[1]), np.uint8)
    colours = Image.fromarray(pixels.reshape(size[1], size[0], 4), "RGBA")
    if mode == "I;16":
        return Image.fromarray(np.asarray(colours)[..., 0].astype(np.uint16) * 257)
    if mode in ("1", "P", "CMYK"):
        return colours.convert("RGB").convert(mode)
    return colours.convert(mode)


def _saved(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def _sound(draw: Draw) -> bytes:
    kind = draw.choice(("PNG", "JPEG", "BMP"))
    modes = {
        "PNG": ("L", "RGB", "RGBA", "LA", "P", "1", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "BMP": ("L", "RGB", "P", "1"),
    }
    return _saved(_image(draw, draw.choice(modes[kind])), kind)


def _truncated(draw: Draw) -> bytes:
    data = _sound(draw)
    return data[: draw.randrange(len(data))]


def _flipped(draw: Draw) -> bytes:
    data = bytearray(_sound(draw))
    for _ in range(draw.choice((1, 1, 3, 20))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def _header_flipped(draw: Draw) -> bytes:
    data = bytearray(_sound(draw))
    for _ in range(draw.choice((1, 2, 4))):
        data[draw.randrange(min(64, len(data)))] = draw.randrange(256)
    return bytes(data)


def _spliced(draw: Draw) -> bytes:
    one, other = _sound(draw), _sound(draw)
    return one[: draw.randrange(len(one))] + other[draw.randrange(len(other)) :]


def _wrong_magic(draw: Draw) -> bytes:
    magic = draw.choice(
        (b"GIF89a", b"\x89PNG", b"\xff\xd8\xff", b"BM", b"RIFF", b"II*")
    )
    return magic + _sound(draw)[draw.randint(2, 8) :]


def _no_image(draw: Draw) -> bytes:
    return draw.choice(
        (
            b"",
            bytes(draw.randrange(200)),
            draw.randbytes(draw.randrange(2000)),
            b"\x89PNG\r\n\x1a\n" + draw.randbytes(draw.randrange(200)),
            b"\xff\xd8\xff" + draw.randbytes(draw.randrange(200)),
            b"BM" + draw.randbytes(draw.randrange(200)),
            b"%PDF-1.7 /etc/passwd",
        )
    )


def promising(data: bytes, columns: int, rows: int) -> bytes:
    """Changes the size that the header of a PNG, JPEG or BMP file promises."""
    if data.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", columns, rows) + data[24:29]
        sum_ = struct.pack(">I", zlib.crc32(header))
        return data[:12] + header + sum_ + data[33:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", columns, rows) + data[26:]
    at = data.find(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", rows, columns) + data[at + 9 :]


def _huge_header(draw: Draw) -> bytes:
    sizes = ((30_000, 30_000), (65_500, 65_500), (20_000, 20_000), (65_500, 1))
    return promising(_sound(draw), *draw.choice(sizes))


def _large_header(draw: Draw) -> bytes:
    sizes = ((8_000, 8_000), (16_384, 4_000), (1, 16_384), (4_000, 4_000))
    return promising(_sound(draw), *draw.choice(sizes))


def _bomb(draw: Draw) -> bytes:
    """A sound PNG of a few kilobytes and many pixels."""
    columns, rows = draw.choice(((3000, 3000), (16_384, 60), (60, 16_384), (1, 9000)))

    def chunk(name, data):
        sum_ = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + sum_

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((columns + 1) * rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _one_pixel(draw: Draw) -> bytes:
    return _saved(_image(draw, "L").resize((1, 1)), draw.choice(("PNG", "JPEG", "BMP")))


def _animated(draw: Draw) -> bytes:
    frames = [_image(draw, "L").resize((20, 20)) for _ in range(3)]
    kind = draw.choice(("PNG", "GIF"))
    return _saved(frames[0], kind, save_all=True, append_images=frames[1:])


@functools.cache
def _compressed_dicom(side: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(f"{folder}/image.dcm")
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000")
        writer.Execute(sitk.Image(side, side, sitk.sitkUInt16))
        return pathlib.Path(folder, "image.dcm").read_bytes()


def _dicom(draw: Draw) -> bytes:
    """Files of a kilobyte, which the page takes: sound and large, or damaged."""
    data = bytearray(_compressed_dicom(draw.choice((64, 64, 64, 2048))))
    for _ in range(draw.choice((0, 1, 5))):
        data[draw.randrange(132, len(data))] = draw.randrange(256)
    return bytes(data)


FILES: dict[str, Callable[[Draw], bytes]] = {
    "sound": _sound,
    "truncated": _truncated,
    "flipped": _flipped,
    "header flipped": _header_flipped,
    "spliced": _spliced,
    "wrong magic": _wrong_magic,
    "no image": _no_image,
    "huge header": _huge_header,
    "large header": _large_header,
    "bomb": _bomb,
    "1 x 1": _one_pixel,
    "animated": _animated,
    "DICOM": _dicom,
}
_SELDOM = {"large header": 0.15, "bomb": 0.15, "DICOM": 0.3}  # they take seconds


# --- Requests ---


def _b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _spacing(draw: Draw) -> list[float]:
    odd = (0.0, -1.0, 1e-30, 1e30, 1e-5, 1e5, float("nan"), float("inf"), 0.1, 0.2)
    return [draw.choice(odd), draw.choice(odd)]


def _of_files(kind: str, draw: Draw) -> bytes:
    files = [FILES[kind](draw) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    rows = [{"image_bytes": _b64(f), "spacing_mm": _spacing(draw)} for f in files]
    return json.dumps({"instances": rows}).encode()


def _odd_json(draw: Draw) -> bytes:
    sound = {"image_bytes": _b64(_sound(draw)), "spacing_mm": [0.1, 0.1]}
    deep: object = 0.1
    for _ in range(draw.choice((3, 70, 500))):
        deep = [deep]
    values = (None, "0.1", {}, [], [[0.1, 0.1]], [0.1], [0.1] * 3, True, 10**400, deep)
    # As an array of texts: gigabytes.
    values = (*values, ["a" * 50_000] + [""] * draw.choice((1, 30_000)))
    broken = draw.choice(
        (
            {**sound, "spacing_mm": draw.choice(values)},
            {**sound, "image_bytes": draw.choice((*values, {"b64": 1}, {"b64": "@"}))},
            {"image_bytes": sound["image_bytes"]},
            {**sound, "path": "/etc/passwd"},
            {"image_bytes": {"path": "/etc/passwd"}, "spacing_mm": [0, 0]},
        )
    )
    call = draw.choice(
        (
            {"instances": [broken]},
            {"instances": [sound, broken]},
            {"instances": broken},
            {"inputs": broken},
            {"instances": [sound], "inputs": sound},
            {
                "instances": [sound],
                "signature_name": draw.choice((1, "x", "../x", None)),
            },
            {
                "signature_name": "arrays",
                "instances": [{"image": deep, "affine": deep}],
            },
            draw.choice(values),
        )
    )
    return json.dumps(call).encode()


def _broken_json(draw: Draw) -> bytes:
    data = bytearray(_of_files("sound", draw))
    way = draw.randrange(4)
    if way == 0:
        return bytes(data[: draw.randrange(len(data))])
    if way == 1:
        for _ in range(draw.choice((1, 5, 50))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    if way == 2:
        return draw.choice((b"[", b'{"a":', b'"\\ud800')) * draw.choice((1, 100_000))
    return draw.randbytes(draw.randrange(500))


def _huge_base64(draw: Draw) -> bytes:
    text = draw.choice(("A", "=", "/9j/", "iVBO")) * draw.choice((10**6, 3 * 10**6))
    row = {"image_bytes": {"b64": text}, "spacing_mm": [0.1, 0.1]}
    return json.dumps({"instances": [row]}).encode()


def _many_rows(draw: Draw) -> bytes:
    row = {"image_bytes": _b64(_one_pixel(draw)), "spacing_mm": [0.1, 0.1]}
    rows = draw.choice((20, 60, 3000))  # more than the server looks at
    call: dict[str, object] = {"instances": [row] * rows}
    if draw.random() < 0.3:
        call["signature_name"] = draw.choice(("heatmaps", "landmarks", "arrays"))
    return json.dumps(call).encode()


REQUESTS: dict[str, Callable[[Draw], bytes]] = {
    **{
        kind: lambda draw, kind=kind: _of_files(kind, draw)  # type: ignore[misc]
        for kind in FILES
    },
    "odd JSON": _odd_json,
    "broken JSON": _broken_json,
    "huge base64": _huge_base64,
    "many rows": _many_rows,
}
_SELDOM |= {"huge base64": 0.15, "many rows": 0.15}


def hostile_requests(count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Yields `(kind, path, body)`: one of each kind, then at random.

    Args:
        count: Int, how many.
        seed: Int; the same seed gives the same requests.
    """
    draw = random.Random(seed)
    kinds = [*REQUESTS]
    weights = [_SELDOM.get(kind, 1.0) for kind in kinds]
    for number in range(count):
        kind = kinds[number] if number < len(kinds) else draw.choices(kinds, weights)[0]
        if kind in FILES and draw.random() < 0.2:
            spacing = "&".join(
                f"spacing_{a}={v}" for a, v in zip("xy", _spacing(draw), strict=True)
            )
            query = draw.choice(("", f"?{spacing}", "?path=../../etc/passwd"))
            path = draw.choice(("locate", "heatmaps"))
            yield kind, f"/page/{path}{query}", FILES[kind](draw)
        else:
            yield kind, "/v1/models/MODEL:predict", REQUESTS[kind](draw)


# --- Answers ---


def fault_of(response: httpx.Response, seconds: float) -> str | None:
    """Says what is wrong with an answer, or `None`."""
    if seconds > _LATE:
        return f"late: {seconds:.0f} s"
    try:
        body = response.json()
    except ValueError:
        return f"no JSON: {response.text[:100]!r}"
    if response.status_code == 200:
        sound = {"predictions", "outputs", "landmarks", "stages"} & set(body)
        return None if sound else f"200 without points: {str(body)[:100]}"
    error = body.get("error")
    if response.status_code not in (400, 413, 503, 504) or not error:
        return f"{response.status_code}: {str(body)[:300]}"
    if "Traceback" in error or "/tmp/" in error or len(error) > 1000:
        return f"not one clear sentence: {error[:300]!r}"
    return None


def resident_mb() -> float:
    """Memory of this process in MB."""
    text = pathlib.Path("/proc/self/status").read_text("utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024.0


def attack(
    model: ServedModel,
    count: int,
    seed: int,
    report: Callable[[str], None] = print,
) -> tuple[list[str], float]:
    """Sends hostile requests, and sound ones between them.

    Args:
        model: `ServedModel`.
        count: Int, how many.
        seed: Int.
        report: What takes lines for a person.

    Returns:
        `(faults, growth)`: a sentence for each wrong answer; by how many MB the process
        has grown since the first of each kind.
    """
    config = uvicorn.Config(
        create_app(model, "attacked"),
        port=0,
        **{**UVICORN_SETTINGS, "log_level": "critical"},
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    draw = random.Random(seed + 1)
    faults: list[str] = []
    codes: Counter[tuple[str, int]] = Counter()
    slowest: Counter[str] = Counter()
    before, highest = resident_mb(), 0.0
    sound = _of_files("sound", random.Random(0))
    expected = None
    with (
        _in_process(server.config.loaded_app) as inside,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LATE) as outside,
    ):
        for number, (kind, path, body) in enumerate(hostile_requests(count, seed)):
            http = outside if draw.random() < _SOCKET_SHARE else inside
            path = path.replace("MODEL", "attacked")
            began = time.monotonic()
            response = http.post(path, content=body)
            seconds = time.monotonic() - began
            codes[kind, response.status_code] += 1
            slowest[kind] = max(slowest[kind], seconds)
            if fault := fault_of(response, seconds):
                faults.append(f"{kind} ({number}): {fault}")
            if number == len(REQUESTS):
                before = resident_mb()
            highest = max(highest, resident_mb())
            if number % 100 == 0:
                _abuse_socket(port, draw)
                answer = outside.post("/v1/models/attacked:predict", content=sound)
                expected = expected or answer.text
                if answer.status_code != 200 or not _alike(answer.text, expected):
                    faults.append(
                        f"a sound request after {number}: {answer.text[:200]}"
                    )
            if number % 500 == 0 and number:
                report(
                    f"{number} requests, {len(faults)} faults, {resident_mb():.0f} MB"
                )
    server.should_exit = True
    thread.join()
    for kind in REQUESTS:
        some = {code: n for (k, code), n in sorted(codes.items()) if k == kind}
        report(f"{kind:16} {some}, slowest {slowest[kind]:.2f} s")
    growth = resident_mb() - before
    report(f"Memory: {before:.0f} MB, at most {highest:.0f}, at the end +{growth:.0f}")
    return faults, highest - before


def _in_process(app):
    from starlette.testclient import TestClient

    return TestClient(app, "http://localhost", raise_server_exceptions=False)


def _abuse_socket(port: int, draw: Draw) -> None:
    """What no HTTP library sends: the server only has to survive it."""
    begin = b"POST /v1/models/attacked:predict HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(
            draw.choice(
                (
                    draw.randbytes(200),
                    begin + b"Content-Length: 100\r\n\r\nshort",
                    begin + b"Content-Length: -1\r\n\r\n",
                    begin + b"Content-Length: 99999999999999\r\n\r\n",
                    begin + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
                    begin + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
                )
            )
        )


def _alike(one: str, other: str) -> bool:
    points = [
        np.array([row["points_px"] for row in json.loads(t)["predictions"]])
        for t in (one, other)
    ]
    return np.allclose(*points, atol=0.01, equal_nan=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or random_model(pathlib.Path(folder))
        with ServedModel(model) as served:
            faults, growth = attack(served, arguments.count, arguments.seed)
    for fault in faults[:50]:
        print(fault)
    print(f"{arguments.count} requests: {len(faults)} faults, +{growth:.0f} MB at most")
    if faults or growth > MAX_GROWTH_MB:
        sys.exit(1)


if __name__ == "__main__":
    main()
