"""How much memory does an exported model take for the largest images that it accepts?

    python -m benchmarks.decoding_memory [RUN] [--image NAME]

Exports a run or preset and sends each image, of the largest size by default of
`scn-keras export`, to the model in a new process that only has TensorFlow: first alone,
then two at a time in two threads. Prints the largest memory of that process in MB (of
10^6 bytes) and the seconds of one call. The images are plain, so that their files are
small: what matters is the size in their headers.
"""

import argparse
import io
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.graph_errors import sentence_of
from scn_keras.training.run import Run

_CALL = """
import os, sys, threading, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.modules["keras"] = sys.modules["scn_keras"] = None
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
data = open(sys.argv[2], "rb").read()
def call():
    serve(image_bytes=tf.constant([data]), spacing_mm=tf.constant([[0.1, 0.1]]))
def memory():  # not ru_maxrss, which begins with that of the parent
    lines = open("/proc/self/status").read().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1.024e-3
before, started = memory(), time.perf_counter()
call()
seconds, one = time.perf_counter() - started, memory()
threads = [threading.Thread(target=call) for _ in range(2)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(f'{{"before": {before}, "one": {one}, "two": {memory()}, "seconds": {seconds}}}')
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", default="synthetic_hand")
    parser.add_argument("--image", choices=IMAGES, help="only this one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        version = export(Run(preset_path(arguments.run)), folder)
        print("| image | file, kB | loaded | one | two | seconds |")
        print("|---|---|---|---|---|---|")
        for name in [arguments.image] if arguments.image else IMAGES:
            path = pathlib.Path(folder, "image")
            path.write_bytes(IMAGES[name]())
            process = subprocess.run(
                [sys.executable, "-c", _CALL, str(version), str(path)],
                capture_output=True,
                text=True,
            )
            size = path.stat().st_size / 1000
            if process.returncode:
                reason = sentence_of(process.stderr)
                print(f"| {name} | {size:.0f} | {reason} |", flush=True)
                continue
            mb = json.loads(process.stdout)
            print(
                f"| {name} | {size:.0f} | {mb['before']:.0f} | {mb['one']:.0f} | "
                f"{mb['two']:.0f} | {mb['seconds']:.1f} |",
                flush=True,
            )


def _png(columns: int, rows: int, bits: int, colours: int, channels: int) -> bytes:
    """A plain PNG, written row by row."""
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(columns * channels * bits // 8)
    pixels = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", columns, rows, bits, colours, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def _saved(kind: str, columns: int, rows: int, mode: str = "L", **options) -> bytes:
    file = io.BytesIO()
    shape = (rows, columns) if mode == "L" else (rows, columns, 3)
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, kind, **options)
    return file.getvalue()


# 2^26 bytes when decoded, a pixel at least two; the one of 512 MB is refused.
IMAGES: dict[str, Callable[[], bytes]] = {
    "PNG, grey, 8 bit, 5792 x 5792": lambda: _png(5792, 5792, 8, 0, 1),
    "PNG, grey, 16 bit, 5792 x 5792": lambda: _png(5792, 5792, 16, 0, 1),
    "PNG, grey, 8 bit, 16384 x 2048": lambda: _png(16384, 2048, 8, 0, 1),
    "PNG, RGB, 8 bit, 4730 x 4729": lambda: _png(4730, 4729, 8, 2, 3),
    "PNG, RGBA, 16 bit, 2896 x 2896": lambda: _png(2896, 2896, 16, 6, 4),
    "PNG, RGBA, 16 bit, 8192 x 8192": lambda: _png(8192, 8192, 16, 6, 4),
    "JPEG, grey, 5792 x 5792": lambda: _saved("JPEG", 5792, 5792),
    "JPEG, colour, 5792 x 5792": lambda: _saved("JPEG", 5792, 5792, "RGB"),
    "JPEG, colour, progressive, 3096 x 3096": lambda: _saved(
        "JPEG", 3096, 3096, "RGB", progressive=True
    ),
    "BMP, 24 bit, 4728 x 4728": lambda: _saved("BMP", 4728, 4728, "RGB"),
}


if __name__ == "__main__":
    main()
