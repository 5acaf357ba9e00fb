"""The slides of the lecture: from Markdown to one file of HTML that loads nothing.

`slides.md` is in the form of reveal.js: slides are separated by a line `---`, and the
lines after `Note:` are for the speaker. A comment at the beginning of a slide contains
its settings: `<!-- part: Decoding; minutes: 2; layout: wide -->`.
"""

import base64
import dataclasses
import html
import importlib.resources
import mimetypes
import pathlib
import re
import sys
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from sphinx.application import Sphinx

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "lecture"
SIZE = (1280, 720)

_SETTINGS = re.compile(r"\A\s*<!-- (.+?) -->\s*", re.DOTALL)
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)\s]+\)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Beside: text on the left, pictures on the right. Wide: pictures below the text.
LAYOUTS = ("beside", "wide", "title")


@dataclasses.dataclass(frozen=True)
class Slide:
    """One slide.

    Args:
        text: Markdown, with the heading and without notes.
        notes: Markdown for the speaker.
        part: The part of the lecture that the slide belongs to.
        minutes: Planned time.
        layout: One of `LAYOUTS`.
    """

    text: str
    notes: str
    part: str
    minutes: float
    layout: str


def read_slides(text: str) -> list[Slide]:
    """Returns the slides of a file; a `ValueError` states what is wrong with one."""
    slides: list[Slide] = []
    for number, piece in enumerate(re.split(r"^---$", text, flags=re.MULTILINE), 1):
        found = _SETTINGS.match(piece)
        pairs = found[1].split(";") if found else []
        settings = {
            k.strip(): v.strip() for k, _, v in (p.partition(":") for p in pairs)
        }
        body, _, notes = piece[found.end() if found else 0 :].partition("\nNote:\n")
        wrong = settings.keys() - {"part", "minutes", "layout"}
        layout = settings.get("layout", "beside")
        if wrong or layout not in LAYOUTS:
            raise ValueError(
                f"Slide {number} has settings that do not exist: {settings}. There are "
                f"part, minutes and layout, which is one of {', '.join(LAYOUTS)}."
            )
        if not notes.strip() or not settings.get("minutes"):
            raise ValueError(
                f"Slide {number} has no notes or no minutes. Begin it with a comment "
                "like <!-- minutes: 2 -->; end it with a line 'Note:' and its notes. "
                f"It begins with {body.strip()[:50]!r}."
            )
        part = settings.get("part") or (slides[-1].part if slides else "")
        minutes = float(settings["minutes"])
        slides.append(Slide(body.strip(), notes.strip(), part, minutes, layout))
    return slides


def minutes_of_parts(slides: list[Slide]) -> dict[str, float]:
    """Returns the planned minutes of each part, in their order."""
    minutes: dict[str, float] = {}
    for slide in slides:
        minutes[slide.part] = minutes.get(slide.part, 0.0) + slide.minutes
    return minutes


def data_uri(path: pathlib.Path) -> str:
    """Returns the content of a picture as a URI."""
    kind = mimetypes.types_map.get(path.suffix, "image/webp")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def markdown(folder: pathlib.Path) -> MarkdownIt:
    """Returns a parser whose pictures, from `folder`, become a part of the page."""
    parser = MarkdownIt("commonmark", {"highlight": _highlight}).enable("table")
    parser.use(dollarmath_plugin, renderer=_formula, allow_labels=False)
    draw = parser.renderer.rules["image"]  # type: ignore[attr-defined]

    def image(tokens: Any, index: int, options: Any, env: Any) -> str:
        path = folder / str(tokens[index].attrs["src"])
        if not path.is_file():
            raise ValueError(f"There is no picture {path}.")
        tokens[index].attrs["src"] = data_uri(path)
        return draw(tokens, index, options, env)

    parser.renderer.rules["image"] = image  # type: ignore[attr-defined]
    return parser


def _formula(text: str, options: dict[str, Any]) -> str:
    return convert(text, display="block" if options["display_mode"] else "inline")


def _highlight(code: str, language: str, _: str) -> str:
    if not language:
        return html.escape(code)
    formatter = HtmlFormatter(nowrap=True, noclasses=True, style="xcode")
    return highlight(code, get_lexer_by_name(language), formatter)


def slide_html(slide: Slide, parser: MarkdownIt) -> str:
    """Returns the `<section>` of a slide."""
    heading, _, text = slide.text.partition("\n")
    hidden = [match.span() for match in _FENCED.finditer(text)]
    pictures = [
        match[0]
        for match in _PICTURE.finditer(text)
        if not any(start <= match.start() < end for start, end in hidden)
    ]
    for picture in pictures:
        text = text.replace(picture, "", 1)
    columns = f'<div class="text">{parser.render(text)}</div>' if text.strip() else ""
    if pictures:
        drawn = "".join(map(parser.renderInline, pictures))
        columns += f'<div class="pictures">{drawn}</div>'
    layout = slide.layout if pictures or slide.layout != "beside" else "wide"
    return (
        f'<section class="{layout}" data-timing="{round(slide.minutes * 60)}" '
        f'data-part="{html.escape(slide.part)}">{parser.render(heading)}'
        f'<div class="columns">{columns}</div>'
        f'<div class="part">{html.escape(slide.part)}</div>'
        f'<aside class="notes">{parser.render(slide.notes)}</aside></section>\n'
    )


def build_deck(source: pathlib.Path) -> str:
    """Returns the slides of a Markdown file as one page that loads no other file."""
    slides = read_slides(source.read_text("utf-8"))
    parser = markdown(source.parent)
    # reveal.js, MIT licence, as a part of the Python package sphinx-revealjs.
    reveal = importlib.resources.files("sphinx_revealjs") / "_static/revealjs"
    read = {
        "reset": (reveal / "dist/reset.css").read_text("utf-8"),
        "reveal_css": (reveal / "dist/reveal.css").read_text("utf-8"),
        "reveal": (reveal / "dist/reveal.js").read_text("utf-8"),
        "notes": (reveal / "plugin/notes/notes.js").read_text("utf-8"),
        "style": pathlib.Path(__file__).with_name("lecture.css").read_text("utf-8"),
        "title": html.escape(slides[0].text.partition("\n")[0].lstrip("# ")),
        "slides": "".join(slide_html(slide, parser) for slide in slides),
        "width": str(SIZE[0]),
        "height": str(SIZE[1]),
    }
    page = pathlib.Path(__file__).with_name("lecture.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: read[match[1]], page)


def write_deck(folder: pathlib.Path) -> pathlib.Path:
    """Writes the slides to a folder and returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "slides.html"
    file.write_text(build_deck(FOLDER / "slides.md"), "utf-8")
    return file


def _finished(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        write_deck(pathlib.Path(app.outdir) / "lecture")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", _finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    print(f"Open {write_deck(pathlib.Path(sys.argv[1]))}")
