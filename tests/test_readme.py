"""The Python of the README runs as it is printed."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_trains_and_predicts(tmp_path):
    if not README.is_file():
        pytest.skip("The README is not part of an installed package.")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    names = runpy.run_path(str(script))
    assert names["found"]["points"].shape == names["points"].shape == (8, 37, 2)
    assert np.isfinite(names["found"]["points"]).all()
    assert names["model"].optimizer.iterations.numpy() == 8
