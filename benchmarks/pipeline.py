"""The input pipeline against SimpleITK, and whether a training step waits for it.

    python -m benchmarks.pipeline [--parts reduce augment cores steps] [--image FILE]

reduce: one core, in turns: the same decoded radiograph comes to the grid as it is:
smoothed by a Gaussian as wide as the reduction asks for, and read linearly at the
places of the grid. SimpleITK smooths by a recursive filter, its fastest.

augment: one core, in turns (A B A B …): a decoded radiograph of 1935 x 2400 pixels and
its 19 landmarks become an augmented grid of 512 x 512: translation, rotation, scales,
5 x 5 B-spline, shift and scale of grey values. Neither side decodes or smooths in its
turn: both do so once an image. The SimpleITK side is the usual way: one composite
transform, one linear resampling, and landmarks found as the nearest entry of the
transform's displacement field, refined by parabolas. Ours is the pipeline that
training reads.
cores: the same of ours, in one process and in two at a time, a core each.
steps: a training step on batches from the pipeline and on one batch, in turns.
Image and landmarks are drawn, unless a file is given.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

SIZE, SPACING, GRID, LANDMARKS = (2400, 1935), 0.1, (512, 512), 19
GRID_SPACING = max(SIZE[0] / GRID[0], SIZE[1] / GRID[1]) * SPACING
PARTS = ["reduce", "augment", "cores", "steps"]
RANGES = {"move": 10.0, "turn": 0.25, "scale": 0.2, "bend": 10.0, "grey": 0.25}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=PARTS)
    parser.add_argument("--image", help="a grey image file of 1935 x 2400 pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=10, help="of ours, in a turn")
    parser.add_argument("--core", type=int, default=0)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.parts == ["worker"]:
        worker(arguments)
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    if "reduce" in arguments.parts:
        reduce(arguments)
    if "augment" in arguments.parts:
        augment(arguments)
    os.sched_setaffinity(0, every)  # workers get what is set here
    if "cores" in arguments.parts:
        cores(arguments)
    if "steps" in arguments.parts:
        steps(arguments)


def reduce(arguments: argparse.Namespace) -> None:
    image, _ = radiograph(arguments.image)
    theirs, ours = simpleitk_reduction(image), our_reduction(image)
    in_turns("reduce", theirs, ours, arguments)


def augment(arguments: argparse.Namespace) -> None:
    image, points = radiograph(arguments.image)
    theirs, ours = simpleitk_side(image, points), pipeline_side(image, points)
    in_turns("augment", theirs, ours, arguments)


def in_turns(
    part: str,
    theirs: Iterator[object],
    ours: Iterator[object],
    arguments: argparse.Namespace,
) -> None:
    sides = {"SimpleITK": (theirs, 1), "scn-keras": (ours, arguments.images)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for side, _ in sides.values():
        next(side)
    for _ in range(arguments.rounds):
        for name, (side, count) in sides.items():
            times[name].append(timed(side, count))
    print(f"{part}: one core, {arguments.rounds} turns, medians")
    for name, values in times.items():
        wall, busy = np.median(values, axis=0) * 1e3
        print(f"  {name:12s} {wall:8.2f} ms an image, {busy:8.2f} ms of processor time")
    ratios = np.array(times["SimpleITK"]) / np.array(times["scn-keras"])
    wall, busy = np.median(ratios, axis=0)
    print(f"  ratio        {wall:8.1f}               {busy:8.1f}")


def timed(side: Iterator[object], count: int) -> tuple[float, float]:
    """Seconds a turn: of the clock, and of this process's processor time."""
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(side)
    return (
        (time.perf_counter() - wall) / count,
        (time.process_time() - busy) / count,
    )


