"""Sizes of functions and modules, docstrings of packages, imports of the library."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scn_keras

ROOT = Path(scn_keras.__file__).parent

MAX_LINES = 80  # from `def` to the last line, the docstring included
MAX_PARAMETERS = 8
MAX_MODULE_LINES = 500

# Functions that may be longer or take more, with the reason: five at most.
EXCEPTIONS = {
    "saved_models/exporting/export.py: export": (
        "The settings of the command, most of which are rarely used together."
    ),
    "training/fit.py: fit": (
        "The function of the package that is called most. Its docstring, of 50 lines, "
        "explains every argument and result."
    ),
    "training/input/array_folder.py: write": (
        "Keyword arguments, one for each entry of the header of the folder."
    ),
    "training/input/on_grid.py: on_grid": (
        "Each argument is a tensor of a sample. On a device, a compiled function "
        "takes their place one by one."
    ),
}

# Packages and modules of the library that every backend runs.
LIBRARY = (
    "alignment",
    "geometry",
    "landmark_schema",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "warp",
)


def parsed_modules() -> dict[str, ast.Module]:
    """The modules of the package by their paths in it, links followed."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"), str(path))
        for folder, _, files in sorted(os.walk(ROOT, followlinks=True))
        for path in sorted(Path(folder, file) for file in files)
        if path.suffix == ".py"
    }


MODULES = parsed_modules()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The number of parameters of a function, without `self` or `cls`."""
    arguments = function.args
    names = [
        argument.arg
        for argument in (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            *filter(None, (arguments.vararg, arguments.kwarg)),
        )
    ]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_exempt(path: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Constructors, functions that build a network, and commands of the CLI."""
    if function.name == "__init__":
        return True
    builds_network = path.startswith("models/") and function.name == Path(path).stem
    is_command = path.startswith("cli/") and any(
        isinstance(decorator, ast.Call) and ast.unparse(decorator).startswith("click.")
        for decorator in function.decorator_list
    )
    return builds_network or is_command


def large_functions() -> dict[str, str]:
    found = {}
    for path, tree in MODULES.items():
        for function in functions(tree):
            lines = function.end_lineno - function.lineno + 1
            count = parameters(function)
            if lines > MAX_LINES or count > MAX_PARAMETERS:
                if not is_exempt(path, function):
                    size = f"{lines} lines, {count} parameters"
                    found[f"{path}: {function.name}"] = size
    return found


def test_no_function_is_large():
    large = large_functions()
    assert {k: v for k, v in large.items() if k not in EXCEPTIONS} == {}
    assert len(EXCEPTIONS) <= 5
    # An exception that is no longer needed must go.
    assert set(EXCEPTIONS) <= set(large)


def test_functions_are_measured_with_docstring_and_without_self():
    tree = ast.parse(
        "class A:\n"
        "    def f(self, a, /, b, *c, d=1, **e):\n"
        '        """One.\n\n        Two.\n        """\n'
        "        return a\n"
        "async def g(): ...\n"
    )
    f, g = sorted(functions(tree), key=lambda function: function.name)
    assert (f.end_lineno - f.lineno + 1, parameters(f)) == (6, 5)
    assert parameters(g) == 0


def test_no_module_is_long():
    lines = {
        path: len((ROOT / path).read_text("utf-8").splitlines()) for path in MODULES
    }
    assert {k: n for k, n in lines.items() if n > MAX_MODULE_LINES} == {}
    # All folders are read, also by way of the links.
    folders = {path.split("/")[0] for path in MODULES}
    assert {"cli", "datasets", "inference", "saved_models", "training"} <= folders


@pytest.mark.parametrize("path", [p for p in MODULES if p.endswith("__init__.py")])
def test_every_package_has_a_docstring(path):
    assert ast.get_docstring(MODULES[path])


def test_the_library_imports_keras_and_numpy_only():
    assert imports_beyond({"keras", "numpy"}, LIBRARY) == {}


def test_classical_methods_import_numpy_and_scikit_learn_only():
    assert imports_beyond({"numpy", "sklearn"}, ("classical",)) == {}


def imports_beyond(packages, modules):
    """The imports other than `packages` and Python's, by path, of modules."""
    allowed = {"scn_keras", *packages, *sys.stdlib_module_names}
    imported = {}
    for path, tree in MODULES.items():
        if Path(path).with_suffix("").parts[0] in modules:
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    continue
                imported[path] = imported.get(path, set()) | {
                    name.split(".")[0] for name in names
                }
    found = {Path(path).with_suffix("").parts[0] for path in imported}
    assert found == set(modules)
    return {k: v - allowed for k, v in imported.items() if v - allowed}


def test_few_short_files_lie_between_train_and_its_loss():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_path"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]
