import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf

from scn_keras.training.fit import fit


def read(folder):
    """All values of a log, by step and tag."""
    found = {}
    for path in sorted(folder.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[event.step, value.tag] = tf.make_ndarray(value.tensor)
    return found


def test_curves_and_pictures(recipe, dots, tmp_path, finished):
    run = fit(recipe, tmp_path, dots, tensorboard=True)
    found = read(run.path / "tensorboard")
    assert {step for step, _ in found} == {2, 4, 6}
    with run.history_path.open() as file:
        header, *rows = (line.strip().split(",") for line in file)
    for row in rows:
        for name, value in zip(header[2:], row[2:], strict=True):
            logged = found[int(row[0]), name]
            assert float(logged) == pytest.approx(float(value), rel=1e-5)
    assert float(found[6, "learning_rate"]) == pytest.approx(0.0, abs=1e-6)
    assert (2, "sigma") in found
    # Two films of one patient are held out; a picture is its size and its bytes.
    pictures = [tag for step, tag in found if step == 2 and tag.startswith("points/")]
    assert pictures == ["points/0", "points/1"]
    first, last = (
        tf.io.decode_png(found[step, "points/0"][2]).numpy() for step in (2, 6)
    )
    assert first.shape == last.shape
    assert not np.array_equal(first, last)  # the points have moved
    # The training does not see it.
    for a, b in zip(
        run.load_model().get_weights(), finished.load_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_without_tensorboard_nothing_is_trained(recipe, dots, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    short = dataclasses.replace(recipe, steps=1)
    with pytest.raises(ImportError, match=r"pip install scn-keras\[tensorboard\]"):
        fit(short, tmp_path / "run", dots, tensorboard=True)
    assert not (tmp_path / "run").exists()
