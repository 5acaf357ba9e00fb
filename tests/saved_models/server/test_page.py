"""The page of `scn-keras serve` in a real browser."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.saved_models.conftest import POINT

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed."
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="There is no Chromium on this machine."
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield made
        made.close()


@pytest.fixture(params=["desktop", "phone in the dark"])
def page(request, browser, address):
    phone = {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "dark",
    }
    context = browser.new_context(**(phone if "phone" in request.param else {}))
    made = context.new_page()
    made.set_default_timeout(60_000)
    wrong = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    foreign = []
    made.on(
        "request",
        lambda r: (
            r.url.startswith(("http:", "https:"))
            and not r.url.startswith(address)
            and foreign.append(r.url)
        ),
    )
    made.goto(address)
    playwright.expect(made).to_have_title(re.compile("^blob"), timeout=30_000)
    made.wrong = wrong
    yield made
    assert foreign == []
    context.close()


def ask(page, path):
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#result:not([hidden])")


def test_an_image_gets_its_points_where_they_are_on_the_screen(page, png, tmp_path):
    page.fill("#spacing_x", "0,1")
    ask(page, png)
    assert page.locator("#points .point").count() == 2
    picture = page.locator("#image").bounding_box()
    dot = page.locator(".point .dot").first.bounding_box()
    scale = picture["width"] / 300
    for side, extent, place in (("x", "width", POINT[0]), ("y", "height", POINT[1])):
        middle = dot[side] + dot[extent] / 2 - picture[side]
        assert middle == pytest.approx((place + 0.5) * scale, abs=1.5)
    assert page.locator("#rows tr").count() == 2
    cells = page.locator("#rows tr").first.locator("td").all_inner_texts()
    assert [float(cell) for cell in cells[:2]] == pytest.approx([12.3, 21.1], abs=0.1)
    # The whole page fits into the window's width.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.wrong == []


def test_landmarks_are_named_by_pointer_and_by_keyboard(page, png):
    ask(page, png)
    page.locator("#rows tr").first.click()
    assert page.locator("#points .tag").text_content() == "bright"
    assert "bright" in page.locator("#picked").inner_text()
    page.locator(".point").nth(1).focus()
    assert page.locator("#points .tag").text_content() == "dark"
    label = page.locator(".point").first.get_attribute("aria-label")
    assert label.startswith("bright: ") and "px" in label


def test_points_can_be_downloaded(page, png, tmp_path):
    ask(page, png)
    for link, name in (("#markups", "blob.mrk.json"), ("#csv", "blob.csv")):
        with page.expect_download() as waiting:
            page.click(link)
        assert waiting.value.suggested_filename == name
        waiting.value.save_as(tmp_path / name)
    markups = json.loads((tmp_path / "blob.mrk.json").read_text())
    labels = [p["label"] for p in markups["markups"][0]["controlPoints"]]
    assert labels == ["bright", "dark"]
    assert (tmp_path / "blob.csv").read_text().startswith("file,landmark,x_px")


def test_the_heatmap_lies_over_the_image(page, png, served):
    if "heatmaps" not in served.signatures:
        assert page.locator("#stages").is_hidden()
        return
    ask(page, png)
    page.locator("#rows tr").first.click()
    page.check("[value=product]")
    page.wait_for_selector("#heat:not([hidden])")
    picture = page.locator("#image").bounding_box()
    heat = page.locator("#heat").bounding_box()
    # The letterbox of 400 x 300 in 64 x 48 has no margin.
    for side in ("x", "y", "width", "height"):
        assert heat[side] == pytest.approx(picture[side], abs=2.0)
    brightest = page.evaluate(
        """() => {
          const canvas = document.getElementById("heat");
          const { data } = canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height);
          let best = 0;
          for (let i = 0; i < data.length / 4; i++)
            if (data[4 * i] > 200 && data[4 * i + 3] > data[4 * best + 3]) best = i;
          return [best % canvas.width, Math.floor(best / canvas.width)];
        }"""
    )
    # Alpha is at its end around the peak: within three pixels of the grid.
    place = [(value + 0.5) * 6.25 - 0.5 for value in brightest]
    np.testing.assert_allclose(place, POINT, atol=3 * 6.25)
    page.check("[value='']")
    assert page.locator("#heat").is_hidden()


def landmark(name, **known):
    unknown = dict.fromkeys(("px", "mm", "score", "radius90", "present"))
    return {"name": name, **unknown, **known}


def answer_of(*landmarks, **known):
    unknown = dict.fromkeys(("trusted", "spacing", "image", "csv", "markups"))
    fixed = {"calibrated": False, "notes": [], "size": [300, 400]}
    return {**unknown, **fixed, "landmarks": landmarks, **known}


def test_an_untrusted_image_gets_a_warning(page, png):
    answer = answer_of(
        landmark(
            *("<i>a</i>",),
            **{"px": [60, 80], "mm": [6, 16], "score": 0.9},
            **{"radius90": 2.0, "present": True},
        ),
        landmark(
            *("b",),
            **{"px": [90, 90], "mm": [9, 18], "score": 0.1},
            **{"radius90": 9.0, "present": False},
        ),
        **{"calibrated": True, "trusted": False, "notes": ["<b>note</b>"]},
        **{"spacing": [0.1, 0.2], "csv": "", "markups": ""},
    )
    page.route("**/page/locate*", lambda route: route.fulfill(json=answer))
    page.evaluate("model.has_calibration = true")
    ask(page, png)
    verdict = page.locator("#verdict")
    assert "Do not trust" in verdict.inner_text()
    assert "1 of 2 landmarks are probably not in the image" in verdict.inner_text()
    assert page.locator(".point.absent").count() == 1
    picture = page.locator("#image").bounding_box()
    circle = page.locator(".point .radius").first.bounding_box()
    scale = picture["width"] / 300
    assert circle["width"] == pytest.approx(2 * 20 * scale, abs=3)
    assert circle["height"] == pytest.approx(2 * 10 * scale, abs=3)
    # Text is text, whatever a file is called.
    assert page.locator("#rows i, #notes b").count() == 0
    answer["trusted"] = True
    page.click("#again")
    page.wait_for_selector("#verdict.good")


PX = {"px": [150.0, 200.0]}


# Answers, the size of the circle, and what is written of the landmark.
UNKNOWN = [
    # A calibrated model and an image without a spacing.
    (
        answer_of(landmark("a", **PX, score=0.5, radius90=30.0), trusted=True),
        (60, 60),
        "a: 150.0, 200.0 px, within 30.0 px nine times in ten, score 0.50",
    ),
    (answer_of(landmark("a", **PX)), None, "a: 150.0, 200.0 px, score –"),
    (
        answer_of(
            landmark("a", **PX, mm=[15.0, 40.0], radius90=3.0),
            **{"calibrated": True, "spacing": [0.1, 0.2]},
        ),
        (60, 30),
        "a: 15.0, 40.0 mm, within 3.0 mm nine times in ten, score –",
    ),
    (
        answer_of(landmark("a", **PX, radius90=3.0), calibrated=True),
        None,
        "a: –, – mm, within 3.0 mm nine times in ten, score –",
    ),
    (answer_of(landmark("a", radius90=3.0, present=False)), None, "a: not found"),
]


def test_whatever_is_not_known_the_rest_is_shown(page, png):
    page.evaluate("model.schema.links = [[0, 0]]")
    for answer, circle, words in UNKNOWN:
        shows(page, png, answer, circle, words)
    assert page.wrong == []


def shows(page, png, answer, circle, words):
    page.unroute_all()
    page.route("**/page/locate*", lambda route: route.fulfill(json=answer))
    with page.expect_response("**/page/locate*"):
        page.set_input_files("#file", str(png))
    playwright.expect(page.locator("#status")).to_have_text(
        "Found 1 landmarks in blob.png."
    )
    page.locator("#rows tr").first.click()
    assert page.inner_text("#picked") == words
    has_point = answer["landmarks"][0]["px"] is not None
    assert page.locator(".point").count() == page.locator(".tag").count() == has_point
    assert page.locator(".point .radius").count() == (circle is not None)
    assert page.locator("#csv").is_hidden() and page.locator("#markups").is_hidden()
    if circle is not None:
        box = page.locator(".point .radius").bounding_box()
        scale = page.locator("#image").bounding_box()["width"] / 300
        for side, size in zip(("width", "height"), circle, strict=True):
            assert box[side] == pytest.approx(size * scale, abs=3)
    if not has_point:
        assert "1 of 1 landmarks were not found" in page.inner_text("#verdict")


def test_nothing_is_cut_at_any_width(page, png):
    landmarks = [
        landmark(f"anterior nasal spine {n}", px=px, score=0.5, radius90=111.1)
        for n, px in enumerate(([1200, 3], [-0.4, 2000], [2399.4, 2999]))
    ]
    answer = answer_of(*landmarks, size=[2400, 3000], csv="", markups="")
    page.route("**/page/locate*", lambda route: route.fulfill(json=answer))
    ask(page, png)
    for width in (320, 800, 2560):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        table = page.locator(".table")
        assert table.evaluate("(table) => table.scrollWidth <= table.clientWidth")
        for row in page.locator("#rows tr").all():
            row.click()
            tag = page.locator(".tag").bounding_box()
            stage = page.locator("#stage").bounding_box()
            for side, extent in (("x", "width"), ("y", "height")):
                assert tag[side] >= stage[side] - 2.0
                end = stage[side] + stage[extent] + 2.0
                assert tag[side] + tag[extent] <= end


def test_an_image_that_the_browser_cannot_show_has_its_points(page, png):
    damaged = "data:image/png;base64,AAAA"
    answer = answer_of(landmark("a", **PX), image=damaged)
    page.route("**/page/locate*", lambda route: route.fulfill(json=answer))
    ask(page, png)
    assert "cannot show the image" in page.inner_text("#notes")
    stage = page.locator("#stage").bounding_box()
    assert stage["height"] / stage["width"] == pytest.approx(4 / 3, abs=0.01)
    dot = page.locator(".point .dot").bounding_box()
    assert dot["y"] > stage["y"] + 0.4 * stage["height"]


@pytest.fixture
def turned(tmp_path):
    """A photograph of 400 x 300 pixels, to be turned by a right angle."""
    tag = Image.Exif()
    tag[0x0112] = 6
    path = tmp_path / "photograph.jpg"
    Image.fromarray(np.full((400, 300), 90, np.uint8)).save(path, exif=tag)
    return path


def test_a_turned_photograph_is_refused_with_what_to_do(page, turned):
    page.set_input_files("#file", str(turned))
    page.wait_for_selector("#status.error")
    assert "orientation" in page.inner_text("#status")
    assert "scn-keras turn" in page.inner_text("#status")


def test_models_of_before_see_a_turned_photograph_as_it_is_shown(page, turned):
    answer = answer_of(landmark("a", px=POINT))
    page.route("**/page/locate*", lambda route: route.fulfill(json=answer))
    ask(page, turned)
    picture = page.locator("#image").bounding_box()
    assert picture["height"] / picture["width"] == pytest.approx(4 / 3, abs=0.01)
    dot = page.locator(".point .dot").first.bounding_box()
    middle = dot["x"] + dot["width"] / 2 - picture["x"]
    place = (POINT[0] + 0.5) * picture["width"] / 300
    assert middle == pytest.approx(place, abs=2.0)


def test_what_cannot_be_read_is_said(page, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no image")
    page.set_input_files("#file", str(bad))
    page.wait_for_selector("#status.error")
    assert "no PNG, JPEG, BMP or DICOM" in page.inner_text("#status")
    assert page.locator("#result").is_hidden()
