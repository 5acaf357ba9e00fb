"""HTML elements shared by the parts of a report."""

import base64
import html
from collections.abc import Iterable, Sequence

_LONG_TEXT = 24


def table(head: Iterable[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Returns an HTML table, which can be scrolled sideways if it is wide.

    Args:
        head: Iterable of str, the column titles as HTML.
        rows: Iterable of sequences of str, the cells as HTML.
        texts: Int, the number of columns on the left that are aligned left as text.
    """

    def cells(row: Iterable[str], tag: str) -> str:
        return "".join(
            f"<{tag}{kind(cell) if n < texts else ''}>{cell}</{tag[:2]}>"
            for n, cell in enumerate(row)
        )

    def kind(text: str) -> str:
        # Only long texts may be wrapped, so that numbers are on the screen of a phone.
        return ' class="left long"' if len(text) > _LONG_TEXT else " class=left"

    header = cells(head, 'th scope="col"')
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return (
        f'<div class="table" tabindex="0"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def picture(image: bytes, kind: str, alt: str, caption: str = "") -> str:
    """Returns an HTML figure with an embedded image.

    Args:
        image: Bytes of an image file.
        kind: Str, the subtype of its media type: `"jpeg"` or `"svg+xml"`.
        alt: Str, the alternative text.
        caption: Str, the text below the image.
    """
    code = base64.b64encode(image).decode()
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img src="data:image/{kind};base64,{code}" '
        f'alt="{html.escape(alt)}">{below}</figure>'
    )


def remark(text: str) -> str:
    """Returns a paragraph in small print.

    Args:
        text: Str, as HTML.
    """
    return f'<p class="soft">{text}</p>'
