"""The client program of docs/guides/serving.md gets answers of `scn-keras serve`."""

import numpy as np
import SimpleITK as sitk

from tests.docs.pages import DOCS, blocks


def test_the_client_of_the_page_writes_points(address, png, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    png.rename(tmp_path / "film.png")
    film = sitk.GetImageFromArray(np.full((40, 30), 7, "uint16"))
    sitk.WriteImage(film, "film.dcm")
    text = (DOCS / "guides" / "serving.md").read_text("utf-8")
    (code,) = (block.code for block in blocks(text) if block.language == "python")
    printed = ("http://127.0.0.1:8501", '"landmarks"')
    assert all(text in code for text in printed)
    names = {}
    exec(code.replace(printed[0], address).replace(printed[1], '"blob"'), names)
    assert len(names["good"]) == len(names["results"]) == 2
    rows = (tmp_path / "points.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 2 * len(names["names"])
    assert {p.name for p in (tmp_path / "markups").iterdir()} >= {"film.dcm.mrk.json"}
