import os
import pathlib
import platform
import sys
from importlib import metadata
from typing import Any

import keras

from scn_keras import __version__


def environment() -> dict[str, Any]:
    """Returns versions and machine, on which results may depend besides the recipe."""
    packages = (
        *("keras", "numpy", "tensorflow", "jax", "torch"),
        *("tensorflow-datasets", "SimpleITK"),
    )
    versions = {"scn-keras": __version__}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "backend": keras.backend.backend(),
        "versions": versions,
        # Only the name of the program, because its path may contain a user's name.
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    }
