"""Changes of answers are found, and chance is not taken for a change."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.inference.calibration import Calibration, trust_limit
from scn_keras.saved_models.monitoring import drift_from_answers
from scn_keras.saved_models.monitoring.answers import Answers
from scn_keras.saved_models.monitoring.batches import batch_slices
from scn_keras.saved_models.monitoring.drift_figure import drift_figure
from scn_keras.saved_models.monitoring.find_drift import find_drift

USUAL = np.array([0.8, 0.6, 0.7])
NAMES = ("a", "b", "c")


def draw(random, n, shift=0.0, limit=2.0):
    """Answers whose images differ in quality, which all of their values show."""
    quality = random.normal(size=(n, 1)) + shift
    score = USUAL - 0.05 * quality + 0.04 * random.normal(size=(n, 3))
    radius = np.exp(0.2 * quality + 0.1 * random.normal(size=(n, 3)))
    novelty = quality[:, 0] / limit
    trusted = (novelty <= 1.0).astype(float)
    return Answers(score, 2.0 * radius, radius, trusted, novelty, NAMES)


def calibration(score, novelty):
    n = len(USUAL)
    return Calibration(
        "",
        {"n_images": len(score), "dataset": "drawn/1.0.0"},
        np.ones(n),
        np.full(n, 0.05),
        np.ones(n, bool),
        np.median(score, axis=0),
        np.zeros((n, n, 2)),
        np.ones((n, n)),
        np.array([0.0, 0.0]),
        np.ones(2),
        trust_limit(novelty),
    )


def test_the_same_distribution_is_no_drift():
    random = np.random.default_rng(0)
    result = find_drift(draw(random, 60), draw(random, 80))
    assert result["drift"] is False and result["reasons"] == []
    assert result["verdict"].startswith("No drift found: the 60 answers do not differ")


def test_false_alarms_are_at_most_as_many_as_stated(monkeypatch):
    monkeypatch.setattr(drift_from_answers, "_MIN_PERMUTATIONS", 99)
    random = np.random.default_rng(1)
    alarms = sum(
        find_drift(draw(random, 30), draw(random, 30), alpha=0.4)["drift"]
        for _ in range(100)
    )
    # Of 100, at most 40 %: more than 54 with a probability of 0.2 %.
    assert scipy.stats.binom.sf(54, 100, 0.4) < 0.002
    assert 5 < alarms <= 54


def test_a_shift_is_found_in_scores_radii_and_novelty():
    random = np.random.default_rng(2)
    result = find_drift(draw(random, 60, shift=1.5), draw(random, 80))
    assert result["drift"] is True
    text = " ".join(result["reasons"])
    assert "scores are lower for 3 of 3 landmarks" in text
    assert "radii are larger for 3 of 3 landmarks" in text
    assert " mm instead of " in text and "median novelty is" in text
    better = find_drift(draw(random, 60, shift=-1.5), draw(random, 80))
    assert "scores are higher for 3 of 3 landmarks" in " ".join(better["reasons"])


def test_one_landmark_of_several_is_named():
    random = np.random.default_rng(3)
    answers, baseline = draw(random, 60), draw(random, 60)
    score = answers.score - [0.0, 0.1, 0.0]
    result = find_drift(dataclasses.replace(answers, score=score), baseline)
    (sentence, *_) = result["reasons"]
    assert sentence.startswith("The scores are lower for 1 of 3 landmarks: b 0.")


def test_the_rank_sum_is_that_of_mann_and_whitney():
    random = np.random.default_rng(4)
    baseline, answers = draw(random, 40), draw(random, 50, shift=0.3)
    # Of a single quantity, nothing is corrected.
    nothing = {
        name: np.full((40, 3), np.nan) for name in ("radius90_px", "radius90_mm")
    }
    alone = {
        "score": baseline.score[:, :1],
        **{name: value[:, :1] for name, value in nothing.items()},
        "trusted": np.full(40, np.nan),
        "novelty": np.full(40, np.nan),
        "names": (),
    }
    first = dataclasses.replace(baseline, **alone)
    second = Answers(
        answers.score[:, :1],
        np.full((50, 1), np.nan),
        np.full((50, 1), np.nan),
        np.full(50, np.nan),
        np.full(50, np.nan),
    )
    (quantity,) = find_drift(second, first)["quantities"]
    expected = scipy.stats.mannwhitneyu(second.score[:, 0], first.score[:, 0]).pvalue
    assert quantity["p"] == pytest.approx(expected, abs=0.01)
    assert 0.001 < expected < 0.1  # permutations can tell


def test_a_change_in_the_course_of_time_is_found_in_the_batches():
    random = np.random.default_rng(5)
    parts = [draw(random, 80), draw(random, 20, shift=2.5), draw(random, 60)]
    result = find_drift(Answers.concatenate(parts), draw(random, 200))
    p = np.array(result["batches"]["p"]["score"])
    assert result["batches"]["slices"][4] == [80, 100]
    assert p.argmin() == 4 and p[4] < 0.005 and (np.delete(p, 4) > 0.005).all()
    assert "the first with the images 81 to 100." in " ".join(result["reasons"])
    low, high = result["batches"]["limits"]["score"][4]
    assert result["batches"]["values"]["score"][4] < low < high


def test_a_calibration_is_a_reference():
    random = np.random.default_rng(6)
    held_out = draw(random, 100)
    made = calibration(held_out.score, 2.0 * held_out.novelty)
    same = draw(random, 200, limit=made.limit)
    result = find_drift(same, made)
    assert not result["drift"], result["reasons"]
    assert result["trusted"]["expected_percent"] == 2.0
    assert result["reference"]["radii_calibrated_on"] == "100 images of drawn/1.0.0"
    other = find_drift(draw(random, 200, shift=2.0, limit=made.limit), made)
    text = " ".join(other["reasons"])
    assert other["drift"] and "are not trusted; 2.0 % are expected" in text
    assert "scores are lower for" in text and "radii" not in text
    share = other["quantities"][0]
    count, k = other["trusted"]["not_trusted"], 99  # ceil(0.98 x 101)
    expected = scipy.stats.betabinom.sf(count - 1, 200, 101 - k, k)
    assert share["p"] == pytest.approx(min(4 * expected, 1.0), rel=1e-6)


def test_false_alarms_of_a_calibration():
    random, alarms = np.random.default_rng(7), 0
    for _ in range(100):
        held_out = draw(random, 60)
        made = calibration(held_out.score, 2.0 * held_out.novelty)
        alarms += find_drift(draw(random, 100, limit=made.limit), made, alpha=0.2)[
            "drift"
        ]
    # Of 100, at most 20 %: more than 32 with a probability of 0.2 %.
    assert scipy.stats.binom.sf(32, 100, 0.2) < 0.002
    assert alarms <= 32


def adapted_to_a_clinic(random, images):
    """A calibration on 150 images, and the novelty of a clinic with other images."""
    held_out = draw(random, 150)
    before = calibration(held_out.score, 2.0 * held_out.novelty)
    clinic = draw(random, images, shift=1.5)
    return dataclasses.replace(
        before,
        protocol={
            **before.protocol,
            "recalibrated": [{"command": "adapt", "n_images": images}],
        },
        usual_score=np.median(clinic.score, axis=0),
        limit=max(before.limit, 2.0 * clinic.novelty.max()),
    )


def test_an_adapted_calibration_is_as_precise_as_its_few_images():
    random, alarms, missed = np.random.default_rng(8), 0, 0
    for _ in range(100):
        made = adapted_to_a_clinic(random, 8)
        same = draw(random, 200, shift=1.5, limit=made.limit)
        alarms += find_drift(same, made, alpha=0.2)["drift"]
        other = draw(random, 200, shift=6.0, limit=made.limit)
        missed += not find_drift(other, made, alpha=0.2)["drift"]
    assert scipy.stats.binom.sf(32, 100, 0.2) < 0.002
    assert alarms <= 32 and missed <= 5
    share = find_drift(other, made)["quantities"][0]
    count = round(200 * share["value"])
    # The largest of eight novelties: the share above it is Beta(1, 8).
    expected = scipy.stats.betabinom.sf(count - 1, 200, 1, 8)
    assert share["p"] == pytest.approx(min(4 * expected, 1.0), rel=1e-6)


def test_batches_have_equal_sizes():
    sizes = [part.stop - part.start for part in batch_slices(59, 20)]
    assert sizes == [29, 30] and batch_slices(7, 20) == [slice(0, 7)]


@pytest.mark.parametrize("kind", ["answers", "calibration"])
def test_the_chart_shows_batches_outside_of_their_limits(kind):
    random = np.random.default_rng(8)
    baseline = draw(random, 100)
    reference = baseline
    if kind == "calibration":
        reference = calibration(baseline.score, 2.0 * baseline.novelty)
    parts = [draw(random, 40), draw(random, 40, shift=3.0)]
    drawing = drift_figure(find_drift(Answers.concatenate(parts), reference))
    panels = {axes.get_title(loc="left"): axes for axes in drawing.axes}
    assert len(panels) == (4 if kind == "answers" else 3)
    share = panels["not trusted, %"]
    outside = [line for line in share.lines if line.get_marker() == "s"]
    assert len(outside[0].get_xdata()) == 2
    assert (outside[0].get_ydata() > 50.0).all()


def test_bad_arguments_get_a_sentence():
    random = np.random.default_rng(9)
    many, few = draw(random, 20), draw(random, 9)
    for arguments, message in (
        ((few, many), "at least 10 images. Received: 9 answers"),
        ((many, few), "Received: 9 answers of the baseline"),
        ((many, many, 0.0), "`alpha` must be above 0"),
        ((many, many, 0.1, 1), "`batch_size` must be at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            find_drift(*arguments)
    other = dataclasses.replace(many, names=("a", "c", "b"))
    with pytest.raises(ValueError, match="'b' and 'c' at the same place"):
        find_drift(other, many)


def table(path, answers):
    lines = ["file,landmark,score,radius90_px,radius90_mm,trusted,novelty"]
    for row, scores in enumerate(answers.score):
        of_image = f"{bool(answers.trusted[row])},{answers.novelty[row]}"
        for k, name in enumerate(NAMES):
            px, mm = answers.radius90_px[row, k], answers.radius90_mm[row, k]
            lines.append(f"{row}.png,{name},{scores[k]},{px},{mm},{of_image}")
    path.write_text("\n".join(lines))
    return str(path)


def test_the_command_and_its_exit_codes(tmp_path):
    random = np.random.default_rng(10)
    first = table(tmp_path / "first.csv", draw(random, 60))
    same = table(tmp_path / "same.csv", draw(random, 40))
    shifted = table(tmp_path / "shifted.csv", draw(random, 40, shift=2.0))

    def run(*arguments):
        return CliRunner().invoke(main, ["drift", *arguments])

    done = run(same, "--baseline", first)
    assert done.exit_code == 0 and "No drift found" in done.output
    figure, numbers = tmp_path / "drift.png", tmp_path / "drift.json"
    outputs = "--figure", str(figure), "--json", str(numbers)
    done = run(shifted, "--baseline", first, *outputs)
    assert done.exit_code == 1 and "Drift: the 40 answers differ" in done.output
    assert figure.read_bytes().startswith(b"\x89PNG") and numbers.is_file()
    bad = tmp_path / "bad.csv"
    bad.write_text("x\n1\n")
    for arguments, message in (
        ((same,), "either --baseline ANSWERS or"),
        ((str(bad), "--baseline", first), "has no answers of a model"),
        ((same, "--model", "nothing"), "is neither a run"),
        ((same, "--model", "synthetic_hand"), "3 landmarks in the answers, 37"),
        ((same, "--baseline", first, "--figure", "a.gif"), ".png or .svg"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and message in " ".join(done.output.split())
