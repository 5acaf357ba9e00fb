"""What is installed: the hand-written lists of setup.cfg, the wheel, the imports."""

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import scn_keras

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    not (REPOSITORY / "pyproject.toml").is_file(),
    reason="The tests run on an installed package, outside of the repository.",
)


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.optionxform = str
    config.read(REPOSITORY / "setup.cfg", "utf-8")
    return config


# Presets of images without a free licence lie in the repository alone.
PRESET = "synthetic_hand"


def folders() -> dict[str, Path]:
    """The mapped packages and their folders: `scn_keras.datasets` to `datasets/`."""
    lines = setup_cfg()["options"]["package_dir"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {name.strip(): REPOSITORY / folder.strip() for name, folder in pairs}


def tree() -> dict[str, Path]:
    """Every file of the rooms, by its path in the wheel.

    Of the files that TFDS's test of a builder reads, the sdist alone has a copy.
    """
    files = {}
    for package, folder in folders().items():
        for path in folder.rglob("*"):
            parts = set(path.parts)
            if {"__pycache__", "dummy_data"} & parts:
                continue
            if "presets" in parts and PRESET not in parts:
                continue
            if path.is_file():
                files[f"{package.replace('.', '/')}/{path.relative_to(folder)}"] = path
    return files


def packages_in_tree() -> set[str]:
    """The dotted names of all folders that hold Python files."""
    return {
        str(Path(name).parent).replace("/", ".")
        for name in tree()
        if name.endswith(".py")
    }


def run(code: str, folder: Path, **environment: str) -> str:
    """Runs code in a new process, which imports from `folder` first."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PYTHONWARNINGS": "error",
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_packages_are_the_folders_of_the_tree():
    listed = setup_cfg()["options"]["packages"].split()
    assert sorted(listed) == sorted(packages_in_tree())


def test_every_package_has_an_init_file():
    # Without one, an editable installation does not find the folder.
    for package in packages_in_tree():
        assert f"{package.replace('.', '/')}/__init__.py" in tree()


def test_package_data_are_the_data_files_of_the_tree():
    packages = packages_in_tree()
    listed = set()
    for package, patterns in setup_cfg()["options.package_data"].items():
        assert package in packages
        mapped = max((p for p in folders() if package.startswith(p)), key=len)
        below = package.removeprefix(mapped).strip(".").replace(".", "/")
        folder = folders()[mapped] / below
        for pattern in re.split(r"[,\s]+", patterns.strip()):
            found = [path for path in folder.glob(pattern) if path.is_file()]
            assert found, f"{package}: nothing in the tree matches {pattern}"
            listed.update(found)
    assert listed == {p for n, p in tree().items() if not n.endswith(".py")}


def test_every_builder_has_its_metadata():
    builders = [n for n in tree() if n.endswith("_dataset_builder.py")]
    assert builders
    for builder in builders:
        for metadata in ("README.md", "CITATIONS.bib", "TAGS.txt"):
            assert str(Path(builder).with_name(metadata)) in tree()


def test_version_is_written_once():
    assert setup_cfg()["metadata"]["version"] == "attr: scn_keras.__version__"
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {scn_keras.__version__}\n" in citation


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built through the sdist from a copy without what git ignores."""
    build = tmp_path_factory.mktemp("build")
    checkout = build / "checkout"
    for folder in (*folders().values(), REPOSITORY / "tests"):
        shutil.copytree(
            folder,
            checkout / folder.name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy(path, checkout)
    restricted = checkout / "saved_models" / "presets" / "restricted"
    restricted.mkdir(parents=True, exist_ok=True)
    (restricted / "config.json").write_text("{}")
    # The warnings of setuptools are about its own future.
    hook = "import setuptools.build_meta as b; b.build_{}({!r})"
    run(hook.format("sdist", str(build)), checkout, PYTHONWARNINGS="ignore")
    (sdist,) = build.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(build, filter="data")
    unpacked = build / sdist.name.removesuffix(".tar.gz")
    assert not (unpacked / restricted.relative_to(checkout)).exists()
    run(hook.format("wheel", str(build)), unpacked, PYTHONWARNINGS="ignore")
    (path,) = build.glob("*.whl")
    return path


def test_wheel_holds_the_tree_under_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if ".dist-info/" not in name}
    assert package == set(tree())  # and so no preset but one
    assert f"scn_keras/saved_models/presets/{PRESET}/model.weights.h5" in package
    assert {name.split("/")[0] for name in package} == {"scn_keras"}


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    info = f"scn_keras-{scn_keras.__version__}.dist-info"
    metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert metadata["Name"] == "scn-keras"
    assert metadata["Version"] == scn_keras.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License"] == "Apache-2.0"
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert "scn-keras = scn_keras.cli:main" in entry_points
    for requirement in metadata.get_all("Requires-Dist"):
        if "extra ==" not in requirement:
            assert ">=" in requirement, f"{requirement}: no lower bound"


def test_wheel_works_in_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # All rooms come from the wheel, and none from the checkout or its installation.
    modules = run(
        "import importlib, scn_keras\n"
        "for name in ('datasets', 'training', 'saved_models', 'files'):\n"
        "    print(importlib.import_module(f'scn_keras.{name}').__file__)\n",
        tmp_path,
    ).split()
    assert all(Path(module).is_relative_to(tmp_path) for module in modules)
    help_text = run(
        "import sys; sys.argv = ['scn-keras', '--help']\n"
        "from scn_keras.cli import main\n"
        "main()\n",
        tmp_path,
    )
    assert help_text.startswith("Usage: scn-keras")


def test_import_is_light():
    loaded = run("import sys, scn_keras; print(*sys.modules)", REPOSITORY).split()
    heavy = ("keras", "tensorflow", "jax", "torch", "numpy", "SimpleITK", "matplotlib")
    assert not set(heavy) & set(loaded)


def test_keras_rooms_need_keras_numpy_and_a_backend_alone(tmp_path):
    pytest.importorskip("jax")
    code = """
import sys

# Everything that setup.cfg asks for, except keras, numpy and what keras needs.
for name in (
    "tensorflow", "tensorflow_datasets", "importlib_resources", "SimpleITK",
    "matplotlib", "click", "torch",
):
    sys.modules[name] = None

import keras
import numpy as np
import scn_keras
from scn_keras import geometry, layers, losses, metrics, models

network = models.SpatialConfigurationNet(
    2, (32, 32, 1), filters=4, spatial_kernel_size=3, spatial_factor=8
)
model = models.LandmarkModel(network)
model.compile(
    "adam", losses.HeatmapSquaredError("sum"), metrics=[metrics.PointError()]
)
points = np.array([[[4.0, 5.0], [9.0, 20.0]]], "float32")
y = {"points": points, "affine": np.eye(3, dtype="float32")[None]}
history = model.fit(np.ones((1, 32, 32, 1), "float32"), y, verbose=0).history
assert np.isfinite(history["loss"]).all()
print(keras.backend.backend())
"""
    assert run(code, REPOSITORY, KERAS_BACKEND="jax").strip() == "jax"


@pytest.mark.skipif(shutil.which("make") is None, reason="There is no make here.")
def test_make_says_in_one_line_that_python_is_missing(tmp_path):
    stamp = tmp_path / "venv" / "bin" / ".created"
    process = subprocess.run(
        ["make", str(stamp), f"VENV={tmp_path / 'venv'}", "PYTHON=python0.0"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert process.returncode != 0
    assert process.stderr.startswith("No Python 3.11, 3.12 or 3.13 with the venv")
    assert "(tried: python0.0)" in process.stderr
    assert not stamp.exists()
