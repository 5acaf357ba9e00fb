import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training import callbacks
from scn_keras.training.fit import fit
from scn_keras.training.heatmap_film import HeatmapFilm, encode_film, film_steps
from tests.training.dots import Interruption, interrupt

SCHEMA = LandmarkSchema(("tip", "base"))


def frames_of(data):
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as film:
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            yield np.asarray(film.convert("RGB"))


def test_steps_are_dense_at_the_beginning():
    # By hand: 100 * (k / 4) ** 2.
    assert film_steps(100, 5) == [0, 6, 25, 56, 100]
    assert film_steps(3, 48) == [0, 1, 2, 3]
    assert film_steps(7, 2) == [0, 7]


@pytest.fixture
def pictures(tmp_path):
    """Files of random pixels, which compress badly."""
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for number, file in enumerate(files):
        random = np.random.default_rng(number)
        pixels = random.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        pixels[:20] = 20 * number
        Image.fromarray(pixels).save(file)
    return files


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_films_are_animations(pictures, suffix):
    data = encode_film(pictures, suffix)
    frames = [*frames_of(data)]
    assert len(frames) == 9
    for number, frame in enumerate(frames):
        assert frame.shape == (60, 80, 3)
        assert np.abs(frame[:15].astype(int) - 20 * number).mean() < 4
    with Image.open(io.BytesIO(data)) as film:
        assert film.info["loop"] == 0
    assert data == encode_film(pictures, suffix)


def test_frames_are_left_out_of_large_films(pictures):
    whole = encode_film(pictures, ".webp")
    data = encode_film(pictures, ".webp", len(whole) - 1)
    assert len(data) < len(whole)
    tops = [round(frame[:15].mean() / 20) for frame in frames_of(data)]
    assert tops == [0, 2, 4, 6, 8]
    assert len([*frames_of(encode_film(pictures, ".webp", 1))]) == 2


def test_what_cannot_be_filmed(tmp_path):
    image = np.zeros((8, 8, 1))
    with pytest.raises(ValueError, match="Expected one of tip, base"):
        HeatmapFilm(tmp_path / "a.webp", image, SCHEMA, 4, "side")
    with pytest.raises(ValueError, match=r"must end in \.webp, \.gif, \.png"):
        HeatmapFilm(tmp_path / "a.mp4", image, SCHEMA, 4)


def test_a_film_does_not_change_the_training_and_can_be_resumed(
    finished, dots, tmp_path, monkeypatch
):
    whole = fit(finished.recipe, tmp_path / "whole", dots, film="large")
    with monkeypatch.context() as patch:
        interrupt(patch, callbacks.Recorder, "on_epoch_end", 2)
        with pytest.raises(Interruption):
            fit(finished.recipe, tmp_path / "cut", dots, film="large")
    assert not (tmp_path / "cut" / "film.webp").exists()
    cut = fit(finished.recipe, tmp_path / "cut", dots, resume=True, film="large")
    expected = finished.load_model().get_weights()
    for run in (whole, cut):
        for a, b in zip(run.load_model().get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not [*run.path.glob("film_frames*")]
    film = (whole.path / "film.webp").read_bytes()
    assert film == (cut.path / "film.webp").read_bytes()
    frames = [*frames_of(film)]
    assert len(frames) == 7  # steps 0 to 6
    assert not np.array_equal(frames[0], frames[-1])


def test_a_mistake_is_found_before_the_training(recipe, dots, tmp_path):
    with pytest.raises(ValueError, match="Expected one of large, middle, small"):
        fit(recipe, tmp_path / "wrong", dots, film="huge")
    other = dataclasses.replace(recipe, method="tests.training.test_method:MeanPoints")
    with pytest.raises(ValueError, match="A film requires a network"):
        fit(other, tmp_path / "wrong", dots, film="large")
    assert not [*tmp_path.iterdir()]
