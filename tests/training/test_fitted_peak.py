"""Springs of a recipe with `PictorialStructures`, fitted to its training points."""

import dataclasses

import numpy as np
import pytest

from scn_keras.layers import PictorialStructures
from scn_keras.training import Run
from scn_keras.training._fitted_peak import with_fitted_peak, with_trial_peak
from scn_keras.training.build import build_model
from scn_keras.training.fit import fit, open_source

SPRINGS = {
    "peak": "scn_keras.layers:PictorialStructures",
    "peak_settings": {"weight": 0.25, "min_deviation": 0.5},
}


@pytest.fixture(scope="module")
def springs(recipe):
    return dataclasses.replace(recipe, steps=2, validation=0.0, **SPRINGS)


def test_the_springs_of_a_training_are_those_of_its_points(springs, dots, tmp_path):
    run = fit(springs, tmp_path / "run", dots)
    points = [np.asarray(y["points"]) for _, y in open_source(springs, dots).plain()]
    points = np.concatenate(points)
    assert np.isnan(points).any()  # a film lacks a dot
    peak = run.load_model().peak
    root, *_ = (n for n, parent in enumerate(peak.parents) if parent < 0)
    assert isinstance(peak, PictorialStructures) and root == 0
    for child in range(1, 3):
        relative = points[:, child] - points[:, peak.parents[child]]
        np.testing.assert_allclose(
            peak.offsets[child], np.nanmean(relative, 0), rtol=1e-5
        )
        deviation = np.maximum(np.nanstd(relative, axis=0), 0.5)
        np.testing.assert_allclose(peak.deviations[child], deviation, rtol=1e-5)
    assert peak.weight == 0.25
    # The recipe stays as it was, so that folds and seeds have equal settings.
    assert Run(run.path).recipe.peak_settings == SPRINGS["peak_settings"]
    assert fit(springs, run.path, dots, resume=True).path == run.path
    again = dataclasses.replace(springs, start=str(run.path), steps=1)
    peak = fit(again, tmp_path / "again", dots).load_model().peak
    assert peak.parents == run.load_model().peak.parents


def test_springs_are_in_pixels_of_the_heatmaps(springs, monkeypatch):
    class Source:
        schema = range(2)

        def plain(self):
            points = np.array([[[9.5, 5.5], [17.5, 9.5]], [[11.5, 5.5], [19.5, 9.5]]])
            return [(None, {"points": points})]

    class Network:
        heatmap_stride = 2

    from scn_keras.training import _fitted_peak

    monkeypatch.setattr(_fitted_peak, "build_network", lambda *_: Network())
    fitted = with_fitted_peak(springs, Source()).peak_settings
    assert fitted["offsets"][1] == [4.0, 2.0]
    assert fitted["deviations"][1] == [0.5, 0.5]
    assert with_fitted_peak(dataclasses.replace(springs, peak_settings=fitted), None)


def test_models_for_their_shapes_have_any_number_of_landmarks(springs):
    settings = {"parents": [-1, 0], "offsets": [[0, 0]] * 2, "deviations": [[1, 1]] * 2}
    whole = dataclasses.replace(springs, peak_settings=settings)
    for recipe in (springs, whole):
        assert len(build_model(with_trial_peak(recipe, 4), 4).peak.parents) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parents": [-1, 0, 0]}, "all or none of deviations, offsets, parents"),
        ({"stiffness": 2.0}, "takes no argument `stiffness`"),
    ],
)
def test_wrong_settings(settings, message, springs, dots, tmp_path):
    wrong = dataclasses.replace(springs, peak_settings=settings)
    with pytest.raises(ValueError, match=message):
        fit(wrong, tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()
