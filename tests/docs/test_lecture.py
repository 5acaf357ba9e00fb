"""The lecture: minutes and points add up, and the slides work without other files."""

import importlib
import importlib.util
import re
import shutil
import sys

import pytest

from tests.docs.pages import DOCS
from tests.docs.test_site import URL, Page

pytest.importorskip("sphinx_revealjs", reason="pip install 'scn-keras[docs]'")

FOLDER = DOCS / "lecture"
SLIDES = FOLDER / "slides.md"
# A sentence is checked in one slide, everything else in the real ones.
SLIDE = "<!-- part: One; minutes: 1.5 -->\n## Title\n\nText.\n\nNote:\nNotes."


@pytest.fixture(scope="module")
def lecture():
    sys.path.insert(0, str(DOCS))
    try:
        yield importlib.import_module("_extensions.lecture")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def slides(lecture):
    return lecture.read_slides(SLIDES.read_text("utf-8"))


@pytest.fixture(scope="module")
def deck(lecture):
    return lecture.build_deck(SLIDES)


def test_minutes_add_up_to_90_and_are_those_of_the_plan(lecture, slides):
    assert 40 <= len(slides) <= 50
    plan = next(slide for slide in slides if slide.text.startswith("## Plan"))
    planned = dict(re.findall(r"^\| (.+?) \| (\d+) \|$", plan.text, re.MULTILINE))
    minutes = lecture.minutes_of_parts(slides)
    assert {part: float(number) for part, number in planned.items()} == minutes
    assert sum(minutes.values()) == 90


def test_every_slide_has_one_title_and_notes_worth_reading(slides):
    for slide in slides:
        text = re.sub(r"^```.*?^```$", "", slide.text, flags=re.M | re.S)
        assert len(re.findall(r"^#+ ", text, re.MULTILINE)) == 1, slide.text
        assert len(slide.notes) > 60, slide.text
    assert len({slide.text.partition("\n")[0] for slide in slides}) == len(slides)


def test_a_slide_is_read():
    from _extensions.lecture import read_slides

    (slide,) = read_slides(SLIDE)
    assert (slide.text, slide.notes) == ("## Title\n\nText.", "Notes.")
    assert (slide.part, slide.minutes, slide.layout) == ("One", 1.5, "beside")


@pytest.mark.parametrize(
    "text, sentence",
    [
        (SLIDE.replace("minutes: 1.5", "time: 3"), "settings that do not exist"),
        (SLIDE.replace("minutes: 1.5", "layout: tall"), "settings that do not exist"),
        (SLIDE.replace("Note:\n", ""), "has no notes or no minutes"),
        (SLIDE.replace("; minutes: 1.5", ""), "has no notes or no minutes"),
    ],
)
def test_what_is_wrong_with_a_slide_is_stated(lecture, text, sentence):
    with pytest.raises(ValueError, match=f"Slide 2 .*{sentence}"):
        lecture.read_slides(f"{SLIDE}\n---\n{text}")


def test_a_missing_picture_is_named(lecture, tmp_path):
    text = SLIDE.replace("Text.", "![A picture that is missing](none.png)")
    (tmp_path / "slides.md").write_text(text, "utf-8")
    with pytest.raises(ValueError, match="no picture .*none.png"):
        lecture.build_deck(tmp_path / "slides.md")


def test_pictures_are_drawn_ones_of_the_documentation(slides):
    figures = (DOCS / "figures").resolve()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", SLIDES.read_text("utf-8"))
    assert len(pictures) > 15
    for picture in pictures:
        assert (FOLDER / picture).resolve().is_relative_to(figures), picture
    drawn = {path.name for path in (figures / "lecture").iterdir()}
    scripts = "".join(p.read_text("utf-8") for p in figures.glob("lecture_*.py"))
    assert drawn == {f"{name}.png" for name in re.findall(r'save\(.*"(\w+)"', scripts)}


def test_the_deck_loads_nothing(deck):
    page = Page(deck)
    assert [load for load in page.loads if not load.startswith("data:")] == []
    assert all(image["alt"] for image in page.images) and len(page.images) > 15
    assert [link for link in page.links if URL.match(link)] == []
    assert "reveal.js 5" in deck and "MIT licensed" in deck  # its notice is kept
    assert len(deck) < 6_000_000


def test_points_of_the_marking_guide_add_up():
    questions = re.compile(r"^## (\d+)\. (.+?) \((\d+) points\)$", re.MULTILINE)
    sheet = (FOLDER / "exercises.md").read_text("utf-8")
    guide = (FOLDER / "marking.md").read_text("utf-8")
    asked = questions.findall(sheet)
    assert asked == questions.findall(guide) and len(asked) >= 6
    total = sum(int(points) for _, _, points in asked)
    assert f"{total} points" in sheet.partition("\n## ")[0]
    for part in re.split(r"^(?=## \d)", guide, flags=re.MULTILINE)[1:]:
        number, title, points = questions.match(part).groups()
        given = re.findall(r"^\| .+ \| (\d+) \|$", part, re.MULTILINE)
        assert sum(map(int, given)) == int(points), (number, title)
        assert "**Common errors**" in part, (number, title)


# What is not within its slide, is too small, or is not a part of the page.
CHECK = """() => {
  const slide = Reveal.getCurrentSlide(), wrong = [];
  const limit = slide.getBoundingClientRect();
  const parts = "h1, h2, .text > *, .pictures img, td, pre";
  for (const part of slide.querySelectorAll(parts)) {
    if (part.closest(".notes")) continue;
    const box = part.getBoundingClientRect();
    if (box.right > limit.right - 40 || box.bottom > limit.bottom - 44
        || part.scrollWidth > part.clientWidth + 2 && part.tagName == "PRE")
      wrong.push(`${part.tagName} reaches ${box.right}, ${box.bottom}`);
    if (parseFloat(getComputedStyle(part).fontSize) < 24)
      wrong.push(`${part.tagName} has small text`);
    if (part.tagName == "IMG" && !(part.naturalWidth > 0)) wrong.push("no picture");
    if (part.tagName == "IMG" && box.height < 150) wrong.push("a small picture");
  }
  for (const code of slide.querySelectorAll("code, math"))
    if (parseFloat(getComputedStyle(code).fontSize) < 24) wrong.push("small code");
  return wrong;
}"""


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("There is no Chromium on this machine.")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


def test_slides_in_a_browser(browser, deck, slides, tmp_path):
    """No slide overflows; keys, speaker view and print work; nothing is requested."""
    file = tmp_path / "slides.html"
    file.write_text(deck, "utf-8")
    wrong = []
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "about:", "blob:"))
            or wrong.append(request.url)
        ),
    )
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("Reveal.isReady()")
    for number, slide in enumerate(slides):
        title = slide.text.partition("\n")[0]
        assert page.evaluate("Reveal.getState().indexh") == number, title
        wrong += [f"{title}: {text}" for text in page.evaluate(CHECK)]
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    popup.value.wait_for_selector(".speaker-controls-notes .value p")
    notes = popup.value.inner_text(".speaker-controls-notes .value")
    assert "Before the lecture" in notes
    page.goto(f"{file.as_uri()}?print-pdf")
    page.wait_for_selector(".pdf-page")
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == len(slides)
    assert wrong == []
