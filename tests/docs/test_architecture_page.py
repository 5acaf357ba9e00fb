"""docs/architecture.md names files that exist."""

import re

from tests.docs.pages import REPOSITORY, pages

PAGE = next(page for page in pages() if page.name == "architecture.md").read_text(
    "utf-8"
)
LAYOUT = re.search(r"^```\n(scn_keras/\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]
# Files of runs, exports and presets are on a user's disk only.
PROSE = PAGE.replace(LAYOUT, "").partition("## Stored files")[0]
ON_DISK = {"coarse/"}


def layout_paths(layout):
    """Yields the paths of a tree of folders, each with its line's description."""
    above = []
    for line in filter(str.strip, layout.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].replace(",", " ").split()
        above = above[:depth]
        yield from ("".join([*above, name]) for name in names)
        above.append(names[0])


def prose_paths(text):
    """Yields what looks like a file or a folder of the project between backquotes."""
    for name in re.findall(r"`([\w./]+)`", text):
        if (
            name.endswith((".py", ".cfg")) or name.endswith("/")
        ) and "NAME" not in name:
            yield name


def exists(name):
    return any((REPOSITORY / folder / name).exists() for folder in ("", "scn_keras"))


def test_files_of_the_page_exist():
    named = {*layout_paths(LAYOUT), *prose_paths(PROSE)} - ON_DISK
    assert len(named) > 80
    assert sorted(name for name in named if not exists(name)) == []


def test_every_module_of_training_is_in_the_tree():
    public = {
        f"training/{path.name}" + "/" * path.is_dir()
        for path in (REPOSITORY / "training").iterdir()
        if path.is_dir() and (path / "__init__.py").is_file() or path.suffix == ".py"
        if not path.name.startswith("_")
    }
    assert len(public) > 15
    assert public - {*layout_paths(LAYOUT)} - {"training/recipes/"} == set()


def test_missing_files_are_found():
    tree = "scn_keras/\n  geometry.py  affines\n  inner/   a\n    no.py, x.py  gone\n"
    assert [*layout_paths(tree)] == [
        "scn_keras/",
        "scn_keras/geometry.py",
        "scn_keras/inner/",
        "scn_keras/inner/no.py",
        "scn_keras/inner/x.py",
    ]
    assert [*prose_paths("`files/gone.py`, `mre_px`")] == ["files/gone.py"]
    assert not exists("files/gone.py") and exists("files/read_points.py")
