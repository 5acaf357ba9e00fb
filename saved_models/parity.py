"""Holds an exported model against the run that it came from."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from scn_keras.saved_models import locate_bytes_path
from scn_keras.saved_models.predict import predict
from scn_keras.training.run import Run


def largest_difference(
    run: Run,
    model: str | pathlib.Path,
    files: Sequence[pathlib.Path],
    spacing: tuple[float, float] | None = None,
) -> float:
    """Returns the largest difference between run and export over all points, in px.

    The exported model runs in a new process that can import neither Keras nor
    scn_keras, as in TF Serving.

    Args:
        run: `Run`.
        model: The folder of the exported version.
        files: PNG, JPEG or BMP files.
        spacing: Millimetres per pixel, x and y, or `None` for not known.

    Raises:
        ValueError: If a file cannot be read.
        RuntimeError: If the new process fails.
    """
    ours, problems = predict(run.path, files, spacing)
    if problems:
        raise ValueError(problems[0])
    command = [sys.executable, str(locate_bytes_path()), str(model)]
    command += [str(file) for file in files]
    if spacing is not None:
        command += ["--spacing", *map(str, spacing)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(
            f"The exported model did not run: {process.stderr.strip().splitlines()[-1]}"
        )
    theirs = [json.loads(line)["points_px"] for line in process.stdout.splitlines()]
    return max(
        float(np.abs(a.points_px - np.asarray(b)).max())
        for a, b in zip(ours, theirs, strict=True)
    )
