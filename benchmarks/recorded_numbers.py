"""Records numbers that a change of the package's structure must not change.

    python -m benchmarks.recorded_numbers record before.json --work /tmp/before
    ... change the package ...
    python -m benchmarks.recorded_numbers record after.json --work /tmp/after
    python -m benchmarks.recorded_numbers compare before.json after.json

Both recordings must be made on one machine, with the same versions of everything
else. The package is used through its command line alone (`python -m scn_keras.cli` of
the interpreter that runs this file), so one file records an old package and a new
one: put the checkout that is meant into `PYTHONPATH` and its presets behind
`--presets`.

What is recorded, each under a name that `--only` takes a part of:

- points, scores and radii of the four presets on images that they were not trained
  on, through `predict` and through an exported SavedModel;
- the first 20 losses of recipes, a row a step: 2D, 3D from coarse to fine, from global
  to local, a volume, and on arrays with JAX;
- a calibration, of a run that starts from a preset;
- evaluations: results, points and the report's text of that run and of a preset.
  Pictures of a report are recorded as digests, which other versions of Matplotlib may
  change: they are compared, but do not count.

`compare` prints a line an entry and exits with 1 where a number differs by more than
1e-6, or where anything else differs.

The real images lie in the folder that the environment variable
`SCN_KERAS_SHARED_DATA` names, by default in ../shared/data beside the repository.
Everything is computed by one thread, which makes it repeatable. It took half an hour
on two cores that were busy with other work, and five minutes more the first time, to
prepare the data sets; give `--data-dir` to use prepared ones again.
"""

import argparse
import base64
import csv
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
TOLERANCE = 1e-6
STEPS = 20

# One thread for each pool: sums are then always taken in one order.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MPLBACKEND": "agg",
    "PYTHONUNBUFFERED": "1",
}
# What a result says of when, where and by whom it was made, not of what it is.
_OF_THE_MAKING = ("seconds", "command", "run", "scn_keras", "weights")
_SET = "prepare {}"

Values = Any  # what JSON holds


