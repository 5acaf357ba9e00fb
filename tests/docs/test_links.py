"""Links of the documents lead to files and headings that exist, and are well formed."""

import os
import re
import urllib.parse

import pytest

from tests.docs.pages import DOCS, REPOSITORY, name_of, pages

PAGES = pages()
_FENCED = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_INCLUDED = re.compile(r"^```{include} (\S+)$", re.MULTILINE)
_TOCTREE = re.compile(r"^```{toctree}\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]: (\S+)$", re.MULTILINE)
_AUTOLINK = re.compile(r"<(https?://[^>\s]+)>")
# Headings that come from the code: `name` of a card.
_GENERATED = re.compile(r"^```{(recipe|preset|data-set)-cards}", re.MULTILINE)


def text_of(page):
    """The text of a page with what it includes, without blocks of code."""
    text = page.read_text("utf-8")
    for included in _INCLUDED.findall(text):
        text += (page.parent / included).read_text("utf-8")
    return _FENCED.sub("", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))


def slug(heading):
    """The anchor of a heading, as code hosting sites and MyST form it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(page):
    text = text_of(page)
    found = [*_LINK.findall(text), *_REFERENCE.findall(text), *_AUTOLINK.findall(text)]
    # Code in a line is not a link.
    return [link for link in found if f"`{link}`" not in text]


def is_url(link):
    return re.match(r"[a-z]+:", link) is not None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_headings_exist(page):
    for link in filter(lambda link: not is_url(link), links(page)):
        path, _, anchor = urllib.parse.unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        inside = os.path.relpath(target.resolve(), REPOSITORY)
        assert not inside.startswith(".."), f"{link} leads out of the repository"
        if anchor and not _GENERATED.search(target.read_text("utf-8")):
            headings = re.findall(r"^#+ (.*)$", text_of(target), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_other_hosts_are_well_formed(page):
    for link in filter(is_url, links(page)):
        parts = urllib.parse.urlsplit(link)
        local = parts.hostname in ("127.0.0.1", "localhost")
        assert parts.scheme == ("http" if local else "https"), link
        assert local or re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), link
        assert not re.search(r"[\s<>\"\\^`{|}]|\.$", link), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_exist_and_are_described(page):
    for description, path in _IMAGE.findall(text_of(page)):
        assert not is_url(path), f"{path} would be loaded from another host"
        assert (page.parent / path).is_file(), path
        assert len(description) > 10, path


def test_every_page_has_one_title():
    for page in DOCS.rglob("*.md"):
        titles = re.findall(r"^# .+$", text_of(page), re.MULTILINE)
        assert len(titles) == 1, name_of(page)


def test_every_page_is_in_one_table_of_contents():
    listed = [
        os.path.relpath(page.parent / entry, DOCS)
        for page in DOCS.rglob("*.md")
        for block in _TOCTREE.findall(page.read_text("utf-8"))
        for entry in block.split("\n")
        if entry and not entry.startswith(":")
    ]
    there = {*DOCS.rglob("*.md"), *DOCS.glob("tutorials/*.ipynb")}
    # The first page, and slides, which are not a page.
    there -= {DOCS / "index.md", DOCS / "lecture/slides.md"}
    names = [os.path.relpath(page.with_suffix(""), DOCS) for page in there]
    assert sorted(listed) == sorted(names)


def test_slugs_are_those_of_code_hosting_sites():
    assert slug("Memory of images") == "memory-of-images"
    assert slug("What `scn-keras serve` has of TF Serving's REST API") == (
        "what-scn-keras-serve-has-of-tf-servings-rest-api"
    )
