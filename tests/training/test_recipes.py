"""Recipe files: mistakes in them are named with file and line."""

import json
import sys

import pytest

from scn_keras.training import Recipe, load_recipe

GOOD = "from scn_keras.training import Recipe\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="recipe_of_test.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    yield write
    sys.modules.pop("recipe_of_test", None)


@pytest.mark.parametrize(
    ("text", "reason", "cause"),
    [
        ("import nothere", r"No module named 'nothere' \(line 1\)", ImportError),
        ("\n\nx = (1,", r"SyntaxError: .*never closed.* \(line 3\)", SyntaxError),
        ("\nlen(3)\n", r"TypeError: .*'int'.* \(line 2\)", TypeError),
        ("def f():\n    1 / 0\nf()", r"ZeroDivision.* \(line 2\)", ZeroDivisionError),
        (
            "from scn_keras.datasets import LandmarkBuilder\n"
            "class Nameless(LandmarkBuilder): ...\n",
            r"`SCHEMA`.*Nameless.* \(line 2\)",
            ValueError,
        ),
    ],
)
def test_a_file_that_cannot_be_imported(write, text, reason, cause):
    with pytest.raises(ValueError, match=f"recipe_of_test.py .*{reason}\\.$") as caught:
        load_recipe(write(text))
    assert isinstance(caught.value.__cause__, cause)
    assert "recipe_of_test" not in sys.modules


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return Recipe(nme='a')", r"TypeError: .*'nme' \(line 3\)"),
        ("import nothere", r"No module named 'nothere' \(line 3\)"),
        ("return Recipe(name='a', dataset='b', steps=0)", "steps=0"),
    ],
)
def test_a_function_that_fails(write, body, reason):
    with pytest.raises(ValueError, match=reason):
        load_recipe(write(f"{GOOD}def recipe():\n    {body}\n"))


@pytest.mark.parametrize("body", ["return None", "return Recipe"])
def test_a_function_that_returns_no_recipe(write, body):
    with pytest.raises(ValueError, match="recipe.. that returns a Recipe. Received: "):
        load_recipe(write(f"{GOOD}def recipe():\n    {body}\n"))


@pytest.mark.parametrize(
    ("name", "example"), [("my-parts.py", "my_parts.py"), ("2nd.py", "_2nd.py")]
)
def test_a_name_that_is_no_identifier(write, name, example):
    with pytest.raises(ValueError, match=f"such as {example}. Received: '{name}'"):
        load_recipe(write(GOOD, name))


def test_a_recipe_file(write):
    body = "return Recipe(name='a', dataset='synthetic_hand')"
    recipe = load_recipe(write(f"{GOOD}def recipe():\n    {body}\n"))
    assert recipe == Recipe(name="a", dataset="synthetic_hand")


def test_the_recipe_of_a_run(tmp_path):
    recipe = load_recipe("radiograph").override(["network.filters=8", "steps=7"])
    run = tmp_path / "runs" / "knees"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(json.dumps(recipe.stored_form()))
    assert load_recipe(str(run)) == recipe
    with pytest.raises(ValueError, match="the folder of a run"):
        load_recipe(str(run.parent))


@pytest.mark.parametrize("content", ["film1.png", "part/film1.png"])
def test_a_folder_of_images_may_have_the_name_of_the_file(
    write, content, tmp_path, monkeypatch
):
    images = tmp_path / "path" / "images_of_test"
    (images / content).parent.mkdir(parents=True)
    (images / content).touch()
    monkeypatch.syspath_prepend(images.parent)
    body = "return Recipe(name='a', dataset='synthetic_hand')"
    path = write(f"{GOOD}def recipe():\n    {body}\n", f"{images.name}.py")
    assert load_recipe(path).name == "a"
    del sys.modules[images.name]
    (images / "code").mkdir()
    (images / "code" / "part.py").touch()
    with pytest.raises(ValueError, match=f"also the name of the module {images.name}"):
        load_recipe(path)
