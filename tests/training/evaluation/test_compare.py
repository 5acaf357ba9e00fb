import io

import numpy as np
import pytest
import rich.console
import scipy.stats

from scn_keras.inference import ImageToGrid
from scn_keras.inference.located_image import LocatedImage
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.compare import compare, print_comparison
from scn_keras.training.evaluation.points_table import write_points
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.run import Run

SCHEMA = LandmarkSchema(("a", "b"))
IDS = [f"{n:02d}" for n in range(40)]


def planted_run(folder, errors, groups=None, steps=100, **protocol):
    """A run whose evaluation found given distances `(images, landmarks)`."""
    recipe = Recipe(
        name=folder.name,
        dataset="planted",
        image_to_grid=ImageToGrid(grid=(48, 32)),
        network=Network(spatial_factor=8),
        steps=steps,
    )
    run = Run.create(folder, recipe, SCHEMA)
    unit = protocol.get("unit", "mm")
    located = [
        LocatedImage(
            id,
            np.diag([0.0, 0.0, 1.0]) if unit == "px" else np.eye(3),
            np.zeros((2, 2)),
            np.ones(2),
            np.zeros((2, 2, 2)),
            group=groups[n] if groups else id,
            truth_px={None: np.stack([errors[n], np.zeros(2)], axis=-1)},
        )
        for n, id in enumerate(IDS)
    ]
    write_points(run, "test", located, (None,), unit)
    run.write_result(
        "test",
        {
            "protocol": {
                "dataset": "planted/1.0.0",
                "split": "test",
                "subset_of": None,
                "n_images": len(IDS),
                "truth": None,
                "spacing": "planted",
                "inequality": "<",
                "pooling": "all",
                "steps": steps,
                "command": [folder.name],
                **protocol,
            },
            "ids": IDS,
        },
    )
    return run


@pytest.fixture
def errors():
    return np.random.default_rng(1).gamma(2.0, 0.8, (40, 2)).round(4)


def test_a_constant_difference_has_no_width(tmp_path, errors):
    first = planted_run(tmp_path / "first", errors)
    second = planted_run(tmp_path / "second", errors + 0.5, steps=200)
    (result,) = compare(first, second)
    numbers = result["mre_mm"]
    assert numbers["first"] == pytest.approx(errors.mean())
    assert numbers["difference"] == pytest.approx(0.5)
    assert numbers["ci95"] == pytest.approx([0.5, 0.5])
    assert numbers["p"] == 0.0
    assert result["differs"] == {"steps": [100, 200]}
    assert result["n_points"] == 80
    within = result["sdr_percent"]["2"]
    assert within["first"] == pytest.approx(100 * (errors < 2).mean())
    assert within["second"] == pytest.approx(100 * (errors + 0.5 < 2).mean())
    assert [row["name"] for row in result["per_landmark"]] == ["a", "b"]
    assert result["per_landmark"][1]["first"] == pytest.approx(errors[:, 1].mean())


def test_interval_is_that_of_the_paired_bootstrap(tmp_path, errors):
    other = errors * 0.9 + np.random.default_rng(2).normal(0, 0.1, (40, 2)).round(4)
    first = planted_run(tmp_path / "first", errors)
    second = planted_run(tmp_path / "second", np.abs(other))
    (result,) = compare(first, second)
    expected = scipy.stats.bootstrap(
        ((np.abs(other) - errors).mean(axis=1),),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(3),
    ).confidence_interval
    width = expected.high - expected.low
    assert result["mre_mm"]["ci95"] == pytest.approx(
        [expected.low, expected.high], abs=0.05 * width
    )


def test_a_patient_counts_as_one(tmp_path, errors):
    # All of the difference in one patient of many films: drawn or not drawn.
    other = errors.copy()
    other[:20] += 1.0
    groups = ["p"] * 20 + IDS[20:]
    runs = [
        planted_run(tmp_path / name, e, groups)
        for name, e in (("first", errors), ("second", other))
    ]
    (result,) = compare(*runs)
    low, high = result["mre_mm"]["ci95"]
    assert low == 0.0
    assert high > 0.6
    # Of 21 patients this one is not drawn in (20/21)^21 = 36 % of the cases.
    assert result["mre_mm"]["p"] == pytest.approx(2 * (20 / 21) ** 21, abs=0.03)


def test_what_either_lacks_does_not_count(tmp_path, errors):
    holes = errors + 0.25
    holes[:10, 0] = np.nan
    errors[30:, 1] = np.nan
    runs = [
        planted_run(tmp_path / name, e)
        for name, e in (("first", errors), ("second", holes))
    ]
    (result,) = compare(*runs)
    assert result["n_points"] == 60
    assert result["mre_mm"]["difference"] == pytest.approx(0.25)
    assert result["per_landmark"][0]["first"] == pytest.approx(errors[10:, 0].mean())


def test_unlike_protocols_are_refused(tmp_path, errors):
    first = planted_run(tmp_path / "first", errors)
    second = planted_run(tmp_path / "second", errors, inequality="<=")
    with pytest.raises(ValueError, match="protocols differ.*inequality: < and <="):
        compare(first, second)
    pixels = planted_run(tmp_path / "pixels", errors, unit="px")
    with pytest.raises(ValueError, match="protocols differ.*unit: mm and px"):
        compare(first, pixels)
    with pytest.raises(FileNotFoundError, match="no result on 'train'. Run `scn-keras"):
        compare(first, second, "train")
    third = planted_run(tmp_path / "third", errors, truth="senior")
    with pytest.raises(ValueError, match=r"same truths.*truths=\['senior'\]"):
        compare(first, third)


def test_pixels(tmp_path, errors):
    runs = [
        planted_run(tmp_path / name, e, unit="px")
        for name, e in (("first", 10 * errors), ("second", 10 * errors + 2))
    ]
    (result,) = compare(*runs)
    assert result["protocol"]["unit"] == "px"
    assert result["mre_px"]["difference"] == pytest.approx(2.0)
    assert list(result["sdr_percent"]) == ["10", "20"]
    console = rich.console.Console(file=io.StringIO(), width=80)
    print_comparison([result], ("first", "second"), console)
    text = console.file.getvalue()
    assert "MRE, px" in text and "< 10 px, %" in text and "mm" not in text


def test_table(tmp_path, errors):
    runs = [
        planted_run(tmp_path / name, e, steps=s)
        for name, e, s in (("first", errors, 100), ("second", errors + 0.5, 200))
    ]
    console = rich.console.Console(file=io.StringIO(), width=80)
    print_comparison(compare(*runs), ("first", "second"), console, landmarks=True)
    text = console.file.getvalue()
    for expected in ("+0.500", "+0.500 … +0.500", "< 0.001", "steps: 100 and 200"):
        assert expected in text
    assert max(map(len, text.splitlines())) <= 80
