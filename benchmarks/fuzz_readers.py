"""Does every reader of files withstand mutated files?

    python -m benchmarks.fuzz_readers [--count 20000] [--seed 0] [--kinds png dcm ...]
    python -m benchmarks.fuzz_readers --coverage --count 3000

Mutates small valid files of each format, reads header and pixels, or points, and checks
each result: an image or points, or a `ValueError` (`FileNotFoundError`) that names the
file; within 10 s of processor time; with no more than 1 GB of memory beyond the image.
Each format runs in a process of its own, whose crash is a fault. Where the package
itself reads a format in a child process, crashes of that are counted: they are answered
with a sentence. Prints a line for each format and exits with 1 if there was a fault.

`--coverage` reads everything in the process of the format and prints the share of lines
of each module of `scn_keras.files` that were executed.
"""

import argparse
import functools
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._fuzz_mutations import mutate
from benchmarks._fuzz_seeds import Files, image_seeds, point_seeds
from scn_keras import files as package
from scn_keras.datasets.landmark_folder.folder_settings import read_settings
from scn_keras.files import (
    _reader_process,
    read_image,
    read_image_header,
    read_point_sets,
)
from scn_keras.files.located_json import load_json

MAX_SECONDS, MAX_BYTES = 10.0, 2**30
# Larger than the files that are mutated, so that most headers are accepted.
_MAX_PIXELS = 2**22
_SENTENCE = 2000  # characters at most
# Files that are refused for their first bytes test little.
_MIN_PAST_HEADER = 0.2

_IMAGES = (
    *("png", "jpg", "bmp", "tif", "dcm"),
    *("nii", "nii.gz", "mha", "mhd", "nrrd", "nhdr"),
)

_trace: Callable[..., Any] | None = None


@functools.cache
def seeds() -> dict[str, list[Files]]:
    """Returns valid files of each format."""
    return {**image_seeds(), **point_seeds()}


def mutations(kind: str, count: int, seed: int) -> Iterator[Files]:
    """Yields mutated files of one format, the same for the same seed."""
    draw = random.Random(f"{kind} {seed}")
    valid = seeds()[kind]
    for _ in range(count):
        yield mutate(draw.choice(valid), kind, draw)


