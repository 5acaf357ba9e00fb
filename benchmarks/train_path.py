"""The files of the package between `scn-keras train cephalogram_fast` and its loss.

    python -m benchmarks.train_path [--all]

Runs the command in this process, for one step on the few tiny films of the data set's
dummy data, with a tiny network, and records the calls of the package's functions.

A file is on the way if one of its functions is on the call stack, from the function of
the command on, when a station is reached: the recipe, the stored samples, what is drawn
to augment them, a training element, the network, the loss. Whoever follows a training
through the code opens these files. Functions that return before a station is reached
(layers, geometry, validation, files of a run) can be taken by their names; `--all`
lists every file with a function that is called before the first loss.

What runs while a module is imported does not count: its own statements and what they
call, decorators and defaults among them. AutoGraph is off, so that functions run as
they are written. The exit code is 1 if there are more files on the way, or longer ones,
than wanted.
"""

import argparse
import inspect
import os
import sys
import tempfile
import threading
import types
from pathlib import Path
from typing import Any

MAX_FILES, MAX_LINES = 15, 400

COMMAND = "train"
END = "LandmarkModel.compute_loss"
TRAINING = "_NetworkTraining._fit"  # before it, a loss is computed as a trial
# A station: the function that reaches it, and one of those that call it, directly or
# not. Other calls of the function, such as a trial of the loss, do not count.
STATIONS = {
    "the recipe": ("recipe", "Recipe.__post_init__"),
    "the stored samples": ("fit", "ArrayRecordStream.make_tf_data"),
    "the network": ("fit", "SpatialConfigurationNet.__init__"),
    "the random parameters of the augmentation": ("fit", "Augmentation.draw"),
    "a training element": ("augment", "on_grid"),
    "the loss": (TRAINING, "HeatmapSquaredError.call"),
}

TINY = (
    "image_to_grid.grid=(64, 48)",
    "network.filters=4",
    "network.spatial_kernel_size=3",
    "validation=0.25",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="list all executed files")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        prepare_films(Path(folder))
        recorder = run_to_loss(Path(folder))
    if arguments.all:
        for file, function in recorder.executed.items():
            print(f"{lines(file):5d} {relative(file)}: {function}")
        print(f"{len(recorder.executed)} files are executed")
    print_way(recorder.stacks)
    way = {file for stack in recorder.stacks.values() for file in stack}
    longest = max(map(lines, way))
    print(
        f"{len(way)} files are on the way (wanted: {MAX_FILES} at most), the longest "
        f"has {longest} lines (wanted: {MAX_LINES} at most)"
    )
    sys.exit(len(way) > MAX_FILES or longest > MAX_LINES)


def print_way(stacks: dict[str, list[Path]]) -> None:
    """Prints each station with the files that lead to it, new ones numbered."""
    numbers: dict[Path, int] = {}
    for station in STATIONS:
        stack = stacks[station]
        print(f"{station} ({STATIONS[station][1]})")
        for file in stack:
            new = file not in numbers
            number = numbers.setdefault(file, len(numbers) + 1)
            print(f"{number if new else '':4} {lines(file):5d} {relative(file)}")


def package_root() -> Path:
    import scn_keras

    return Path(scn_keras.__file__).parent


def relative(file: Path) -> Path:
    return file.relative_to(package_root())


def lines(file: Path) -> int:
    return len(file.read_text("utf-8").splitlines())


def prepare_films(data_dir: Path) -> None:
    """Prepares the data set `cephalogram` from its dummy data."""
    from scn_keras.datasets import prepare
    from scn_keras.datasets.cephalogram import Builder

    Builder.FILMS = {
        "train": ("TrainingData", range(101, 105)),
        "test1": ("Test1Data", range(200, 203)),
    }
    Builder.IMAGE_SIZE = (24, 20)
    films = Path(inspect.getfile(Builder)).parent / "dummy_data"
    prepare(Builder, data_dir, films, report=lambda note: None)


class LossComputed(Exception):
    """Ends the command at the end of the way."""


class Recorder:
    """Records the functions of the package that are called.

    Attributes:
        executed: Dict of the files with a function that was called, in the order of
            their first call, and that function.
        stacks: Dict by station of the files on the call stack, the command's first.
    """

    def __init__(self) -> None:
        self.executed: dict[Path, str] = {}
        self.stacks: dict[str, list[Path]] = {}
        self._root = f"{package_root()}/"

    def __call__(self, frame: types.FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        # Modules and bodies of classes are not functions.
        if (
            event not in ("call", "return")
            or not code.co_filename.startswith(self._root)
            or not code.co_flags & inspect.CO_OPTIMIZED
        ):
            return
        frames = _callers(frame)
        if any(caller.f_code.co_name == "<module>" for caller in frames):
            return
        if event == "return":
            if code.co_qualname == END and any(
                caller.f_code.co_qualname == TRAINING for caller in frames
            ):
                raise LossComputed
            return
        self.executed.setdefault(Path(code.co_filename), code.co_qualname)
        codes = [frame.f_code for frame in frames]
        names = [code.co_qualname for code in codes]
        for station, (caller, function) in STATIONS.items():
            if names[-1] == function and caller in names and station not in self.stacks:
                files = [code.co_filename for code in codes[names.index(COMMAND) :]]
                self.stacks[station] = [
                    Path(file)
                    for file in dict.fromkeys(files)
                    if file.startswith(self._root)
                ]


def _callers(frame: types.FrameType | None) -> list[types.FrameType]:
    """The frames up to one, from this script's own on."""
    frames = []
    while frame is not None and frame.f_code is not run_to_loss.__code__:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def run_to_loss(data_dir: Path) -> Recorder:
    """Runs the command up to its first loss."""
    import tensorflow as tf

    from scn_keras.cli import main as command

    call = [COMMAND, "cephalogram_fast", "--steps", "1"]
    call += ["--data-dir", str(data_dir), "--out", str(data_dir / "run")]
    for setting in TINY:
        call += ["--set", setting]
    recorder = Recorder()
    run = tf.autograph.experimental.do_not_convert(command)
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        run(call, standalone_mode=False)
    except LossComputed:
        pass
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if missing := set(STATIONS) - set(recorder.stacks):
        raise RuntimeError(f"Never called, renamed perhaps: {', '.join(missing)}.")
    return recorder


if __name__ == "__main__":
    main()
