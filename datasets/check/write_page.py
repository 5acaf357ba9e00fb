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
from scn_keras.datasets.check.picture import draw_finding
from scn_keras.files.atomic_write import write_text
from scn_keras.files.shown_text import shown_text

# About 15 MB, which browsers open.
_MAX_PICTURES = 100


def write_page(result: CheckResult, folder: str | os.PathLike[str]) -> Path:
    """Writes all findings with pictures to `check.html`, which needs no other file.

    Args:
        result: `CheckResult`.
        folder: Str or path, created if it does not exist.

    Returns:
        The path of the page.
    """
    findings = progress.track(result.findings, "draw pictures", transient=True)
    cards = [(f, _card(f, result, number)) for number, f in enumerate(findings)]
    sections = [
        f"<h2>{_text(kind.capitalize())}</h2>\n"
        f'<div class="findings">\n{"".join(card for _, card in group)}</div>\n'
        for kind, group in itertools.groupby(cards, lambda pair: pair[0].kind)
    ]
    page = string.Template(
        resources.files(__package__).joinpath("check_page.html").read_text("utf-8")
    ).substitute(
        title=_text(f"Check of {result.folder.name}"),
        summary=_text(result.summary),
        sections="".join(sections) or "<p>Nothing was found.</p>",
        not_tested=_not_tested(result),
        footer=_text(f"scn-keras {scn_keras.__version__}, {result.folder}"),
    )
    path = Path(folder).expanduser() / "check.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


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
    # Bytes 16 to 20 of a PNG file are its width: volumes have three panels and more.
    wide = " wide" if image and int.from_bytes(image[16:20]) > 1000 else ""
    lines = [
        f'<div class="finding {finding.severity}{wide}">',
        f"<b>{_text(cases)}</b> <span class=soft>{finding.severity}</span>",
        f"<p>{_text(finding.message)}</p>",
    ]
    if files:
        lines.append(f'<p class="soft">{_text(files)}</p>')
    if finding.views and number >= _MAX_PICTURES:
        lines.append(f"<p class=soft>Only the first {_MAX_PICTURES} are drawn.</p>")
    if image is not None:
        code = base64.b64encode(image).decode()
        alt = _text(f"{finding.what} {cases}")
        lines.append(f'<img src="data:image/png;base64,{code}" alt="{alt}">')
    return "\n".join([*lines, "</div>\n"])
