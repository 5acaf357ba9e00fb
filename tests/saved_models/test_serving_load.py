"""The load of `python -m benchmarks.serving_load`, without its times."""

import os

import pytest

from scn_keras.saved_models.served_model import ServedModel

serving_load = pytest.importorskip(
    "benchmarks.serving_load", reason="The benchmarks are in a checkout alone."
)

SECONDS = 30.0  # with batching and without: a minute


@pytest.mark.parametrize("batch_size", [8, 1])
def test_many_callers_get_answers_and_memory_does_not_grow(
    serve_model, blob_model, batch_size
):
    bodies = [serving_load.body_of(data) for data in serving_load.images()[:4]]
    with ServedModel(blob_model, batch_size) as model, serve_model(model) as address:
        url = f"{address}/v1/models/blob:predict"
        found = serving_load.load(url, os.getpid(), bodies, 32, SECONDS)
    assert found.errors == []
    assert found.answers >= 32
    # Half a minute is too short for a sharp bound: an image kept of each call is more.
    assert found.growth_mb < 400.0
