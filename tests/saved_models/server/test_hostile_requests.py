"""A share of `python -m benchmarks.hostile_requests`."""

import pytest

benchmark = pytest.importorskip(
    "benchmarks.hostile_requests", reason="The benchmarks are in a checkout alone."
)
COUNT = 150


def test_the_same_seed_gives_the_same_requests():
    once, again = ([*benchmark.hostile_requests(40, seed=3)] for _ in range(2))
    assert once == again
    assert {kind for kind, _, _ in once} == set(benchmark.REQUESTS)


def test_whatever_comes_gets_a_clear_answer_and_no_memory(served):
    lines = []
    faults, growth = benchmark.attack(served, COUNT, seed=1, report=lines.append)
    assert faults == []
    assert growth < benchmark.MAX_GROWTH_MB
    assert sum("slowest" in line for line in lines) == len(benchmark.REQUESTS)
