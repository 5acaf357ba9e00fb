"""The page of `scn-keras serve` with every preset, in a real browser."""

import pytest

from scn_keras.models import preset_names, preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.training.run import Run
from tests.saved_models.server.test_page import browser, playwright, pytestmark

__all__ = ["browser", "pytestmark"]  # fixture and condition of the page's other tests

WIDTHS = (320, 390, 1440)


@pytest.fixture(scope="module", params=preset_names())
def preset(request, tmp_path_factory, serve_model):
    """The `ServedModel` of a preset and its address."""
    run = Run(preset_path(request.param))
    folder = export(run, tmp_path_factory.mktemp("models"))
    with ServedModel(folder) as model, serve_model(model) as address:
        yield model, address


@pytest.mark.parametrize("width", WIDTHS)
def test_every_preset_is_shown(browser, preset, png, width):
    model, address = preset
    wrong = []
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    page.goto(address)
    page.wait_for_selector("#about:not(:empty)")
    if "volumes" in model.signatures:
        assert "takes volumes" in page.inner_text("#status")
        assert f"scn-keras predict {address}/v1/models/" in page.inner_text("#command")
        assert page.locator("#ask").is_hidden()
    else:
        has_calibration = page.evaluate("model.has_calibration")
        for spacing, unit in (("", "px"), ("0.1", "mm")):
            page.fill("#spacing_x", spacing)
            page.set_input_files("#file", str(png))
            playwright.expect(page.locator("#head")).to_contain_text(
                f"x {unit}", timeout=60_000
            )
            page.wait_for_selector("#result:not([hidden])")
            names = page.evaluate("model.schema.names.length")
            assert page.locator("#points .point").count() == names
            circles = page.locator("#points .radius").count()
            assert circles == (names if has_calibration else 0)
            table = page.locator(".table")
            assert table.evaluate("(table) => table.scrollWidth <= table.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wrong == []
    page.close()