def worker(arguments: argparse.Namespace) -> None:
    """Reads a line, augments images for three seconds, prints how many.

    A second of the clock, and a second of processor time.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[arguments.core % len(cores)]})
    side = pipeline_side(*radiograph(arguments.image))
    next(side)
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, busy, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - wall < 3.0:
            next(side)
            count += 1
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        print(count / wall, count / busy, flush=True)


def cores(arguments: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--parts", "worker"]
    if arguments.image:
        command += ["--image", arguments.image]
    workers = [
        subprocess.Popen(
            [*command, "--core", str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in range(2)
    ]

    def ask(asked):
        for process in asked:
            print("go", file=process.stdin, flush=True)
        answers = [process.stdout.readline().split() for process in asked]
        return np.sum(np.array(answers, float), axis=0)

    for process in workers:
        assert process.stdout is not None
        process.stdout.readline()
    rates = []
    for turn in range(max(arguments.rounds // 3, 3)):
        rates.append((ask(workers[turn % 2 :][:1]), ask(workers)))
    for process in workers:
        process.stdin.close()
        process.wait()
    wall, busy = np.median(rates, axis=0).T
    ratio = np.median([both / one for one, both in rates], axis=0)
    print(
        f"one process {wall[0]:.0f} images/s, two on a core each {wall[1]:.0f}, "
        f"{ratio[0]:.2f} times; a second of processor time {busy[0]:.0f}, "
        f"{busy[1]:.0f}, {ratio[1]:.2f} times"
    )


def radiograph(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image and landmarks in its pixels."""
    random = np.random.default_rng(0)
    points = random.uniform(0.2, 0.8, (LANDMARKS, 2)) * SIZE[::-1]
    if path:
        import SimpleITK as sitk

        image = sitk.GetArrayFromImage(sitk.ReadImage(path, sitk.sitkUInt8))
        return image, points.astype("float32")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = (np.sin(x / s) * np.cos(y / (s + 3)) for s in (9, 31, 97, 303))
    image = 127 + 25 * sum(waves) + random.normal(0, 5, SIZE)
    return np.clip(image, 0, 255).astype(np.uint8), points.astype("float32")


def tensorflow_on_one_thread():
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def our_reduction(image: np.ndarray) -> Iterator[object]:
    tf = tensorflow_on_one_thread()
    from scn_keras.inference import ImageToGrid, resample

    pixels = tf.constant(image[..., None] / np.float32(255))

    @tf.function
    def on_grid(pixels):
        reduced = resample.reduce_image(
            pixels, ImageToGrid(GRID), tf.constant([SPACING] * 2)
        )
        return resample.resample_to_grid(reduced, GRID)

    while True:
        yield on_grid(pixels).numpy()


def simpleitk_reduction(image: np.ndarray) -> Iterator[object]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    source = sitk.GetImageFromArray(image / np.float32(255))
    source.SetSpacing((SPACING, SPACING))
    sigma = (GRID_SPACING - SPACING) / 2
    # The grid's centre is the image's.
    origin = [
        (s - 1) / 2 * SPACING - (g - 1) / 2 * GRID_SPACING
        for s, g in zip(SIZE[::-1], GRID[::-1], strict=True)
    ]
    while True:
        smooth = sitk.SmoothingRecursiveGaussian(source, sigma)
        grid = sitk.Resample(
            smooth,
            GRID[::-1],
            sitk.Transform(),
            sitk.sitkLinear,
            origin,
            (GRID_SPACING, GRID_SPACING),
            (1.0, 0.0, 0.0, 1.0),
            0.0,
        )
        yield sitk.GetArrayFromImage(grid) * 2.0 - 1.0


