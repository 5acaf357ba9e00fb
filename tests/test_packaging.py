"""What is installed: wheel, sdist and editable installation hold the same modules."""

import configparser
import email
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import jedi
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


# The folders that scn_keras/ holds links to; in the sdist they lie in scn_keras/.
LINKED = ("datasets", "saved_models", "training")
IN_SDIST = ("benchmarks", "docs", "tests")

needs_links = pytest.mark.skipif(
    not any((REPOSITORY / name).exists() for name in LINKED),
    reason="An unpacked sdist holds these folders in scn_keras/ alone.",
)


def files_below(folder: Path) -> dict[str, Path]:
    """Every file of a folder by its path in it, links followed."""
    return {
        str(Path(parent, file).relative_to(folder)): Path(parent, file)
        for parent, _, files in os.walk(folder, followlinks=True)
        for file in files
        if "__pycache__" not in parent
    }


def tree() -> dict[str, Path]:
    """Every file of the package, by its path in the wheel.

    Of the files that TFDS's test of a builder reads, the sdist alone has a copy.
    """
    return {
        f"scn_keras/{name}": path
        for name, path in files_below(REPOSITORY / "scn_keras").items()
        if "dummy_data" not in path.parts
        and ("presets" not in path.parts or PRESET in path.parts)
    }


def packages_in_tree() -> set[str]:
    """The dotted names of all folders that hold Python files."""
    return {
        str(Path(name).parent).replace("/", ".")
        for name in tree()
        if name.endswith(".py")
    }


def importable(folder: Path, package: str = "scn_keras") -> set[str]:
    """The dotted names of all modules that Python finds in a package's folder."""
    found = {package}
    for module in pkgutil.iter_modules([str(folder)]):
        name = f"{package}.{module.name}"
        found.add(name)
        if module.ispkg:
            found |= importable(folder / module.name, name)
    return found


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


@needs_links
@pytest.mark.parametrize("name", LINKED)
def test_the_package_holds_links(name):
    assert os.readlink(REPOSITORY / "scn_keras" / name) == f"../{name}"


def test_every_package_has_an_init_file():
    # Without one, an editable installation does not find the folder.
    for package in packages_in_tree():
        assert f"{package.replace('.', '/')}/__init__.py" in tree()


def test_package_data_are_the_data_files_of_the_tree():
    packages = packages_in_tree()
    listed = set()
    for package, patterns in setup_cfg()["options.package_data"].items():
        assert package in packages
        folder = REPOSITORY / package.replace(".", "/")
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
def checkout(tmp_path_factory) -> Path:
    """A copy of the repository without what git ignores."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("scn_keras", *LINKED, *IN_SDIST):
        if (REPOSITORY / name).exists():
            shutil.copytree(
                REPOSITORY / name,
                copy / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    restricted = copy / "scn_keras" / "saved_models" / "presets" / "restricted"
    restricted.mkdir(parents=True, exist_ok=True)
    (restricted / "config.json").write_text("{}")
    return copy


def build(kind: str, source: Path, folder: Path) -> Path:
    """Calls a hook of the build backend, as pip does, and returns what it wrote."""
    folder.mkdir()
    code = f"import setuptools.build_meta as b; b.build_{kind}({str(folder)!r})"
    # The warnings of setuptools are about its own future.
    run(code, source, PYTHONWARNINGS="ignore")
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", checkout, folder / "built")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (path,) = (folder / "unpacked").iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel that is built from the sdist."""
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel") / "built")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment without any package."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def editable_python(checkout, tmp_path_factory) -> Path:
    """The interpreter of one with an editable installation of the checkout alone."""
    folder = tmp_path_factory.mktemp("editable")
    editable = build("editable", checkout, folder / "built")
    venv.create(folder / "environment")
    python = folder / "environment" / "bin" / "python"
    with zipfile.ZipFile(editable) as archive:
        archive.extractall(site_packages(python))
    return python


def site_packages(python: Path) -> Path:
    (folder,) = python.parents[1].glob("lib/python*/site-packages")
    return folder