@dataclasses.dataclass(frozen=True)
class Training:
    """The first steps of a recipe.

    Args:
        about: What it stands for.
        recipe: The recipe's name.
        settings: Changes of the recipe that make a step a row and reading short.
        parts: Folders below the run whose history is recorded, too.
        arrays: Whether it trains on arrays, with JAX.
    """

    about: str
    recipe: str
    settings: tuple[str, ...]
    parts: tuple[str, ...] = ()
    arrays: bool = False

    @property
    def name(self) -> str:
        return f"losses of {self.recipe}, {self.about}"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A preset and the images that it is asked about, patterns in the shared data."""

    name: str
    images: tuple[str, ...]
    spacing: str = ""


# Volumes take seconds each: three of them.
PRESETS = (
    Preset("synthetic_hand", ("hand/images/*.jpg:5",), "0.15"),
    Preset("cephalogram", ("cephalogram/RawImage/Test1Data/*.jpg:5",), "0.1"),
    Preset("hand", ("hand/images/*.jpg:4", "hand/images/*.mha:1")),
    Preset("mouse_skull", ("mouse_skull/volumes/*.nii.gz:3",)),
)
TRAININGS = (
    Training("2D", "cephalogram_fast", ("train_split=train[:12]",)),
    Training("2D, averaged", "hand_fast", ("train_split=fold1[:12]",)),
    Training(
        "3D, from coarse to fine",
        "mouse_skull",
        (
            "train_split=train[:4]",
            f"coarse.steps={STEPS}",
            "coarse.steps_per_epoch=1",
        ),
        parts=("coarse",),
    ),
    Training(
        "from global to local",
        "cephalogram_global_to_local",
        ("train_split=train[:12]",),
    ),
    Training("a volume", "synthetic_volume", ("train_split=train[:12]",)),
    Training(
        "arrays on JAX", "synthetic_hand", ("train_split=train[:12]",), arrays=True
    ),
)
# Data sets and, below the shared data, the folder that they are prepared from.
DATASETS = {
    "cephalogram": "cephalogram",
    "hand_xray": "hand",
    "landmark_folder/mouse_skull": "mouse_skull",
    "synthetic_hand": None,
    "synthetic_volume": None,
}


class Recorder:
    """Runs the command line and keeps what it wrote.

    Args:
        work: The folder for runs and exports. Runs must not be there yet.
        data_dir: The folder of prepared data sets.
        shared: The folder of real images.
        presets: The folder of the presets.
        out: The JSON file, written anew after each entry.
    """

    def __init__(
        self,
        work: pathlib.Path,
        data_dir: pathlib.Path,
        shared: pathlib.Path,
        presets: pathlib.Path,
        out: pathlib.Path,
    ) -> None:
        self.work, self.data_dir = work, data_dir
        self.shared, self.presets, self.out = shared, presets, out
        self.commands: list[str] = []
        self.entries: dict[str, dict[str, Any]] = {}

    def cli(self, *arguments: str | pathlib.Path, backend: str = "tensorflow") -> None:
        """Runs one command of the package.

        Raises:
            RuntimeError: With the end of what it said, if it fails.
        """
        command = [sys.executable, "-m", "scn_keras.cli", *map(str, arguments)]
        environment = {**os.environ, **_ENVIRONMENT, "KERAS_BACKEND": backend}
        named = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
        self.commands.append(
            self.without_paths(f"{named}scn-keras {shlex.join(map(str, arguments))}")
        )
        # Not in a checkout, which Python would import from.
        done = subprocess.run(
            command,
            cwd=self.work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise RuntimeError(f"{self.commands[-1]}\n{said}")

    def prepare(self, dataset: str) -> None:
        """Prepares a data set, if it is not there."""
        source = DATASETS[dataset]
        manual = [] if source is None else ["--manual-dir", self.shared / source]
        self.cli("datasets", "prepare", dataset, *manual, "--data-dir", self.data_dir)

    def record(
        self, name: str, values: Values, seconds: float, counts: bool = True
    ) -> None:
        """Keeps an entry, with the commands that were run since the last one."""
        self.entries[name] = {
            "commands": self.commands,
            "seconds": round(seconds, 1),
            "counts": counts,
            "values": values,
        }
        self.commands = []
        about = {"python": platform.python_version(), "versions": _versions()}
        text = json.dumps({"about": about, "entries": self.entries}, indent=1)
        # A row of numbers is one line.
        text = re.sub(
            r"\[\n\s+([^\[\]{}\"]*?)\n\s+\]",
            lambda found: f"[{' '.join(found[1].split())}]",
            text,
        )
        self.out.write_text(text + "\n", "utf-8")
        print(f"{seconds:6.1f} s  {name}", flush=True)

    def without_paths(self, text: str) -> str:
        """Replaces the folders of this machine by words."""
        for name, path in (
            ("DATA", self.data_dir),
            ("WORK", self.work),
            ("SHARED", self.shared),
            ("PRESETS", self.presets),
        ):
            text = text.replace(str(path), name)
        return text

    def plain(self, values: Values) -> Values:
        """Returns what a file says, without the circumstances of its making."""
        if isinstance(values, dict):
            return {
                key: self.plain(value)
                for key, value in values.items()
                if key not in _OF_THE_MAKING
            }
        if isinstance(values, list):
            return [self.plain(value) for value in values]
        return self.without_paths(values) if isinstance(values, str) else values


def entries(recorder: Recorder, only: Sequence[str]) -> Iterator[tuple[str, Callable]]:
    """Yields what is to be done, each by its name."""
    jobs: list[tuple[str, tuple[str, ...], Callable[[], None]]] = []
    for preset in PRESETS:
        jobs.append(
            (f"preset {preset.name}", (), lambda p=preset: _preset(recorder, p))
        )
    for training in TRAININGS:
        dataset = _dataset_of(training.recipe)
        jobs.append(
            (training.name, (dataset,), lambda t=training: _losses(recorder, t))
        )
    jobs.append(
        ("calibration", ("synthetic_hand",), lambda: _calibration(recorder)),
    )
    jobs.append(
        ("evaluation of a preset", ("cephalogram",), lambda: _evaluation(recorder)),
    )
    prepared: set[str] = set()
    for name, datasets, job in jobs:
        if only and not any(part in name for part in only):
            continue
        for dataset in datasets:
            if dataset not in prepared:
                prepared.add(dataset)
                yield (
                    _SET.format(dataset),
                    lambda dataset=dataset: recorder.prepare(dataset),
                )
        yield name, job


def _dataset_of(recipe: str) -> str:
    starts = {"hand": "hand_xray", "mouse_skull": "landmark_folder/mouse_skull"}
    found = [d for start, d in starts.items() if recipe.startswith(start)]
    found += [d for d in DATASETS if recipe.startswith(d)]
    return found[0]


def _preset(recorder: Recorder, preset: Preset) -> None:
    """Records what a preset finds in images, as it is and exported."""
    images: list[pathlib.Path] = []
    for pattern in preset.images:
        pattern, _, count = pattern.partition(":")
        found = sorted(recorder.shared.glob(pattern))[: int(count)]
        if len(found) < int(count):
            raise RuntimeError(f"There are not {count} images {pattern}.")
        images += found
    spacing = ["--spacing", preset.spacing, preset.spacing] if preset.spacing else []
    folder = recorder.presets / preset.name
    models = recorder.work / "exports" / preset.name
    out = recorder.work / f"{preset.name}.json"
    for how in ("predict", "predict, exported"):
        started = time.monotonic()
        model = folder
        if how != "predict":
            recorder.cli("export", folder, models)
            (model,) = (p.parent for p in models.glob("*/1/saved_model.pb"))
        recorder.cli("predict", model, *images, *spacing, "--json", out)
        recorder.record(
            f"preset {preset.name}, {how}", _points(out), time.monotonic() - started
        )


def _points(path: pathlib.Path) -> Values:
    """Reads what `predict --json` wrote, a column a quantity."""
    return [
        {
            **{key: image[key] for key in image if key not in ("file", "landmarks")},
            "file": pathlib.Path(image["file"]).name,
            **{
                key: [landmark[key] for landmark in image["landmarks"]]
                for key in image["landmarks"][0]
            },
        }
        for image in json.loads(path.read_text("utf-8"))
    ]


def _losses(recorder: Recorder, training: Training) -> None:
    """Records the history of the first steps of a recipe, a row a step."""
    started = time.monotonic()
    changes = [o for s in training.settings for o in ("--set", s)]
    run = recorder.work / f"{training.recipe}{'_arrays' * training.arrays}"
    where: list[str | pathlib.Path] = ["--data-dir", recorder.data_dir]
    backend = "tensorflow"
    if training.arrays:
        arrays = recorder.work / "arrays"
        recorder.cli("datasets", "arrays", training.recipe, arrays, *changes, *where)
        where, backend = ["--arrays", arrays], "jax"
    epochs = ["--steps", str(STEPS), "--set", "steps_per_epoch=1"]
    recorder.cli(
        *("train", training.recipe, "--out", run, *epochs, *changes, *where),
        backend=backend,
    )
    values = {
        part or "run": _table(run / part / "history.csv", leave_out=("seconds",))
        for part in ("", *training.parts)
    }
    if (run / "shape.json").is_file():
        values["shape"] = json.loads((run / "shape.json").read_text("utf-8"))
    recorder.record(training.name, values, time.monotonic() - started)


def _calibration(recorder: Recorder) -> None:
    """Records a calibration, and the evaluation of the calibrated run."""
    started = time.monotonic()
    run = recorder.work / "calibrated"
    where = ("--data-dir", recorder.data_dir)
    recorder.cli(
        *("train", "synthetic_hand", "--out", run, "--steps", str(STEPS)),
        *("--from", recorder.presets / "synthetic_hand"),
        *("--set", "train_split=train[:24]", "--set", "steps_per_epoch=10", *where),
    )
    recorder.cli(
        *("calibrate", run, "--folds", "2", "--set", "steps=10", *where),
    )
    calibration = json.loads((run / "calibration.json").read_text("utf-8"))
    recorder.record(
        "calibration", recorder.plain(calibration), time.monotonic() - started
    )
    _evaluate(recorder, run, "test[:6]", "of a calibrated run")


def _evaluation(recorder: Recorder) -> None:
    """Records the evaluation of a preset, whose folder is a run's."""
    run = recorder.work / "evaluated_preset"
    shutil.copytree(recorder.presets / "cephalogram", run)
    # A preset lacks it, and the report ends with it.
    about = {"versions": {}, "backend": "", "python": ""}
    (run / "environment.json").write_text(json.dumps(about), "utf-8")
    _evaluate(recorder, run, "test1[:6]", "of a preset")


