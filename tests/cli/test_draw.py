import pathlib

import pytest

FIGURE = pathlib.Path(__file__).parents[2] / "docs" / "figures" / "network.svg"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_drawn_with_its_settings(call, folder):
    settings = ["--set", "network.filters=7", "--set", "network.levels=2"]
    result = call("draw", "cephalogram_fast", *settings)
    assert result.exit_code == 0, result.output
    text = (folder / "cephalogram_fast.svg").read_text("utf-8")
    assert ">7</text>" in text and ">19</text>" in text
    assert "contracting_1_0" in text and "contracting_2_0" not in text

    result = call("draw", "cephalogram_fast")
    assert result.exit_code == 1 and "exists. Choose another file" in result.output


def test_a_run_and_a_model_file_are_drawn(call, folder, tiny_run):
    for source, out in ((tiny_run.path, "run.svg"), (tiny_run.model_path, "file.svg")):
        result = call("draw", source, "--out", out)
        assert result.exit_code == 0, result.output
    run, file = ((folder / name).read_text("utf-8") for name in ("run.svg", "file.svg"))
    assert "of tiny, 37 landmarks" in run and run == file


def test_the_figure_of_the_documents_is_that_of_the_code(call, folder):
    if not FIGURE.is_file():
        pytest.skip("The documents are not part of an installed package.")
    assert call("draw", "cephalogram_reference").exit_code == 0
    drawn = (folder / "cephalogram_reference.svg").read_text("utf-8")
    assert drawn == FIGURE.read_text("utf-8")


def test_messages(call, folder):
    for arguments, message in (
        (["nothing"], "There is no recipe, run, preset or file 'nothing'"),
        (["hand_fst"], "Did you mean hand_fast"),
        (["radiograph"], "Give it with --landmarks N"),
        (["synthetic_hand", "--coarse"], "has no coarse stage"),
        (["synthetic_hand", "--out", "a.png"], "must end in .svg"),
        (["synthetic_hand", "--out", "no/a.svg"], "does not exist"),
        ([folder], "is not a run"),
    ):
        result = call("draw", *arguments)
        assert result.exit_code != 0, result.output
        assert message in result.output
    assert not [*folder.iterdir()]
    assert call("draw", "radiograph", "--landmarks", 3).exit_code == 0


def test_what_has_no_network(call, folder):
    (folder / "other.py").write_text(
        "from scn_keras.training import Recipe\n\n\n"
        "def recipe():\n"
        "    return Recipe(name='other', dataset='synthetic_hand', "
        "method='other:Method')\n"
    )
    result = call("draw", "other.py")
    assert result.exit_code == 1 and "There is no network to draw" in result.output
