"""The page of an explanation, self-contained HTML, and one picture of all figures."""

import html
import io
import pathlib
import string
from importlib import resources

from PIL import Image

from scn_keras.files.atomic_write import write_bytes, write_text
from scn_keras.files.shown_text import shown_text
from scn_keras.pictures import to_jpeg, to_png
from scn_keras.pictures.style import INK, PAPER, plain_text
from scn_keras.saved_models.explaining import texts
from scn_keras.saved_models.explaining.explanation import Explanation
from scn_keras.saved_models.explaining.figures import new_figure
from scn_keras.saved_models.explaining.parts import Part, Picture, parts_of
from scn_keras.training.report.fragments import picture

_PNG_WIDTH = 1400  # px


def write_explanation(
    explanation: Explanation, path: pathlib.Path
) -> list[pathlib.Path]:
    """Writes an explanation as a page, and all of its figures as one PNG beside it.

    The page contains its pictures and requires no other file or host.

    Args:
        explanation: `Explanation`.
        path: Path of the page, which ends in `.html`.

    Returns:
        The paths of both files.

    Example:

    ```python
    explanation = explain("synthetic_hand", "hand.png")
    write_explanation(explanation, pathlib.Path("hand.html"))
    ```
    """
    parts = [*parts_of(explanation)]
    png = path.with_suffix(".png")
    picture_bytes = _one_picture(explanation, parts)
    template = resources.files(__package__).joinpath("template.html")
    result = explanation.result
    title = f"{shown_text(result.file.name)}, explained"
    page = string.Template(template.read_text("utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(_subtitle(explanation)),
        sections="\n".join(_section(n, part) for n, part in enumerate(parts, 1)),
        notes="".join(texts.as_html(f"Note: {note}") for note in result.notes),
    )
    write_text(path, page)
    write_bytes(png, picture_bytes)
    return [path, png]


def _subtitle(explanation: Explanation) -> str:
    network = type(explanation.network).__name__
    count = len(explanation.schema)
    shown = ", ".join(explanation.schema.names[i] for i in explanation.landmarks)
    return (
        f"Model {explanation.name}: {network}, {count} landmarks. "
        f"Shown in detail: {shown}."
    )


def _section(number: int, part: Part) -> str:
    pictures = "".join(_embedded(part.title, p) for p in part.pictures)
    return (
        f"<section><h2>{number}. {html.escape(part.title)}</h2>"
        f"{texts.as_html(part.text)}{part.content}{pictures}</section>"
    )


def _embedded(title: str, p: Picture) -> str:
    alt = p.caption or title
    if p.kind in ("chart", "matrix"):
        content = picture(to_png(p.drawing, 130), "png", alt, p.caption)
    else:
        content = picture(to_jpeg(p.drawing, 130), "jpeg", alt, p.caption)
    return f'<div class="wide {p.kind}">{content}</div>'


def _one_picture(explanation: Explanation, parts: list[Part]) -> bytes:
    """Returns all figures below each other, as the bytes of a PNG file."""
    rows = [_heading(_subtitle(explanation), 9.0)]
    for number, part in enumerate(parts, 1):
        if part.pictures:
            rows.append(_heading(f"{number}. {part.title}", 12.0))
        for p in part.pictures:
            width = _PNG_WIDTH // 2 if p.kind == "plane" else _PNG_WIDTH
            if p.caption:
                rows.append(_heading(p.caption, 9.0))
            rows.append(to_png(p.drawing, round(width / p.drawing.get_figwidth())))
    images = [Image.open(io.BytesIO(row)).convert("RGB") for row in rows]
    height = sum(image.height for image in images)
    whole = Image.new("RGB", (_PNG_WIDTH, height), PAPER)
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    file = io.BytesIO()
    whole.save(file, "PNG")
    return file.getvalue()


def _heading(text: str, size: float) -> bytes:
    drawing = new_figure(10.0, 0.4)
    drawing.text(0.01, 0.5, plain_text(text), color=INK, fontsize=size, va="center")
    return to_png(drawing, _PNG_WIDTH // 10)
