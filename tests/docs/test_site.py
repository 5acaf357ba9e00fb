"""The site as Sphinx builds it: warnings, links, the API reference, other hosts."""

import html.parser
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import urllib.parse

import pytest

import scn_keras
from scn_keras.cli._catalog import presets, recipe_files
from tests.docs.pages import DOCS, REPOSITORY

pytestmark = [
    pytest.mark.skipif(
        not (DOCS / "conf.py").is_file(), reason="The documents are not there."
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("furo") is None,
        reason="Sphinx and its theme are not installed: pip install 'scn-keras[docs]'.",
    ),
]

# Attributes by which a browser loads something by itself.
LOADED = {"src", "srcset", "data", "poster", "action"}
URL = re.compile(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}", re.IGNORECASE)
IN_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)")
IN_JAVASCRIPT = re.compile(
    r"""(?:fetch|import|importScripts|open)\(\s*["'`]\s*((?:https?:)?//[^"'`]+)"""
    r"""|\.(?:src|href)\s*=\s*["'`]((?:https?:)?//[^"'`]+)"""
)


class Page(html.parser.HTMLParser):
    """What a page loads, links to and has as anchors."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids, self.images = [], [], set(), []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self._inside = tag
        self.ids |= {values.get("id", "")}
        self.loads += [values[name] for name in LOADED & values.keys()]
        self.loads += IN_CSS.findall(values.get("style", ""))
        if tag == "link":
            self.loads.append(values.get("href", ""))
        elif tag in ("a", "area"):
            self.links.append(values.get("href", ""))
        elif tag == "img":
            self.images.append(values)

    def handle_data(self, text):
        if self._inside == "style":
            self.loads += IN_CSS.findall(text)
        elif self._inside == "script":
            self.loads += [a or b for a, b in IN_JAVASCRIPT.findall(text)]

    def handle_endtag(self, tag):
        self._inside = None


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, folder / "html"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


@pytest.fixture(scope="module")
def parsed(site):
    """The pages by their paths."""
    return {
        path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))
    }


def test_pages_load_nothing_from_another_host(parsed):
    loads = {
        path.name: list(filter(URL.match, page.loads)) for path, page in parsed.items()
    }
    assert {name: found for name, found in loads.items() if found} == {}
    assert sum(len(page.loads) for page in parsed.values()) > 500


def test_style_sheets_and_scripts_load_nothing_from_another_host(site):
    styles, scripts = [*site.rglob("*.css")], [*site.rglob("*.js")]
    assert len(styles) > 3 and len(scripts) > 3
    for file in styles:
        found = IN_CSS.findall(file.read_text("utf-8"))
        assert not [url for url in found if URL.match(url)], file
    for file in scripts:
        assert not IN_JAVASCRIPT.findall(file.read_text("utf-8")), file


def test_loads_are_found():
    page = Page(
        '<link href="//a.org/x.css"><img src="https://b.org/y.png" alt="">'
        "<style>@import 'https://c.org/z.css'; p {background: url(https://d.org)}</style>"
        '<script>fetch("https://e.org/data")</script><a href="https://f.org">f</a>'
    )
    assert [re.search(r"[a-f](?=\.org)", url)[0] for url in page.loads] == [*"abcde"]


def test_links_inside_the_site_exist(parsed):
    broken = []
    for path, page in parsed.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or not link or "genindex" in path.name:
                continue
            target = path
            if parts.path:
                target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            anchor = urllib.parse.unquote(parts.fragment)
            known = parsed[target].ids if target in parsed else {anchor}
            if not target.is_file() or (anchor and anchor not in known):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_pictures_are_described(parsed):
    for path, page in parsed.items():
        for image in page.images:
            assert image.get("alt") or "logo" in image.get("class", ""), (path, image)


def public_objects():
    """Public objects by what `dir` of imported packages lists, each with its paths."""
    walked = pkgutil.walk_packages(scn_keras.__path__, "scn_keras.")
    names = [module.name for module in walked if module.ispkg]
    names += ["scn_keras", "scn_keras.geometry", "scn_keras.warp"]
    names += ["scn_keras.metrics.on_arrays"]
    found = {}
    for name in names:
        if "._" in name or name.startswith("scn_keras.cli"):
            continue
        module = importlib.import_module(name)
        for attribute in filter(lambda text: not text.startswith("_"), dir(module)):
            value = getattr(module, attribute)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            origin = value.__module__
            own_module = not module.__spec__.submodule_search_locations
            if own_module and origin != name:
                continue
            if origin.startswith("scn_keras") and "scn_keras._" not in origin:
                found.setdefault(value, []).append(f"{name}.{attribute}")
    return found


def test_every_public_name_is_documented_once(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", os.path.join)
    kinds = ("py:class", "py:function", "py:exception")
    documented = {name for kind in kinds for name in inventory[kind]}
    wrong = {
        paths[0]: here
        for paths in public_objects().values()
        if len(here := documented & {*paths}) != 1
    }
    assert wrong == {}
    assert len(public_objects()) > 150
    assert "scn_keras.training.fit.fit" in documented


def test_the_catalogue_is_that_of_the_code(site):
    recipes = (site / "recipe_cards.html").read_text("utf-8")
    cards = (site / "preset_cards.html").read_text("utf-8")
    commands = (site / "commands.html").read_text("utf-8")
    assert all(f"<h2>{name}<" in recipes for name in recipe_files())
    assert all(f"<h2>{name}<" in cards for name in presets())
    assert "scn-keras datasets prepare" in commands and "--max-image-mb" in commands


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_in_a_browser(parsed, width, scheme):
    """Opens every page: no request leaves it, no error, nothing beyond its edge."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("There is no Chromium on this machine.")
    wrong = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium)
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or wrong.append(request.url)
            ),
        )
        for path in (path for path in parsed if "_modules" not in path.parts):
            page.goto(path.as_uri())
            across = page.evaluate("document.documentElement.scrollWidth")
            if across > width:
                wrong.append(f"{path.name} is {across} px wide")
        browser.close()
    assert wrong == []