def fuzz(kind: str, count: int, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Reads mutated files of one format.

    Args:
        kind: Str, a key of `seeds`.
        count: Int, the number of files.
        seed: Int.
        folder: Path of an empty folder, in which the last file remains.

    Returns:
        Dict with `count`, `past_header`, `read`, `crashes` and `limits` (of the child
        process, answered with a sentence), `slowest` (seconds), `peak_mb` (of the child
        process) and `faults`, a list of sentences.
    """
    found: Counter[str] = Counter()
    faults: list[str] = []
    slowest = 0.0
    peak_before = _peak_of_ended()
    for number, content in enumerate(mutations(kind, count, seed)):
        path = _write(folder, content)
        if _trace is not None:  # Python stops tracing where recursion is too deep
            sys.settrace(_trace)
        began = _seconds()
        for step, read in _steps(kind, path):
            message = _fault_of(read, path, found, step)
            if message:
                faults.append(f"{kind} {number}: {message}")
            if not found.pop("_goes_on", 0):
                break
        seconds = _seconds() - began
        slowest = max(slowest, seconds)
        if seconds > MAX_SECONDS:
            faults.append(f"{kind} {number}: {seconds:.0f} s")
        for name in content:
            pathlib.Path(folder, name).unlink()
    # The highest of all children that have ended, also of earlier ones of the caller.
    peak = _peak_of_ended() if _peak_of_ended() > peak_before else 0
    peak = max(peak, *map(_peak, _reader_process._readers), 0)
    if peak > MAX_BYTES + _MAX_PIXELS * 8:
        faults.append(f"{kind}: {peak / 2**20:.0f} MB")
    return {
        "count": count,
        **{key: found[key] for key in ("past_header", "read", "crashes", "limits")},
        "slowest": slowest,
        "peak_mb": peak / 2**20,
        "faults": faults,
    }


def _steps(kind: str, path: pathlib.Path) -> list[tuple[str, Callable[[], Any]]]:
    if kind == "toml":
        return [
            ("past_header", lambda: _parse_toml(path)),
            ("read", lambda: read_settings(path.parent)),
        ]
    if kind not in _IMAGES:
        parse = load_json if path.suffix == ".json" else read_point_sets
        return [
            ("past_header", lambda: parse(path)),
            ("read", lambda: read_point_sets(path)),
        ]
    return [
        ("past_header", lambda: read_image_header(path, _MAX_PIXELS)),
        ("read", lambda: read_image(path, _MAX_PIXELS)),
    ]


def _parse_toml(path: pathlib.Path) -> object:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError):
        return read_settings(path.parent)  # which must answer with a sentence


def _fault_of(
    read: Callable[[], Any], path: pathlib.Path, found: Counter[str], step: str
) -> str | None:
    """Reads, counts what comes out, and returns what is wrong with it."""
    try:
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            read()
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        found["crashes"] += "its decoder crashed" in text
        found["limits"] += "takes much longer" in text or "much more memory" in text
        if type(error) not in (ValueError, FileNotFoundError):
            return f"{type(error).__name__}: {text[:300]}"
        if path.name not in text or len(text) > _SENTENCE or "Traceback" in text:
            return f"no sentence with the file: {text[:500]!r}"
        return None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[-300:]}"
    found[step] += 1
    found["_goes_on"] = 1
    return None


def _write(folder: pathlib.Path, content: Files) -> pathlib.Path:
    for name, data in content.items():
        pathlib.Path(folder, name).write_bytes(data)
    return folder / next(iter(content))


def _seconds() -> float:
    """Returns processor time, of children that have ended and of those that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for reader in _reader_process._readers:
        stat = pathlib.Path(f"/proc/{reader._process.pid}/stat").read_text("ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        total += (int(user) + int(system)) / 100.0
    return total


def _peak_of_ended() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _peak(reader: Any) -> int:
    """Returns the highest memory of a process that reads files."""
    status = pathlib.Path(f"/proc/{reader._process.pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# --- Coverage ---


def executable_lines(path: pathlib.Path) -> set[int]:
    """Returns the lines in the functions of a module."""
    lines: set[int] = set()
    stack = [compile(path.read_text("utf-8"), str(path), "exec")]
    while stack:
        code = stack.pop()
        stack += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        if code.co_flags & 2:  # a function: CO_NEWLOCALS
            first = code.co_firstlineno
            lines |= {line for *_, line in code.co_lines() if line and line > first}
    return lines


def with_coverage(run: Callable[[], Any]) -> tuple[Any, dict[str, list[int]]]:
    """Returns a result and the executed lines of each module of `scn_keras.files`."""
    root = str(pathlib.Path(package.__file__).parent)
    executed: dict[str, set[int]] = {}

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(root):
            return None
        executed.setdefault(pathlib.Path(name).name, set()).add(frame.f_lineno)
        return trace

    global _trace
    _trace = trace
    _reader_process.run_here()
    try:
        result = run()
    finally:
        sys.settrace(None)
    return result, {name: sorted(lines) for name, lines in executed.items()}


# --- The command ---


def _one_kind(arguments: argparse.Namespace) -> None:
    """Fuzzes one format in this process and prints the result as JSON."""
    (kind,) = arguments.kinds
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)

        def run() -> dict[str, Any]:
            return fuzz(kind, arguments.count, arguments.seed, place)

        if arguments.coverage:
            result, result_lines = with_coverage(run)
            result["lines"] = result_lines
        else:
            result = run()
    print(json.dumps(result))


def _in_process(kind: str, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--one"]
    command += ["--kinds", kind, "--count", str(count), "--seed", str(arguments.seed)]
    command += ["--coverage"] * arguments.coverage
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    fault = f"{kind}: ended with code {done.returncode}: {done.stderr[-1000:]}"
    return {"count": count, "faults": [fault]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=[*seeds()], choices=[*seeds()])
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one_kind(arguments)
        return
    faults: list[str] = []
    lines: dict[str, set[int]] = {}
    print("format    files  past header    read  crashes  limits  slowest     peak")
    for kind in arguments.kinds:
        count = -(-arguments.count // len(arguments.kinds))
        result = _in_process(kind, count, arguments)
        faults += result["faults"]
        for name, executed in result.get("lines", {}).items():
            lines.setdefault(name, set()).update(executed)
        if "read" in result:
            past = result["past_header"] / count
            if past < _MIN_PAST_HEADER and count >= 100:
                faults.append(f"{kind}: only {past:.0%} get past the header")
            print(
                f"{kind:8} {count:6} {past:11.0%} {result['read'] / count:8.0%} "
                f"{result['crashes']:8} {result['limits']:7} {result['slowest']:7.1f} s"
                f" {result['peak_mb']:5.0f} MB",
                flush=True,
            )
    for name, executed in sorted(lines.items()):
        total = executable_lines(pathlib.Path(package.__file__).with_name(name))
        print(f"{name:24} {len(executed & total) / max(len(total), 1):5.0%}")
    for fault in faults[:50]:
        print(fault)
    print(f"{arguments.count} files, seed {arguments.seed}: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
