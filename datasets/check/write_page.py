import base64
import html
import itertools
import os
import string
from importlib import resources
from pathlib import Path

from rich import progress

import scn_keras
from scn_keras.datasets.check.check_result import CheckResult
from scn_keras.datasets.check.finding import Finding
from scn_keras.datasets.check.picture import PANEL_PIXELS, draw_finding
from scn_keras.datasets.check.sample_picture import draw_sample
from scn_keras.files.atomic_write import write_text
from scn_keras.files.shown_text import shown_text

# About 20 MB, which browsers open.
_MAX_PICTURES = 100


def write_page(result: CheckResult, folder: str | os.PathLike[str]) -> Path:
    """Writes all findings and some samples to `check.html`, which needs no other file.

    Args:
        result: `CheckResult`.
        folder: Str or path, created if it does not exist.

    Returns:
        The path of the page.
    """
    findings = progress.track(result.findings, "draw pictures", transient=True)
    cards = [(f, _card(f, result, number)) for number, f in enumerate(findings)]
    sections = [
        _section(f"{severity.capitalize()}s", "".join(card for _, card in group))
        for severity, group in itertools.groupby(cards, lambda pair: pair[0].severity)
    ]
    page = string.Template(
        resources.files(__package__).joinpath("check_page.html").read_text("utf-8")
    ).substitute(
        title=_text(f"Check of {result.folder.name}"),
        summary=_text(result.summary),
        sections="".join(sections) or "<p>Nothing was found.</p>",
        not_tested=_not_tested(result),
        samples=_samples(result),
        footer=_text(f"scn-keras {scn_keras.__version__}, {result.folder}"),
    )
    path = Path(folder).expanduser() / "check.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _section(title: str, cards: str, intro: str = "") -> str:
    about = f'<p class="soft">{_text(intro)}</p>\n' if intro else ""
    return f'<h2>{_text(title)}</h2>\n{about}<div class="cards">\n{cards}</div>\n'


def _samples(result: CheckResult) -> str:
    """Returns the section with images and points as they were read."""
    if result.schema is None:
        return ""
    cards = ""
    for view in progress.track(result.samples, "draw samples", transient=True):
        image = draw_sample(view, result.schema)
        if image is not None:
            wide = view.points is not None and view.points.shape[-1] == 3
            picture = _picture(image, "jpeg", f"{view.case.id} with its points")
            cards += f'<div class="card{" wide" if wide else ""}">{picture}</div>\n'
    if not cards:
        return ""
    intro = (
        "Some of the images with their points, as they were read. Each name should be "
        "at its structure, and left and right should not be exchanged."
    )
    return _section("Samples", cards, intro)


def _picture(image: bytes, kind: str, alt: str) -> str:
    code = base64.b64encode(image).decode()
    return f'<img src="data:image/{kind};base64,{code}" alt="{_text(alt)}">'


def _not_tested(result: CheckResult) -> str:
    if not result.not_tested:
        return ""
    items = "".join(f"<li>{_text(s)}</li>\n" for s in result.not_tested)
    return f"<h2>Not tested</h2>\n<ul>\n{items}</ul>"


def _text(text: str) -> str:
    return html.escape(shown_text(text))


def _card(finding: Finding, result: CheckResult, number: int) -> str:
    image = None
    if finding.views and result.schema is not None and number < _MAX_PICTURES:
        image = draw_finding(finding, result.schema)
    cases = ", ".join(finding.cases[:20])
    if len(finding.cases) > 20:
        cases += f" and {len(finding.cases) - 20} more"
    files = ", ".join(finding.files[:4]) + (", ..." if len(finding.files) > 4 else "")
    # Bytes 16 to 20 of a PNG file are its width; panels are side by side.
    panels = int.from_bytes(image[16:20]) // PANEL_PIXELS if image else 1
    size = {1: "", 2: " pair"}.get(panels, " wide")
    lines = [
        f'<div class="card {finding.severity}{size}">',
        f"<h3>{_text(finding.kind.capitalize())}</h3>",
        f"<b>{_text(cases)}</b> <span class=soft>{finding.severity}</span>",
        f"<p>{_text(finding.message)}</p>",
    ]
    if files:
        lines.append(f'<p class="soft">{_text(files)}</p>')
    if finding.views and number >= _MAX_PICTURES:
        lines.append(f"<p class=soft>Only the first {_MAX_PICTURES} are drawn.</p>")
    if image is not None:
        lines.append(_picture(image, "png", f"{finding.what} {cases}"))
    return "\n".join([*lines, "</div>\n"])
