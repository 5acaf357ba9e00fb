import collections

import numpy as np

from scn_keras.datasets.check import write_page
from tests.datasets.test_check import Planted
from tests.saved_models.server.test_page import browser, playwright, pytestmark

__all__ = ["browser", "playwright", "pytestmark"]


def test_the_page_uses_the_width_of_the_screen(browser, tmp_path):
    planted = Planted(tmp_path, 2)
    for n, landmark in ((1, 0), (5, 3), (9, 6)):  # findings of several kinds
        points = planted.points(n)
        points[landmark] += 200.0 if n == 1 else 17.0
        planted.change(n, points)
    planted.images[3] = np.zeros_like(planted.images[3])
    result = planted.check()
    assert len({finding.kind for finding in result.findings}) >= 3
    path = write_page(result, tmp_path / "out")
    for width, scheme in ((1400, "light"), (390, "light"), (390, "dark")):
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [card.bounding_box() for card in page.locator(".card").all()]
        rows = collections.Counter(box["y"] for box in boxes)
        # Errors and samples are three in a row, on a phone one.
        assert max(rows.values()) == (3 if width == 1400 else 1)
        right = max(box["x"] + box["width"] for box in boxes)
        assert right > 0.95 * width
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert color == "rgb(243, 245, 246)"
        for picture in page.locator(".card img").all():
            assert picture.evaluate("e => e.naturalWidth >= e.width")
        page.close()
