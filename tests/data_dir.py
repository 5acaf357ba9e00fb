"""The folder of prepared data sets, so that no test writes to that of the user."""

import importlib
from pathlib import Path

import pytest


def use_data_dir(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Sets the default folder of TFDS in this process and in those that it starts.

    TFDS reads the environment variable once, when it is imported.
    """
    patch.setenv("TFDS_DATA_DIR", str(folder))
    constants = importlib.import_module("tensorflow_datasets.core.constants")
    patch.setattr(constants, "DATA_DIR", str(folder))
