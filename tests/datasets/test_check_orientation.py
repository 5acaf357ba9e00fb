"""Images with an orientation tag, of which programs count the pixels differently."""

import numpy as np
import pytest
from PIL import Image

from scn_keras.datasets.check import check_folder, write_page
from tests.datasets.test_check import NAMES, Planted


@pytest.fixture
def folder(tmp_path):
    """Writes PNG images, of which `tagged` have tag 6, and one table of points."""

    def write(tagged, program):
        planted = Planted(tmp_path, 2)
        rows = [f"image,{','.join(f'{n}_x,{n}_y' for n in NAMES)}\n"]
        for n, image in enumerate(planted.images):
            points, exif = planted.points(n), Image.Exif()
            if n in tagged:
                # A viewer turns the stored pixels clockwise.
                exif[274], shown = 6, image
                image = np.rot90(shown)
                if program == "ImageJ":
                    last = shown.shape[1] - 1
                    points = np.c_[points[:, 1], last - points[:, 0]]
            Image.fromarray(image).save(tmp_path / f"{n:02d}.png", exif=exif)
            rows.append(f"{n:02d},{','.join(f'{v:.3f}' for v in points.ravel())}\n")
        (tmp_path / "p.csv").write_text("".join(rows))
        return tmp_path

    return write


@pytest.mark.parametrize("program", ["ImageJ", "labelme"])
@pytest.mark.parametrize("tagged", [range(14), (2, 9)])
def test_the_orientation_that_points_fit(folder, program, tagged):
    path = folder(tagged, program)
    result = check_folder(path)
    errors = [f for f in result.findings if f.severity == "error"]
    assert {f.kind for f in errors} == {"orientation tag"}
    assert sorted({id for f in errors for id in f.cases}) == [
        f"{n:02d}" for n in tagged
    ]
    for finding in errors:
        assert "tag 6: viewers show it turned by 90 degrees clockwise" in finding.what
        assert ("as ImageJ counts them" in finding.what) == (program == "ImageJ")
        assert ("as labelme and browsers" in finding.what) == (program == "labelme")
        assert ("--points POINTS" in finding.what) == (program == "ImageJ")
    # Points of stored pixels are also compared with each other.
    if program == "ImageJ" and len(tagged) == 14:
        assert not any("Exchanged" in sentence for sentence in result.not_tested)
    assert "data:image/png" in write_page(result, path / "out").read_text("utf-8")


def test_the_turned_copies_are_clean(folder, tmp_path):
    from click.testing import CliRunner

    from scn_keras.cli import main

    path = folder(range(14), "ImageJ")
    out = tmp_path / "upright"
    result = CliRunner().invoke(
        main, ["turn", str(path), "--points", str(path / "p.csv"), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert check_folder(out).errors == 0
