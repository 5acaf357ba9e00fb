"""What does serving cost beyond the network, for one caller and for 32?

    python -m benchmarks.serving_load [RUN] [--minutes 10] [--clients 32]

Serves a run or a preset by `scn-keras serve` in a process of its own, with batching and
without, and asks it with images of mixed sizes and formats. Prints

- of one caller: the median time of an answer, of the graph alone (bytes to points,
  without HTTP) and of the bare network on its grid, taken in turns, and their ratios;
- of many callers: answers a second, as a share of the images a second of the bare
  network at its best batch size; errors; and the growth of the server's memory from
  the first third of the time to the last, after a warm-up.

Exits with 1 after an error or where memory grew. Times are for reading: on a machine
that does other things they mean nothing.
"""

import argparse
import asyncio
import base64
import io
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import httpx2 as httpx
import numpy as np
import tensorflow as tf
from PIL import Image

from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.training.run import Run

# Rows, columns, format, bits.
_IMAGES = (
    (512, 400, "PNG", 8),
    (1000, 800, "JPEG", 8),
    (1600, 1200, "PNG", 16),
    (700, 900, "BMP", 8),
    (2400, 1935, "JPEG", 8),
)
# More than this, in MB, is growth; what varies from minute to minute is less.
MAX_GROWTH_MB = 50.0


class Load(NamedTuple):
    """What many callers at a time have seen."""

    answers: int
    errors: list[str]
    seconds: float
    growth_mb: float


def images() -> list[bytes]:
    """Returns files of nobody, of mixed sizes and formats: soft blobs and grain."""
    random = np.random.default_rng(0)
    files = []
    for rows, columns, kind, bits in _IMAGES:
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        grey = np.exp(-2.0 * (x**2 + y**2)) * 0.8 + 0.05 * random.random(
            (rows, columns)
        )
        dtype = np.uint16 if bits == 16 else np.uint8
        levels = (grey * np.iinfo(dtype).max).astype(dtype)
        file = io.BytesIO()
        Image.fromarray(levels).save(file, kind)
        files.append(file.getvalue())
    return files


def body_of(data: bytes) -> bytes:
    """Returns the JSON of a `:predict` call for one image."""
    text = base64.b64encode(data).decode()
    row = {"image_bytes": {"b64": text}, "spacing_mm": [0.1, 0.1]}
    return json.dumps({"instances": [row]}).encode()


def resident_mb(pid: int) -> float:
    """Memory of a process in MB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text("utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024.0


def load(
    url: str, pid: int, bodies: Sequence[bytes], clients: int, seconds: float
) -> Load:
    """Asks a server from many callers at a time.

    Args:
        url: Str, of the `:predict` call.
        pid: Int, the server's process.
        bodies: Sequence of bytes, asked in turn.
        clients: Int, how many callers.
        seconds: Float, for how long.
    """

    async def run() -> Load:
        began = time.monotonic()
        answers, errors, memory = 0, [], [resident_mb(pid)]

        async def watch():
            while time.monotonic() - began < seconds:
                await asyncio.sleep(seconds / 100.0)
                memory.append(resident_mb(pid))

        async def caller(number):
            nonlocal answers
            while time.monotonic() - began < seconds:
                body = bodies[number % len(bodies)]
                number += 1
                try:
                    response = await http.post(url, content=body)
                except httpx.HTTPError as error:
                    errors.append(repr(error))
                    await asyncio.sleep(0.1)
                    continue
                if response.status_code == 200:
                    answers += 1
                else:
                    errors.append(response.text[:200])

        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(timeout=120.0, limits=limits) as http:
            await asyncio.gather(watch(), *map(caller, range(clients)))
        third = max(len(memory) // 3, 1)
        growth = statistics.median(memory[-third:]) - statistics.median(memory[:third])
        return Load(answers, errors, time.monotonic() - began, growth)

    return asyncio.run(run())


def medians(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Returns the median seconds of functions that are called in turns."""
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 2):
        for call, taken in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            if number >= 2:  # compiled and warm
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


class Served:
    """`scn-keras serve` in a process of its own."""

    def __init__(self, folder: pathlib.Path, batch_size: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        name = folder.parent.name
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "scn_keras.cli", "serve", str(folder)),
                *("--port", str(port), "--batch-size", str(batch_size)),
                "--no-access-log",
            ],
            stdout=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{port}/v1/models/{name}:predict"

    def __enter__(self) -> "Served":
        while self.process.poll() is None:
            try:
                httpx.get(self.url.removesuffix(":predict")).raise_for_status()
                return self
            except httpx.TransportError:
                time.sleep(0.2)
        raise RuntimeError("The server did not start.")

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait()


def _graph(signature, data):
    image, spacing = tf.constant([data]), tf.constant([[0.1, 0.1]])
    return lambda: signature(image_bytes=image, spacing_mm=spacing)


def _served(url, data):
    http, body = httpx.Client(timeout=120.0), body_of(data)
    return lambda: http.post(url, content=body).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="synthetic_hand")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, help="In place of --minutes.")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    seconds = arguments.seconds or 60.0 * arguments.minutes
    files = images()
    bodies = [body_of(data) for data in files]
    run = Run(preset_path(arguments.run))
    network = tf.function(run.load_model().network, reduce_retracing=True)
    failed = False

    def bare(size):
        grid = tf.zeros((size, *run.recipe.grid, 1))
        return lambda: network(grid, training=False)

    sizes = (1, 4, 8, 16)
    times = medians([bare(size) for size in sizes], 5)
    best, size = max((n / t, n) for n, t in zip(sizes, times, strict=True))
    print(f"Bare network: {best:.1f} images/s at best, in batches of {size}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = export(run, temporary)
        graph = tf.saved_model.load(str(folder)).signatures["serving_default"]
        for batch_size in (arguments.batch_size, 1):
            print(f"-- Batches of up to {batch_size}")
            with Served(folder, batch_size) as server:
                for data, facts in zip(files, _IMAGES, strict=True):
                    calls = [bare(1), _graph(graph, data), _served(server.url, data)]
                    network_s, graph_s, served_s = medians(calls, arguments.rounds)
                    print(
                        f"One caller, {facts[0]} x {facts[1]}, {facts[2]}, {facts[3]} "
                        f"bits: network {1e3 * network_s:.1f} ms; times that: graph "
                        f"{graph_s / network_s:.2f}, served {served_s / network_s:.2f}",
                        flush=True,
                    )
                pid = server.process.pid
                # It is still finding its size: buffers of each shape.
                load(server.url, pid, bodies, arguments.clients, seconds / 5.0)
                found = load(server.url, pid, bodies, arguments.clients, seconds)
            rate = found.answers / found.seconds
            print(
                f"{arguments.clients} callers: {rate:.1f} images/s, {rate / best:.2f} "
                f"of the bare network; {len(found.errors)} errors, {found.answers} "
                f"answers; memory {found.growth_mb:+.0f} MB in {found.seconds:.0f} s",
                flush=True,
            )
            for error in found.errors[:3]:
                print(error)
            failed |= bool(found.errors) or found.growth_mb > MAX_GROWTH_MB
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