def run_python(python: Path, code: str, folder: Path) -> str:
    """Runs code in a folder, with an interpreter and its environment alone."""
    process = subprocess.run(
        [python, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_sdist_is_complete(checkout, sdist):
    expected = {name for name in os.listdir(checkout) if (checkout / name).is_file()}
    for name in ("scn_keras", *IN_SDIST):
        expected |= {f"{name}/{path}" for path in files_below(checkout / name)}
    # Hidden files are git's; presets without a free licence are not passed on.
    expected = {
        name
        for name in expected
        if not name.startswith(".")
        and ("/presets/" not in name or f"/{PRESET}/" in name)
    }
    built = {
        name for name in files_below(sdist) if not name.startswith("scn_keras.egg-info")
    }
    assert built == expected | {"PKG-INFO"}
    assert "scn_keras/datasets/hand_xray/dummy_data/setup/all.csv" in built


def test_tests_pass_from_the_sdist(sdist):
    # Of the library, of a linked folder, and of the dummy data beside a builder.
    tests = (
        "tests/test_geometry.py",
        "tests/training/test_recipe.py",
        "tests/datasets/test_hand_xray.py::test_dummy_data_are_drawn",
    )
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *tests],
        cwd=sdist,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    assert "skipped" not in process.stdout  # as they are without dummy data


def test_wheel_holds_the_tree_under_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if ".dist-info/" not in name}
    assert package == set(tree())  # and so no preset but one
    assert f"scn_keras/saved_models/presets/{PRESET}/model.weights.h5" in package
    assert {name.split("/")[0] for name in package} == {"scn_keras"}


def test_every_installation_has_the_same_modules(
    checkout, wheel, editable_python, tmp_path
):
    expected = importable(checkout / "scn_keras")
    assert expected >= {
        "scn_keras.datasets.check.spacing",
        "scn_keras.saved_models.server.server",
        "scn_keras.training.fit",
    }
    wheels = {
        "by way of the sdist": wheel,
        "of the checkout": build("wheel", checkout, tmp_path / "built"),
    }
    for name, path in wheels.items():
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / name)
        assert importable(tmp_path / name / "scn_keras") == expected, name
    code = "import scn_keras; print(*scn_keras.__path__)"
    (folder,) = run_python(editable_python, code, tmp_path).splitlines()
    assert importable(Path(folder)) == expected


# Where `import datasets` leads, and where the package of that name is found.
IMPORT = """
import importlib.util
try:
    print(importlib.import_module({name!r}).__file__)
except ModuleNotFoundError as error:
    print(error.name, error)
print(importlib.util.find_spec("scn_keras.{name}").origin)
"""


@needs_links
@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("where", ["in the checkout", "elsewhere"])
def test_bare_names(request, checkout, tmp_path, name, installed, where):
    """Another package of the name is found unless the checkout is the first place."""
    elsewhere = where == "elsewhere"
    python = request.getfixturevalue("editable_python" if elsewhere else "python")
    other = site_packages(python) / name
    if installed:
        other.mkdir()
        (other / "__init__.py").touch()
    try:
        folder = tmp_path if elsewhere else checkout
        found, ours = run_python(python, IMPORT.format(name=name), folder).splitlines()
    finally:
        shutil.rmtree(other, ignore_errors=True)
    assert ours == f"{checkout}/scn_keras/{name}/__init__.py"
    if installed and elsewhere:
        assert found == f"{other}/__init__.py"
    else:
        assert found == (
            f"{name} No module named '{name}': the folder of that name in a checkout "
            f"of scn-keras is imported as scn_keras.{name}."
        )


# Where editors and type checkers are to find names, and what these are.
DEFINITIONS = {
    "scn_keras.LandmarkSchema": ("landmark_schema.py", "class"),
    "scn_keras.training.fit.fit": ("training/fit.py", "function"),
    "scn_keras.training.Recipe": ("training/recipe.py", "class"),
    "scn_keras.saved_models.export": (
        "saved_models/exporting/export.py",
        "function",
    ),
    "scn_keras.saved_models.predict": (
        "saved_models/predicting/predict.py",
        "function",
    ),
    "scn_keras.saved_models.server.served_model.ServedModel": (
        "saved_models/server/served_model.py",
        "class",
    ),
    "scn_keras.datasets.prepare": ("datasets/prepare.py", "function"),
    "scn_keras.inference.Locator": ("inference/locator.py", "class"),
    "scn_keras.layers.Upsample": ("layers/upsample.py", "class"),
}


def definition(name: str, python: Path, folder: Path) -> tuple[Path, str]:
    """Where a static analyser finds the definition of a name, and its kind."""
    module, _, attribute = name.rpartition(".")
    script = jedi.Script(
        f"from {module} import {attribute}\n{attribute}",
        project=jedi.Project(folder),
        environment=jedi.create_environment(python.parents[1], safe=False),
    )
    (found,) = script.goto(2, 0, follow_imports=True)
    return found.module_path.resolve(), found.type


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_static_analyser_resolves_names(
    checkout, python, editable_python, tmp_path, name
):
    file, kind = DEFINITIONS[name]
    # Links are followed to the folders at the top.
    expected = ((checkout / "scn_keras" / file).resolve(), kind)
    assert definition(name, python, checkout) == expected
    assert definition(name, editable_python, tmp_path) == expected


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
    # All packages come from the wheel, and none from the checkout or its installation.
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
    "matplotlib", "click", "torch", "sklearn",
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