def _evaluate(recorder: Recorder, run: pathlib.Path, split: str, about: str) -> None:
    started = time.monotonic()
    where = ("--data-dir", recorder.data_dir)
    recorder.cli("evaluate", run, "--split", split, *where)
    results = {
        path.stem: recorder.plain(json.loads(path.read_text("utf-8")))
        for path in sorted((run / "results").glob("*.json"))
    }
    seconds = time.monotonic() - started
    recorder.record(f"evaluation {about}, results", results, seconds)
    (points,) = (run / "results").glob("*-points.csv")
    recorder.record(f"evaluation {about}, points", _table(points), 0.0)
    page, pictures = _report(recorder, run / "report.html")
    recorder.record(f"evaluation {about}, text of the report", page, 0.0)
    name = f"evaluation {about}, pictures of the report"
    recorder.record(name, pictures, 0.0, counts=False)


def _table(path: pathlib.Path, leave_out: Sequence[str] = ()) -> Values:
    """Reads a CSV file, a list a column."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        column: [_number(row[column]) for row in rows]
        for column in rows[0]
        if column not in leave_out
    }


def _number(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _report(recorder: Recorder, path: pathlib.Path) -> tuple[list[str], list[str]]:
    """Returns the lines of a report without pictures, and the pictures' digests."""
    pictures: list[str] = []

    def digest(found: re.Match[str]) -> str:
        data = base64.b64decode(found[2])
        pictures.append(f"{found[1]} {hashlib.sha256(data).hexdigest()}")
        return f"picture {len(pictures)}, {found[1]}"

    page = path.read_text("utf-8")
    page = re.sub(r"data:image/([\w+]+);base64,([\w+/=]+)", digest, page)
    page = re.sub(r"Trained with .*?, Python [\d.]*", "Trained with VERSIONS", page)
    page = re.sub(r"(<dt>(?:scn keras|command)</dt><dd>).*?(</dd>)", r"\1\2", page)
    return recorder.without_paths(page).splitlines(), pictures


