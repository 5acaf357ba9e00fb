import types

import numpy as np
import pytest

from scn_keras.training.collapse import add_recovery
from scn_keras.training.report.curves import (
    _history_curve,
    history_picture,
    largest_shown,
)


def run_with(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text)
    return types.SimpleNamespace(path=tmp_path, history_path=path)


def test_one_measurement_is_a_table(tmp_path):
    text = (
        "step,loss,point_error,val_loss,val_point_error\n6,4672.5,103.3,4667.4,87.49\n"
    )
    html = history_picture(run_with(tmp_path, text))
    assert "<svg" not in html and "data:image" not in html
    assert "after 6 steps" in html
    for name, value in (
        ("training point error, mm", "103.3"),
        ("validation point error, mm", "87.49"),
        ("training loss", "4672"),
        ("validation loss", "4667"),
    ):
        assert f">{name}</td><td>{value}<" in html.replace(" class=left", "").replace(
            ' class="left long"', ""
        )


def test_several_measurements_are_a_curve(tmp_path):
    text = "step,loss,point_error\n5,3.5,0.0\n10,3.25,0.0\n"
    html = history_picture(run_with(tmp_path, text))
    assert "data:image/svg+xml" in html and "<table" not in html


def test_a_recovery_is_described_under_the_curve(tmp_path):
    text = "step,loss,point_error\n5,3.5,2.0\n10,3.25,1.0\n"
    row = {"step": 10, "loss": float("inf")}
    add_recovery(tmp_path, 10, 5, "the loss is inf", row)
    html = history_picture(run_with(tmp_path, text))
    assert "collapsed before step 10: the loss is inf. It continues from step 5" in html
    assert "with 0.5 times the learning rate" in html


@pytest.mark.parametrize("rows", ["", "3,nan,0.0\n", "3,,\n"])
def test_a_history_without_values_is_a_sentence(tmp_path, rows):
    html = history_picture(run_with(tmp_path, "step,loss,point_error\n" + rows))
    assert "contains no values" in html and "<table" not in html


@pytest.mark.parametrize(
    "values", [[4672.5, 4667.4], [110.0, 90.0], [3.0, 3.0], [300.0, 2.0]]
)
def test_axes_of_short_runs_have_numbers(values):
    drawing = _history_curve([50, 100], {"loss": values})
    (axes,) = drawing.axes
    drawing.canvas.draw()
    low, high = axes.get_ylim()
    shown = [
        (float(label.get_text()), label.get_position()[1])
        for minor in (False, True)
        for label in axes.get_yticklabels(minor=minor)
        if low <= label.get_position()[1] <= high and label.get_text()
    ]
    assert len(shown) >= 2
    np.testing.assert_allclose(*zip(*shown, strict=True), rtol=1e-5)
    assert axes.get_xlim()[0] == 0.0 and axes.get_xlim()[1] >= 100.0
    assert all(float(label.get_text()) % 1 == 0 for label in axes.get_xticklabels())
    # Two points of a line without markers are hard to see.
    (line,) = axes.lines
    assert line.get_marker() == "o" and line.get_xdata().tolist() == [50, 100]


def test_the_error_curve_of_an_untrained_model_is_not_empty():
    radii = (2.0, 2.5, 3.0, 4.0, 10.0)
    errors = np.linspace(50.0, 150.0, 101)
    assert largest_shown([errors], radii) == 149.0
    # As usual, outliers are not shown, and good models have a common axis.
    assert largest_shown([np.array([1.0] * 9 + [90.0])], radii) == 10.0
    assert largest_shown([np.full(9, 0.5), errors[:0]], radii) == 4.0
