"""HTML elements shared by the parts of a report."""

import base64
import html
from collections.abc import Iterable, Sequence


def table(head: Iterable[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Returns an HTML table.

    Args:
        head: Iterable of str, the column titles as HTML.
        rows: Iterable of sequences of str, the cells as HTML.
        texts: Int, the number of columns on the left that are aligned left as text.
    """

    def cells(row: Iterable[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=left' if n < texts else ''}>{cell}</{tag[:2]}>"
            for n, cell in enumerate(row)
        )

    header = cells(head, 'th scope="col"')
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


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
