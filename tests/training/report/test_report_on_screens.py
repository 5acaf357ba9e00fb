import io

import numpy as np
import pytest
from PIL import Image

from scn_keras.training.report import fragments
from tests.saved_models.server.test_page import browser, playwright, pytestmark

__all__ = ["browser", "playwright", "pytestmark"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The template with a wide table, and a curve in the place of all pictures."""
    from importlib import resources

    text = resources.files("scn_keras.training.report").joinpath("template.html")
    head = ["landmark", *(f"&lt; {n} mm" for n in range(9))]
    row = ["12.345"] * 9
    rows = [["lower incisal incision", *row]] * 4
    long = [["a name of many words that is longer than the screen of a phone", *row]]
    table = fragments.table(head, rows) + fragments.table(head, long)
    parts = dict.fromkeys(
        "title subtitle cards observers protocol curves headline heatmaps farthest "
        "worst best footer results".split(),
        "text",
    )
    page = text.read_text("utf-8")
    for name, part in {**parts, "landmarks": table}.items():
        page = page.replace(f"${name}", part)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page, "utf-8")
    return path.as_uri()


def test_only_tables_scroll_sideways_and_show_it(browser, report):
    pictures = {}
    for width, scheme in (
        (320, "light"),
        (390, "light"),
        (390, "dark"),
        (1400, "light"),
    ):
        page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page.goto(report)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        wide = page.locator(".table").first
        hidden = wide.evaluate("e => e.scrollWidth - e.clientWidth")
        assert (hidden > 100) == (width < 500)
        pictures[width, scheme] = page.screenshot()

        def edge(wide=wide):
            png = wide.screenshot()
            pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)
            # Rows without text, between the lines of the table.
            return pixels[pixels.shape[0] // 3, -4:-1].min(), pixels.max()

        dark, bright = edge()
        assert (bright - dark > 30) == (width < 500)
        wide.evaluate("e => e.scrollLeft = 9999")
        first = wide.locator("td").first.bounding_box()
        assert abs(first["x"] - wide.bounding_box()["x"]) < 3  # the name stays
        long = page.locator(".long").first.bounding_box()
        assert width > 500 or long["width"] < 0.55 * width
        page.close()
    assert pictures[390, "light"] == pictures[390, "dark"]
