import pytest

from scn_keras.datasets.synthetic_hand.sample_files import write_sample_files


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_and_a_picture_are_written_once(call, folder, tiny_run):
    (image,) = write_sample_files(folder / "hands", 1)
    arguments = ["explain", tiny_run.path, image, "--landmark", "thumb tip"]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    names = ("hand_1_explained.html", "hand_1_explained.png")
    assert all(f"Written: {name}" in result.output for name in names)
    assert "thumb tip" in (folder / names[0]).read_text("utf-8")
    result = call(*arguments)
    assert result.exit_code == 1
    assert "hand_1_explained.html exists. Choose another file" in result.output


def test_messages(call, folder, tiny_run):
    (image,) = write_sample_files(folder / "hands", 1)
    for arguments, message in (
        (["nothing", image], "There is no file, folder or preset 'nothing'"),
        ([tiny_run.path, "no.png"], "does not exist"),
        ([tiny_run.path, image, "--out", "a.pdf"], "must end in .html"),
        ([tiny_run.path, image, "--out", "no/a.html"], "does not exist"),
        ([tiny_run.path, image, "--landmark", "tip"], "no landmark of this name"),
        (["http://localhost:1/v1/models/a", image], "requires the layers"),
        ([folder, image], "requires the layers"),
    ):
        result = call("explain", *arguments)
        assert result.exit_code != 0, result.output
        assert message in result.output
    assert [path.name for path in folder.iterdir()] == ["hands"]
