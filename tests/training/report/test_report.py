import base64
import html.parser
import io
import re
import shutil
import xml.etree.ElementTree

import numpy as np
import pytest
import rich.console
import scipy.stats
import tensorflow as tf

from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.report.curves import rank_correlation
from scn_keras.training.report.page import write_report
from scn_keras.training.run import Run, write_json


class Page(html.parser.HTMLParser):
    """The text of a page, what it would load, and whether its tags are balanced."""

    VOID = {"meta", "img", "br", "link", "hr", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.sources, self.metas, self.cells = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "meta":
            self.metas.append(attributes)
        if tag == "img":
            assert attributes["alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.text.append(data)
        if "td" in self.open:
            self.cells.append(data)


@pytest.fixture(scope="module")
def results(tiny_run, tiny_data):
    console = rich.console.Console(file=io.StringIO())
    return evaluate(tiny_run, data_dir=tiny_data, console=console)


@pytest.fixture(scope="module")
def report(tiny_run, tiny_data, results):
    path = write_report(tiny_run, data_dir=tiny_data, worst=2, best=1)
    assert path == tiny_run.path / "report.html"
    return path.read_text("utf-8")


def test_page_asks_for_nothing(report):
    page = Page(report)
    assert page.sources
    links = [source for source in page.sources if source.startswith("#")]
    others = set(page.sources) - set(links)
    assert all(source.startswith("data:image/") for source in others)
    assert all(f' id="{link[1:]}"' in report for link in links)
    assert not re.search(r"https?:|url\(|@import|<script|<link", report)


def test_page_fits_a_phone(report):
    assert {
        "name": "viewport",
        "content": "width=device-width, initial-scale=1",
    } in Page(report).metas


def test_page_holds_the_numbers_of_the_results(report, results, tiny_run):
    (result,) = results
    page = Page(report)
    text = " ".join(" ".join(page.text).split())
    assert f"{result['mre_mm']:.2f} mm" in text
    low, high = result["ci95"]["mre_mm"]
    assert f"95 % interval {low:.2f}–{high:.2f}" in text
    assert f"{result['sdr_percent']['2']:.1f} % of points within 2 mm" in text
    for row in result["per_landmark"]:
        # Names of landmarks are also in the table of the farthest points.
        places = [n for n, cell in enumerate(page.cells) if cell == row["name"]]
        assert [
            str(row["n"]),
            f"{row['mre_mm']:.3f} ± {row['sd_mm']:.3f}",
            f"{row['median_mm']:.3f}",
        ] in [page.cells[place + 1 : place + 4] for place in places]
    for key in ("dataset", "spacing", "decoder", "inference"):
        assert result["protocol"][key] in text
    assert tiny_run.recipe.name in text
    assert "tensorflow" in text  # the versions


def test_images_decode(report):
    kinds = []
    for source in Page(report).sources:
        if source.startswith("#"):
            continue
        kind, code = source.removeprefix("data:image/").split(";base64,")
        image = base64.b64decode(code, validate=True)
        kinds.append(kind)
        if kind == "svg+xml":
            assert xml.etree.ElementTree.fromstring(image).tag.endswith("svg")
        else:
            assert min(tf.io.decode_jpeg(image).shape[:2]) > 300
    # Two images of the worst; three curves, without offsets for a model that is hardly
    # trained; two heatmaps and one image of the best.
    assert kinds == ["jpeg"] * 2 + ["svg+xml"] * 3 + ["jpeg"] * 3


def test_worst_come_first(report, tiny_run, results):
    errors = {
        id: case["errors"][None].mean()
        for id, case in read_points(tiny_run, "test").items()
    }
    order = sorted(errors, key=errors.get)
    shown = re.findall(r'alt="Image (\S+) with .*?, ([\d.]+) mm on average"', report)
    assert [id for id, _ in shown] == [order[2], order[1], order[0]]
    assert [error for _, error in shown] == [f"{errors[id]:.2f}" for id, _ in shown]


def test_worst_cases_come_before_the_protocol(report):
    order = re.findall(r'<h2 id="(\w+)"', report)
    assert order[:2] == ["worst", "farthest"]
    assert order[-1] == "protocol"
    assert report.index('alt="Image ') < report.index("<table") < report.index("<dl>")


def test_an_ensemble_has_no_inner_heatmaps(tiny_run, tiny_data, report, tmp_path):
    made = make_ensemble([tiny_run], tmp_path / "made", views=True)
    evaluate(made, data_dir=tiny_data, console=rich.console.Console(file=io.StringIO()))
    page = write_report(made, data_dir=tiny_data, worst=1, best=1).read_text("utf-8")
    assert "Local appearance responds" in report
    assert "Local appearance responds" not in page
    images = [s for s in Page(page).sources if s.startswith("data:image/")]
    kinds = [s.removeprefix("data:image/").split(";")[0] for s in images]
    # Worst image; two curves, for it has no history; two heatmaps and the best image.
    assert kinds == ["jpeg", *["svg+xml"] * 2, *["jpeg"] * 3]


def test_rank_correlation_is_spearmans():
    random = np.random.default_rng(0)
    errors = random.gamma(2.0, 1.0, (30, 4))
    expected = errors + random.gamma(2.0, 1.0, (30, 4))
    errors[3] = np.nan  # an image without a truth
    errors[5, 2] = np.nan
    rows = np.arange(30) != 3
    rho, _ = scipy.stats.spearmanr(
        np.nanmean(errors[rows], axis=1), expected[rows].mean(axis=1)
    )
    assert rank_correlation(errors, expected) == pytest.approx(rho)
    assert rank_correlation(errors[:2], expected[:2]) is None


def test_a_split_must_be_evaluated_first(tiny_run, tiny_data, results):
    with pytest.raises(FileNotFoundError, match="scn-keras evaluate .* --split train"):
        write_report(tiny_run, "train", tiny_data)


def test_names_are_text_not_markup(tiny_run, tiny_data, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "<i>run")
    run = Run(tmp_path / "<i>run")
    names = [f"<b>{name} & more</b>" for name in run.schema.names]
    write_json(run.path / "landmarks.json", {"names": names})
    run = Run(run.path)
    evaluate(run, data_dir=tiny_data, console=rich.console.Console(file=io.StringIO()))
    page = Page(
        write_report(run, data_dir=tiny_data, worst=1, best=1).read_text("utf-8")
    )
    assert names[0] in page.cells
    assert "<i>run" in " ".join(page.text)