def pipeline_side(image: np.ndarray, points: np.ndarray) -> Iterator[object]:
    tf = tensorflow_on_one_thread()
    from scn_keras.inference import ImageToGrid
    from scn_keras.training.augmentation import Augmentation
    from scn_keras.training.input import pipeline
    from scn_keras.training.recipe import Recipe

    recipe = Recipe(
        name="benchmark",
        dataset="",
        image_to_grid=ImageToGrid(grid=GRID),
        augmentation=Augmentation.cephalogram(),
    )
    samples = tf.data.Dataset.from_tensors(
        {
            "image": image[..., None],
            "points": points,
            "affine": np.diag([SPACING, SPACING, 1.0]).astype("float32"),
        }
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    # Nothing is made ahead: no turn works for the next.
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    elements = (
        samples.map(lambda sample: pipeline.prepare(sample, recipe))
        .cache()
        .repeat()
        .enumerate()
        .map(lambda number, kept: pipeline.augment(kept, number, recipe))
    )
    return iter(elements.with_options(options))


def simpleitk_side(image: np.ndarray, points: np.ndarray) -> Iterator[object]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    source = sitk.GetImageFromArray(image.astype(np.float32))
    source.SetSpacing((SPACING, SPACING))
    source = sitk.SmoothingRecursiveGaussian(source, 0.15)
    middle = (np.array(SIZE[::-1]) - 1) / 2 * SPACING
    out_middle = (np.array(GRID[::-1]) - 1) / 2 * GRID_SPACING
    places = points.astype(float) * SPACING
    random = np.random.default_rng(0)
    y, x = np.mgrid[: GRID[0], : GRID[1]] * GRID_SPACING
    while True:
        transform = _simpleitk_transform(sitk, random, middle, out_middle)
        grid = sitk.Resample(
            source,
            GRID[::-1],
            transform,
            sitk.sitkLinear,
            (0.0, 0.0),
            (GRID_SPACING, GRID_SPACING),
            (1.0, 0.0, 0.0, 1.0),
            0.0,
        )
        result = (sitk.GetArrayFromImage(grid) - 128.0) / 128.0
        shift, scale = random.uniform(-RANGES["grey"], RANGES["grey"], 2)
        result = np.clip((result + shift) * (1.0 + scale), -1.0, 1.0)
        field = sitk.TransformToDisplacementField(
            transform,
            sitk.sitkVectorFloat64,
            GRID[::-1],
            (0.0, 0.0),
            (GRID_SPACING, GRID_SPACING),
        )
        field = sitk.GetArrayFromImage(field)
        came_from = np.stack([field[..., 0] + x, field[..., 1] + y], axis=-1)
        yield result, [_nearest(came_from, place) for place in places]


def _simpleitk_transform(sitk, random, middle, out_middle):
    """From the grid: bend, centre, scale, turn, move, centre of the image."""
    bend = sitk.BSplineTransform(2, 3)
    bend.SetTransformDomainOrigin((0.0, 0.0))
    bend.SetTransformDomainMeshSize((2, 2))
    bend.SetTransformDomainPhysicalDimensions([g * GRID_SPACING for g in GRID[::-1]])
    bend.SetTransformDomainDirection((1.0, 0.0, 0.0, 1.0))
    bend.SetParameters(random.uniform(-RANGES["bend"], RANGES["bend"], 50).tolist())
    affine = sitk.AffineTransform(2)
    angle = random.uniform(-RANGES["turn"], RANGES["turn"])
    scale = 1.0 + random.uniform(-RANGES["scale"], RANGES["scale"])
    scale = scale * (1.0 + random.uniform(-RANGES["scale"], RANGES["scale"], 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine.SetMatrix((turn @ np.diag(scale)).ravel().tolist())
    affine.SetCenter(out_middle.tolist())
    move = random.uniform(-RANGES["move"], RANGES["move"], 2)
    affine.SetTranslation((middle - out_middle + move).tolist())
    return sitk.CompositeTransform([affine, bend])  # the last one first


def _nearest(came_from, place):
    """The pixel of the grid whose source is nearest, refined along each axis."""
    distance = np.linalg.norm(came_from - place, axis=-1)
    row, column = np.unravel_index(distance.argmin(), distance.shape)
    found = []
    for at, line in ((column, distance[row]), (row, distance[:, column])):
        at = int(np.clip(at, 1, len(line) - 2))
        before, here, after = line[at - 1 : at + 2] ** 2
        found.append(at + 0.5 * (before - after) / (before - 2 * here + after))
    return found


def steps(arguments: argparse.Namespace) -> None:
    for name in ("cephalogram_fast", "synthetic_volume"):
        code = f"import benchmarks.pipeline as b; b.step_ratio({name!r}, {{}})"
        command = [sys.executable, "-c", code.format(max(arguments.rounds // 3, 3))]
        subprocess.run(command, check=True)


def step_ratio(name: str, rounds: int, count: int = 6) -> None:
    """Prints the time of a step on the pipeline's batches over that on one batch."""
    import tensorflow as tf

    from scn_keras.training.build import compiled_model
    from scn_keras.training.input import pipeline
    from scn_keras.training.recipes import load_recipe

    recipe = load_recipe(name)
    size = SIZE if len(recipe.grid) == 2 else (96, 64, 64)
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (4, *size, 1), np.uint8)
    points = random.uniform(0.2, 0.8, (4, LANDMARKS, len(size))) * size[::-1]
    spacing = np.full(len(size), SPACING if len(size) == 2 else 2.0)
    observers = [recipe.observer] if recipe.observer else []
    names = [f"points_{observer}" for observer in observers] or ["points"]
    samples = tf.data.Dataset.from_tensor_slices(
        {
            "image": images,
            names[0]: points.astype("float32"),
            "affine": np.tile(np.diag([*spacing, 1.0]), (4, 1, 1)).astype("float32"),
        }
    )
    batches = pipeline.training_batches(samples, recipe)
    model = compiled_model(recipe, LANDMARKS)
    constant = next(iter(batches))
    model.train_on_batch(*constant)

    def train(batches):
        while True:
            yield model.train_on_batch(*next(batches))

    times = []
    for _ in range(rounds):
        one = timed(train(itertools.repeat(constant)), count)
        # Anew, so that nothing is made ahead while the other has its turn.
        fed = train(iter(batches))
        next(fed)
        times.append((one, timed(fed, count)))
    wall, busy = np.median(times, axis=0).T
    ratio = np.median([np.divide(fed, one) for one, fed in times], axis=0)
    print(
        f"{name}: {wall[0]:.3f} s a step on one batch, {wall[1]:.3f} s on the "
        f"pipeline's, {ratio[0]:.3f} times; of processor time {busy[0]:.3f} s, "
        f"{busy[1]:.3f} s, {ratio[1]:.3f} times"
    )


if __name__ == "__main__":
    main()
