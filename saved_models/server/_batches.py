"""Calls of a served model, joined to batches and divided again."""

import concurrent.futures
from typing import NamedTuple

import numpy as np

from scn_keras.inference.decode import MAX_DECODED_PIXELS


class Job(NamedTuple):
    """A call, with the number of pixels of each of its images."""

    signature: str
    inputs: dict[str, np.ndarray]
    pixels: list[int]
    answer: concurrent.futures.Future

    @property
    def kind(self):
        """Equal for jobs whose arrays can be concatenated."""
        return self.signature, [a.shape[1:] for a in self.inputs.values()]


def concatenated(jobs: list[Job]) -> Job:
    """Returns several calls of one kind as one, with the answer of the first."""
    first = jobs[0]
    if len(jobs) == 1:
        return first
    inputs = {
        key: np.concatenate([job.inputs[key] for job in jobs]) for key in first.inputs
    }
    return first._replace(inputs=inputs, pixels=sum([job.pixels for job in jobs], []))


def distribute(jobs: list[Job], outputs: dict[str, np.ndarray]) -> None:
    """Gives each of the calls its part of the outputs for all of them."""
    begin = 0
    for job in jobs:
        end = begin + len(job.pixels)
        job.answer.set_result({key: v[begin:end] for key, v in outputs.items()})
        begin = end


def pieces(pixels: list[int], batch_size: int) -> list[tuple[int, int]]:
    """Returns the first and last indices of batches within the limits."""
    ends, begin = [], 0
    for end in range(1, len(pixels) + 1):
        full = end - begin == batch_size
        if full or sum(pixels[begin : end + 1]) > MAX_DECODED_PIXELS:
            ends.append((begin, end))
            begin = end
    if begin < len(pixels) or not ends:  # a call may hold no image at all
        ends.append((begin, len(pixels)))
    return ends
