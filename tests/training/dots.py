"""A tiny data set of dots, and interruptions of what is under test."""

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema


class Dots(LandmarkBuilder):
    """Three bright dots a film, two films a patient; film 3 lacks the second dot."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("large", "middle", "small"))
    FILMS = {"train": 10, "test": 3}

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.FILMS}

    def _generate_examples(self, split):
        random = np.random.default_rng(len(split))
        y, x = np.mgrid[:60, :50]
        for n in range(self.FILMS[split]):
            points = [[12, 15], [36, 22], [22, 44]] + random.uniform(-5, 5, (3, 2))
            image = random.uniform(0, 20, x.shape)
            for (px, py), size in zip(points, (5, 3, 2), strict=True):
                image += 200 * np.exp(
                    -((x - px) ** 2 + (y - py) ** 2) / (2.0 * size**2)
                )
            if split == "train" and n == 3:
                points[1] = np.nan
            yield (
                f"{n}",
                self.sample(
                    f"{split}{n}",
                    np.clip(image, 0, 255).astype(np.uint8),
                    {"points": points},
                    np.diag([0.5, 0.4, 1.0]),
                    group=f"{split} patient {n // 2}",
                ),
            )


class Interruption(Exception):
    """What the power cut is here."""


def interrupt(monkeypatch, owner, name, number):
    """Lets a method work `number` times and then interrupts within it, at its end."""
    original, calls = getattr(owner, name), []

    def method(*args, **kwargs):
        result = original(*args, **kwargs)
        calls.append(name)
        if len(calls) == number:
            raise Interruption
        return result

    monkeypatch.setattr(owner, name, method)