def _versions() -> dict[str, str]:
    names = ("scn-keras", "keras", "tensorflow", "jax", "numpy", "matplotlib")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def record(arguments: argparse.Namespace) -> int:
    """Records everything that is asked for; 1 if something failed."""
    shared = pathlib.Path(
        os.environ.get("SCN_KERAS_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    )
    if not shared.is_dir():
        sys.exit(f"There are no images in {shared}: set SCN_KERAS_SHARED_DATA.")
    work = arguments.work.resolve() / "runs"
    if work.exists():
        sys.exit(f"{work} exists. Name another folder, or remove it.")
    work.mkdir(parents=True)
    data_dir = (arguments.data_dir or arguments.work / "data").resolve()
    recorder = Recorder(
        work,
        data_dir,
        shared.resolve(),
        arguments.presets.resolve(),
        arguments.out.resolve(),
    )
    where = [sys.executable, "-c", "import scn_keras; print(scn_keras.__file__)"]
    print("Recording", subprocess.check_output(where, cwd=work, text=True), flush=True)
    failed = 0
    started = time.monotonic()
    for name, job in entries(recorder, arguments.only):
        before = time.monotonic()
        try:
            job()
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            failed += 1
            recorder.commands = []
            print(f"failed    {name}: {error}", flush=True)
        else:
            if name.startswith(_SET.format("")):
                recorder.commands = []
                print(f"{time.monotonic() - before:6.1f} s  {name}", flush=True)
    print(
        f"{time.monotonic() - started:6.1f} s in all, {failed} failed: {recorder.out}"
    )
    return int(failed > 0)


def differences(
    first: Values, second: Values, place: str = ""
) -> Iterator[tuple[str, float]]:
    """Yields where two values differ, and by how much; not numbers by infinity."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(key for key in second if key not in first)]:
            where = f"{place}.{key}" if place else key
            if key not in first or key not in second:
                yield f"{where} (in one of them)", math.inf
            else:
                yield from differences(first[key], second[key], where)
    elif isinstance(first, list) and isinstance(second, list):
        if len(first) != len(second):
            yield f"{place} ({len(first)} and {len(second)} items)", math.inf
        for index, pair in enumerate(zip(first, second, strict=False)):
            yield from differences(*pair, f"{place}[{index}]")
    elif first == second:
        return
    elif _is_number(first) and _is_number(second):
        if not (math.isnan(first) and math.isnan(second)):
            distance = abs(first - second)
            yield place, math.inf if math.isnan(distance) else distance
    else:
        yield place, math.inf


def _is_number(value: Values) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def compare(arguments: argparse.Namespace) -> int:
    """Prints a line an entry; 1 if anything differs by more than the tolerance."""
    first, second = (
        json.loads(path.read_text("utf-8"))["entries"]
        for path in (arguments.first, arguments.second)
    )
    worse = 0
    for name in [*first, *(name for name in second if name not in first)]:
        if name not in first or name not in second:
            missing = arguments.first if name not in first else arguments.second
            print(f"{name}: not in {missing}")
            worse += 1
            continue
        found = list(differences(first[name]["values"], second[name]["values"]))
        if not found:
            print(f"{name}: identical")
            continue
        numbers = [by for _, by in found if by < math.inf]
        others = [place for place, by in found if by == math.inf]
        said = []
        if numbers:
            place, largest = max(found, key=lambda one: (one[1] < math.inf) * one[1])
            said.append(
                f"{len(numbers)} numbers differ, by {largest:.3g} at most ({place})"
            )
        if others:
            more = f" and {len(others) - 5} more" if len(others) > 5 else ""
            said.append(f"unlike: {', '.join(others[:5])}{more}")
        matters = bool(others) or max(numbers) > TOLERANCE
        if matters and not first[name]["counts"]:
            said.append("does not count")
            matters = False
        worse += matters
        print(f"{name}: {'; '.join(said)}")
    return int(worse > 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    recording = commands.add_parser("record", help="record into a JSON file")
    recording.add_argument("out", type=pathlib.Path)
    recording.add_argument(
        "--work", type=pathlib.Path, required=True, help="a folder for runs and data"
    )
    recording.add_argument(
        "--data-dir", type=pathlib.Path, help="prepared data sets [default: WORK/data]"
    )
    recording.add_argument(
        "--presets",
        type=pathlib.Path,
        default=REPOSITORY / "saved_models" / "presets",
        help="the folder of the presets [default: the repository's]",
    )
    recording.add_argument(
        "--only",
        action="append",
        default=[],
        help="a part of the name of what is to be recorded; may be repeated",
    )
    recording.set_defaults(function=record)
    comparing = commands.add_parser("compare", help="compare two JSON files")
    comparing.add_argument("first", type=pathlib.Path)
    comparing.add_argument("second", type=pathlib.Path)
    comparing.set_defaults(function=compare)
    arguments = parser.parse_args()
    sys.exit(arguments.function(arguments))


if __name__ == "__main__":
    main()
