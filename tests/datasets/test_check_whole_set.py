"""Sets that are wrong alike, that fall into kinds, or that are too small to compare."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from scn_keras.cli import main
from scn_keras.datasets.check import check_folder, write_page
from scn_keras.datasets.check.label_variants import normal_form
from tests.datasets.test_check import BOTH, FACE, FACE_SCHEMA, NAMES, Planted


def kinds(result):
    return sorted({finding.kind for finding in result.findings})


def keep(planted, count):
    """Keeps the first cases of a set."""
    planted.cases, planted.images = planted.cases[:count], planted.images[:count]
    return planted


# --- Spacing ---


def test_png_files_without_a_spacing_are_one_note(tmp_path):
    """As read from files: the affine has zeros off the diagonal of NaN."""
    planted = Planted(tmp_path, 2)
    for n, (case, image) in enumerate(zip(planted.cases, planted.images, strict=True)):
        path = tmp_path / f"{n:02d}.png"
        Image.fromarray(image).save(path)
        planted.change(n, image_path=path, affine=None)
        assert np.isnan(planted.cases[n].read_image()[1]).sum() == 2, case
    planted.written = True
    finding = planted.only_finding()
    assert (finding.severity, finding.kind) == ("note", "spacing")
    assert finding.what == "No image has a spacing."
    assert len(finding.cases) == 14


# --- Codes for missing landmarks ---


@pytest.mark.parametrize(
    "d, code, every",
    [
        *[(2, 0.0, 2), (3, 0.0, 4), (2, -1.0, 4), (2, 1.0, 4), (3, "size", 4)],
        *[(2, "last", 4), (3, "origin", 2), (2, 7.0, 2), (2, -999.0, 4)],
    ],
)
def test_a_repeated_position_stands_for_missing(tmp_path, d, code, every):
    planted = Planted(tmp_path, d, origin=3.0 if code == "origin" else 0.0)
    values = {"size": planted.size, "last": planted.size - 1, "origin": -6.0}
    cases = tuple(f"{n:02d}" for n in range(0, 14, every))
    for n in range(0, 14, every):
        points = planted.points(n)
        points[4] = values.get(code, code)
        planted.change(n, points)
    finding = planted.only_finding()
    assert (finding.severity, finding.kind) == ("error", "code for missing")
    assert finding.cases == cases
    assert finding.landmarks == ("e",)
    if code == "origin":
        assert f"exactly {', '.join('0' * d)} mm" in finding.what
    assert f"In {len(cases)} of 14 cases: e {len(cases)}." in finding.detail


def test_one_point_in_the_corner_is_a_note(tmp_path):
    planted = Planted(tmp_path, 2)
    points = planted.points(3)
    points[2] = 0.0
    planted.change(3, points)
    finding = planted.only_finding()
    assert (finding.severity, finding.kind) == ("note", "code for missing")
    assert (finding.cases, finding.landmarks) == (("03",), ("c",))


def test_several_landmarks_of_one_code_are_one_finding(tmp_path):
    planted = Planted(tmp_path, 2)
    for n in (1, 5, 8):
        points = planted.points(n)
        points[[1, n - 1]] = 0.0
        planted.change(n, points)
    finding = planted.only_finding()
    assert finding.kind == "code for missing"
    assert set(finding.landmarks) == {"a", "b", "e", "h"}


def test_landmarks_in_whole_pixels_coincide_by_chance(tmp_path):
    planted = Planted(tmp_path, 2)
    for n in range(14):
        points = planted.points(n)
        points[:] = np.rint(points)
        points[3] = [44.0 + n % 4, 30.0 + n % 3]  # within a few pixels
        planted.change(n, points)
    assert "code for missing" not in kinds(planted.check())


# --- Landmarks and labels ---


def test_a_set_without_a_point(tmp_path):
    planted = Planted(tmp_path, 2)
    for n in range(14):
        planted.change(n, np.full((8, 2), np.nan))
    finding = planted.only_finding()
    assert (finding.severity, finding.kind) == ("error", "no points")
    assert finding.what == "No case has a point."


@BOTH
def test_two_views_are_a_note_and_both_are_checked(tmp_path, d):
    names = (*NAMES, *(f"frontal {name}" for name in NAMES))
    schema = type(FACE_SCHEMA)(names)
    planted = Planted(tmp_path, d)
    planted.schema = schema
    wrong = planted.points(3)
    wrong[:, :2] = wrong[:, 1::-1]
    planted.change(3, wrong)
    frontal = Planted(tmp_path, d, FACE)
    for n in range(14):
        points = np.full((16, d), np.nan)
        if n % 2:
            points[:8] = planted.points(n)
        else:
            planted.images[n] = frontal.images[n]
            points[8:] = frontal.points(n)
        planted.change(n, points, labels=names[:8] if n % 2 else names[8:])
    result = planted.check()
    assert kinds(result) == [
        "missing landmarks",
        "several kinds of images",
        "swapped axes",
    ]
    (views,) = [f for f in result.findings if f.kind == "several kinds of images"]
    (swapped,) = [f for f in result.findings if f.kind == "swapped axes"]
    assert swapped.cases == ("03",)
    assert views.severity == "note"
    assert "2 groups of cases without a common landmark" in views.what
    assert "7 cases, such as 00, have frontal a, " in views.detail
    assert "7 cases, such as 01, have a, b, c" in views.detail
    assert not any("SVD" in f.message for f in result.findings)


def test_two_views_with_some_landmarks_in_common(tmp_path):
    planted = Planted(tmp_path, 2)
    for double in range(2):  # 28 cases
        for n in range(14):
            points = planted.points(n)
            points[[0, 1] if n % 2 else [2, 3]] = np.nan
            if double:
                case = dataclasses.replace(planted.cases[n], id=f"again {n}")
                planted.cases.append(case)
            else:
                planted.change(n, points)
    planted.images *= 2
    (views,) = [f for f in planted.check().findings if "kinds" in f.kind]
    assert views.what == "Some landmarks are never in the same case."
    assert "have a, b;" in views.detail and "have c, d." in views.detail


@pytest.mark.parametrize("kind", ["other view", "mirrored"])
def test_two_kinds_of_shapes_of_the_same_landmarks(tmp_path, kind):
    planted = Planted(tmp_path, 2)
    other = Planted(tmp_path, 2, FACE)
    for n in range(0, 14, 2):
        if kind == "other view":
            planted.images[n] = other.images[n]
            planted.change(n, other.points(n))
        else:
            points = planted.points(n)
            points[:, 0] = planted.size[0] - 1 - points[:, 0]
            planted.change(n, points)
            planted.images[n] = planted.images[n][:, ::-1].copy()
    finding = planted.only_finding()
    assert (finding.severity, finding.kind) == ("note", "several kinds of images")
    assert ("mirror images" in finding.what) == (kind == "mirrored")
    assert "7 are like" in finding.detail and "7 like" in finding.detail
    even, odd = sorted(finding.cases, key=lambda id: int(id) % 2)
    assert int(even) % 2 == 0 and int(odd) % 2 == 1


@pytest.mark.parametrize(
    "a, b",
    [
        ("Sella", "sella"),
        ("upper incisor", "Upper_Incisors"),
        ("A-point", "A point "),
        ("p1", "p01"),
        ("3", "3.0"),
        ("Go\u0301nion", "G\u00f3nion"),
    ],
)
def test_spellings_of_one_label(a, b):
    assert normal_form(a) == normal_form(b)


@pytest.mark.parametrize(
    "a, b",
    [("p1", "p10"), ("10", "1"), ("3.5", "35.0"), ("left", "right"), ("as", "a")],
)
def test_labels_of_two_landmarks(a, b):
    assert normal_form(a) != normal_form(b)


def test_spellings_are_not_two_views(tmp_path):
    planted = Planted(tmp_path, 2)
    planted.schema = type(FACE_SCHEMA)((*NAMES, *(name.upper() for name in NAMES)))
    for n in range(14):
        points = np.full((16, 2), np.nan)
        columns = slice(0, 8) if n % 2 else slice(8, 16)
        points[columns] = planted.points(n)
        planted.change(n, points, labels=planted.schema.names[columns])
    assert kinds(planted.check()) == ["missing landmarks", "spelling of labels"]


@pytest.mark.parametrize("count", [2, 7])
def test_labels_that_differ_in_case_are_one_error(tmp_path, count):
    planted = Planted(tmp_path, 2)
    for n in range(count):
        points = planted.points(n)
        points[1] = np.nan
        planted.change(n, points, labels=("a", "B ", *NAMES[2:]))
    errors = [f for f in planted.check().findings if f.severity == "error"]
    (finding,) = errors
    assert finding.kind == "spelling of labels"
    assert "'b' (" in finding.detail and f"'B ' ({count})" in finding.detail


def test_labels_of_one_file_are_never_spellings(tmp_path):
    planted = Planted(tmp_path, 2)
    planted.schema = type(FACE_SCHEMA)(("a", "A", *NAMES[2:]))
    for n in range(14):
        planted.change(n, labels=planted.schema.names)
    assert planted.check().findings == ()


# --- Too few images ---


@pytest.mark.parametrize("count, tested", [(9, False), (10, True)])
def test_the_number_of_images_that_an_exchange_needs(tmp_path, count, tested):
    planted = keep(Planted(tmp_path, 2), count)
    planted.change(6, planted.points(6)[[0, 7, 2, 3, 4, 5, 6, 1]])
    result = planted.check()
    sentence = (
        "Exchanged and misplaced landmarks of single images: at least 10 patients with "
        "4 or more landmarks are needed. Received: 9."
    )
    assert (sentence in result.not_tested) == (not tested)
    assert ("exchanged landmarks" in kinds(result)) == tested
    assert result.to_dict()["not_tested"] == list(result.not_tested)
    page = write_page(result, tmp_path).read_text("utf-8")
    assert (sentence in page) == (not tested)


def test_landmarks_of_few_images_are_named(tmp_path):
    planted = Planted(tmp_path, 2, FACE, FACE_SCHEMA)
    for n in range(6):
        points = planted.points(n)
        points[3] = np.nan
        planted.change(n, points)
    assert planted.check().not_tested == (
        "Exchanged and misplaced landmarks that fewer than 10 images have: d 8.",
    )


def test_all_has_been_tested(tmp_path):
    assert Planted(tmp_path, 2, FACE, FACE_SCHEMA).check().not_tested == ()


def test_the_command_prints_what_was_not_tested(tmp_path):
    from click.testing import CliRunner

    for n in range(2):
        noise = np.random.default_rng(n).integers(0, 255, (40, 50), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{n}.png")
    (tmp_path / "p.csv").write_text("image,a_x,a_y\n0,3,4\n1,5,7\n")
    out = tmp_path / "found.txt"
    result = CliRunner().invoke(
        main, ["datasets", "check", str(tmp_path), "--json", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert "Not tested: Coordinates of the whole set" in result.output
    assert len(json.loads(out.read_text())["not_tested"]) >= 3
    assert check_folder(tmp_path).errors == 0


# --- Files ---


@pytest.mark.parametrize("form", ["wide", "long"])
def test_rows_that_are_broken_are_named_and_the_others_checked(tmp_path, form):
    planted = Planted(tmp_path, 2)
    planted.change(6, planted.points(6)[[0, 7, 2, 3, 4, 5, 6, 1]])
    rows = []
    for n, image in enumerate(planted.images):
        Image.fromarray(image).save(tmp_path / f"{n}.png")
        points = [[f"{v:.2f}" for v in point] for point in planted.points(n)]
        if n == 2:
            points[3][0] = "left"
        if n == 9:
            points[7] = points[7][:1]  # a column too few
        if form == "wide":
            rows.append([str(n), *(v for point in points for v in point)])
        else:
            pairs = zip(NAMES, points, strict=True)
            rows += [[str(n), name, *point] for name, point in pairs]
    columns = [f"{name}_{axis}" for name in NAMES for axis in "xy"]
    if form == "long":
        columns = ["label", "x", "y"]
    rows.insert(0, ["image", *columns])
    (tmp_path / "p.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    result = check_folder(tmp_path)
    assert sum(result.splits.values()) == 12
    messages = [f.message for f in result.findings if f.kind == "file"]
    lines = (4, 11) if form == "wide" else (2 + 2 * 8 + 3, 2 + 9 * 8 + 7)
    assert len(messages) == 2
    for line in lines:
        assert any(f"p.csv, line {line}" in message for message in messages), messages
    (exchanged,) = [f for f in result.findings if f.kind == "exchanged landmarks"]
    assert exchanged.cases == ("6",)


def test_all_files_are_named_if_there_are_no_points(tmp_path):
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(b"")
    (tmp_path / "p.csv").write_text("image,a_x\n0,3\n")
    result = check_folder(tmp_path)
    messages = [finding.message for finding in result.findings]
    assert result.errors == len(messages)
    for name in ("0.png", "1.png", "2.png", "p.csv"):
        assert sum(name in message for message in messages) == 1, name


def test_names_are_only_names(tmp_path, capsys):
    import rich.console

    from scn_keras.datasets.check import print_result

    planted = Planted(tmp_path, 2)
    points = planted.points(3)
    points[2] = 0.0
    id = "[red]\x1b[31m$x$<script>\udce9"
    planted.change(3, points, id=id, labels=())
    result = planted.check()
    page = write_page(result, tmp_path / "out").read_text("utf-8")
    shown = r"[red]\x1b[31m$x$&lt;script&gt;\xe9"
    assert shown in page and "<script>" not in page
    print_result(result, rich.console.Console(width=200))
    assert r"[red]\x1b[31m$x$<script>\xe9" in capsys.readouterr().out
