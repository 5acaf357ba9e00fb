"""The load of `python -m benchmarks.serving_load`, without its times."""

import os

import httpx2 as httpx
import pytest

from scn_keras.saved_models.server.served_model import ServedModel

serving_load = pytest.importorskip(
    "benchmarks.serving_load", reason="The benchmarks are in a checkout alone."
)

WARM_UP, SECONDS = 6.0, 24.0  # with batching and without: a minute


@pytest.mark.parametrize("batch_size", [8, 1])
def test_many_callers_get_answers_and_memory_does_not_grow(
    serve_model, blob_model, batch_size
):
    bodies = [serving_load.body_of(data) for data in serving_load.images()[:4]]
    with ServedModel(blob_model, batch_size) as model, serve_model(model) as address:
        url = f"{address}/v1/models/blob:predict"
        httpx.post(url, content=bodies[0], timeout=120.0)
        warm = serving_load.load(url, os.getpid(), bodies, 32, WARM_UP)
        found = serving_load.load(url, os.getpid(), bodies, 32, SECONDS)
    assert warm.errors == found.errors == []
    assert found.answers >= 32
    # From the first third to the last; an image kept of each call is 2.4 MB an answer.
    assert found.growth_mb < 400.0
