"""Synthetic volumes: determinism, geometry, likeness of vertebrae, TFDS."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds
from scipy import ndimage

from scn_keras.datasets.synthetic_volume import (
    Builder,
    SyntheticVolumeConfig,
    generate_volume,
)
from scn_keras.datasets.synthetic_volume.body_part import BodyPart
from scn_keras.datasets.synthetic_volume.spine_anatomy import sample_spine
from scn_keras.geometry import apply_affine

VERTEBRAE = range(6)
SACRUM, LEFT_WING, RIGHT_WING = 6, 7, 8


@pytest.fixture(scope="module")
def volumes() -> list[dict]:
    return [generate_volume(seed=3, index=index) for index in range(60)]


@pytest.fixture(scope="module")
def millimetres(volumes) -> np.ndarray:
    return np.stack([apply_affine(v["affine"], v["points"]) for v in volumes])


def patch(volume: dict, row: int, half_mm: float = 16.0, count: int = 9) -> np.ndarray:
    """Samples a cube around a landmark, along the axes of space."""
    offsets = np.linspace(-half_mm, half_mm, count)
    cube = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), -1)
    place = apply_affine(volume["affine"], volume["points"])[row] + cube.reshape(-1, 3)
    index = apply_affine(np.linalg.inv(volume["affine"]), place)
    return ndimage.map_coordinates(
        volume["image"].astype(float), index[:, ::-1].T, order=1, mode="nearest"
    )


def linear_accuracy(features: np.ndarray, classes: np.ndarray) -> float:
    """Fits a ridge classifier on two thirds of the samples, scores it on the rest."""
    count = len(features) * 2 // 3
    features = np.c_[features - features[:count].mean(0), np.ones(len(features))]
    one_hot = np.eye(classes.max() + 1)[classes]
    gram = features[:count].T @ features[:count]
    weights = np.linalg.solve(
        gram + 100.0 * np.eye(len(gram)), features[:count].T @ one_hot[:count]
    )
    return float(((features[count:] @ weights).argmax(-1) == classes[count:]).mean())


def test_same_seed_same_bytes():
    first = generate_volume(5, 7, (32, 24, 24))
    np.random.default_rng().standard_normal()
    generate_volume(5, 8, (32, 24, 24))
    again = generate_volume(5, 7, (32, 24, 24))
    for key in ("image", "points", "affine"):
        assert first[key].tobytes() == again[key].tobytes()


def test_same_bytes_in_another_process():
    code = """
import hashlib
from scn_keras.datasets.synthetic_volume import generate_volume
volume = generate_volume(5, 7, (32, 24, 24))
data = volume["image"].tobytes() + volume["points"].tobytes()
print(hashlib.sha256(data).hexdigest())
"""
    volume = generate_volume(5, 7, (32, 24, 24))
    expected = hashlib.sha256(volume["image"].tobytes() + volume["points"].tobytes())
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    assert printed.strip() == expected.hexdigest()


def test_index_and_seed_change_the_volume():
    base, *others = (
        generate_volume(seed, index, (32, 24, 24))
        for seed, index in ((5, 7), (5, 8), (6, 7))
    )
    for other in others:
        assert np.abs(base["points"] - other["points"]).max() > 1.0
        assert (base["image"] != other["image"]).mean() > 0.5


def test_output_form():
    volume = generate_volume(seed=0, index=0, size=(40, 32, 24))
    assert volume["image"].shape == (40, 32, 24)
    assert volume["image"].dtype == np.int16
    assert volume["points"].shape == (9, 3)
    assert volume["points"].dtype == np.float32
    assert volume["affine"].shape == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1, "index": 0}, "seed=-1"),
        ({"seed": 0, "index": -2}, "index=-2"),
        ({"seed": 0, "index": 0, "size": (15, 64, 64)}, r"size=\(15, 64, 64\)"),
        ({"seed": 0, "index": 0, "size": (64, 64)}, r"size=\(64, 64\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_volume(**arguments)


def test_same_field_at_two_resolutions():
    coarse = generate_volume(seed=9, index=1, size=(96, 64, 64))
    fine = generate_volume(seed=9, index=1, size=(192, 128, 192))
    scale = np.array([3, 2, 2])
    expected = (coarse["points"].astype(float) + 0.5) * scale - 0.5
    np.testing.assert_allclose(fine["points"], expected, atol=1e-3)
    np.testing.assert_allclose(
        apply_affine(coarse["affine"], coarse["points"]),
        apply_affine(fine["affine"], fine["points"]),
        atol=1e-3,
    )
    # The shift that is left between the two, by least squares on the gradient.
    reduced = fine["image"].reshape(96, 2, 64, 2, 64, 3).mean((1, 3, 5))
    inner = (slice(4, -4),) * 3
    gradient = np.stack([g[inner].ravel() for g in np.gradient(reduced)], -1)
    off = (coarse["image"] - reduced)[inner].ravel()
    assert np.abs(np.linalg.lstsq(gradient, off, rcond=None)[0]).max() < 0.03
    assert np.corrcoef(coarse["image"].ravel(), reduced.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("hole", [0.0, 0.6])
def test_centre_of_mass_of_a_part_is_its_centre(hole):
    """Also with anisotropic voxels, turned against the part and against space."""
    rng = np.random.default_rng(4)
    for _ in range(5):
        turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)]
        affine = np.eye(4)
        affine[:3, :3] = turns[0] * (2.3, 2.5, 3.4)
        affine[:3, 3] = rng.uniform(-300, 300, 3)
        place = rng.uniform(18, 22, 3)
        centre = apply_affine(affine, place[None])[0]
        half = rng.uniform(10, 22, 3)
        part = BodyPart(centre, turns[1], half, 150, 600, drum=4.0, hole=hole)
        volume = np.zeros((40, 40, 40), np.float32)
        part.draw(volume, affine)
        found = ndimage.center_of_mass(volume)[::-1]
        np.testing.assert_allclose(found, place, atol=0.03)


def test_ellipsoid_has_its_volume():
    half = np.array([20.0, 15.0, 12.0])
    part = BodyPart(np.full(3, 30.0), np.eye(3), half, 1.0)
    volume = np.zeros((60, 60, 60), np.float32)
    part.draw(volume, np.eye(4))
    assert volume.sum() == pytest.approx(4 / 3 * np.pi * half.prod(), rel=0.01)


def test_landmarks_are_centres_of_drawn_parts():
    spine = sample_spine(np.random.default_rng(2))
    centres = np.array([part.centre for part in spine.parts])
    for point in spine.points:
        assert np.abs(centres - point).max(1).min() == 0.0


def test_affine_is_the_one_of_itk(volumes):
    volume = volumes[5]
    affine = volume["affine"]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(volume["image"])
    image.SetSpacing(spacing)
    image.SetOrigin(affine[:3, 3])
    image.SetDirection((affine[:3, :3] / spacing).ravel())
    for point in volume["points"].astype(float):
        expected = image.TransformContinuousIndexToPhysicalPoint(point)
        np.testing.assert_allclose(apply_affine(affine, point[None])[0], expected)


def test_points_lie_inside(volumes):
    for volume in volumes:
        spacing = np.linalg.norm(volume["affine"][:3, :3], axis=0)
        size = np.array(volume["image"].shape[::-1])
        # The least margin is 20 mm from the edge of the field.
        assert ((volume["points"] + 0.5) * spacing > 19.9).all()
        assert ((size - 0.5 - volume["points"]) * spacing > 19.9).all()


def test_space_is_oblique_and_anisotropic(volumes):
    linear = np.stack([volume["affine"][:3, :3] for volume in volumes])
    spacing = np.linalg.norm(linear, axis=1)
    assert (spacing[:, 2] > 1.15 * spacing[:, :2].max(1)).all()
    assert (np.ptp(spacing, axis=0) > 0.05).all()
    directions = linear / spacing[:, None]
    np.testing.assert_allclose(np.linalg.det(directions), 1.0)
    angle = np.degrees(np.arccos((np.trace(directions, axis1=1, axis2=2) - 1) / 2))
    assert angle.min() > 0.5
    assert angle.std() > 1
    assert angle.max() < 15


def test_anatomy_is_that_of_a_person(millimetres):
    up = millimetres[:, 5] - millimetres[:, SACRUM]
    assert (up[:, 2] > 0.9 * np.linalg.norm(up, axis=1)).all()  # upwards is +z
    assert (np.diff(millimetres[:, VERTEBRAE, 2], axis=1) > 0).all()
    assert (millimetres[:, SACRUM, 2] < millimetres[:, 0, 2]).all()
    # In LPS, left is +x.
    assert (millimetres[:, LEFT_WING, 0] > millimetres[:, SACRUM, 0] + 15).all()
    assert (millimetres[:, RIGHT_WING, 0] < millimetres[:, SACRUM, 0] - 15).all()
    steps = np.linalg.norm(np.diff(millimetres[:, VERTEBRAE], axis=1), axis=-1)
    assert 24 < steps.min() < steps.max() < 46
    # The size of the person varies, and all its parts with it.
    assert np.corrcoef(steps[:, :3].mean(1), steps[:, 3:].mean(1))[0, 1] > 0.5


def test_values_are_hounsfield_units(volumes):
    images = np.stack([volume["image"] for volume in volumes])
    assert images.min() >= -1024
    assert images.max() <= 3071
    assert 20 < np.median(images) < 100  # muscle
    assert np.percentile(images, 99.5) > 350  # compact bone
    for volume in volumes:
        x, y, z = np.rint(volume["points"][VERTEBRAE]).astype(int).T
        assert (volume["image"][z, y, x] > 60).mean() > 0.8  # spongy bone
    assert np.std([np.median(image[:8]) for image in images]) > 2


def test_vertebrae_look_alike_around_their_middles(volumes):
    """A cube of 32 mm says that it shows a vertebra, and hardly which."""
    features, level, kind = [], [], []
    for volume in volumes:
        for row in range(9):
            grey = patch(volume, row)
            features.append((grey - grey.mean()) / (grey.std() + 1.0))
            level.append(row)
            kind.append(int(row not in VERTEBRAE))
    features, level = np.array(features), np.array(level)
    # Guessing scores 0.17.
    alike = np.isin(level, VERTEBRAE)
    assert linear_accuracy(features[alike], level[alike]) < 0.4
    assert linear_accuracy(features, np.array(kind)) > 0.9


def test_place_in_the_field_does_not_tell_the_vertebra(volumes):
    """The field moves by more than a vertebra."""
    places = np.stack([v["points"][VERTEBRAE, 2] / 96 for v in volumes])
    step = np.diff(places, axis=1).mean()
    assert np.ptp(places, axis=0).min() > 1.5 * step


def test_configuration_tells_vertebrae_apart(millimetres):
    """Seen from the sacrum, the place of a vertebra says which it is."""
    distance = np.linalg.norm(
        millimetres[:, VERTEBRAE] - millimetres[:, [SACRUM]], axis=-1
    )
    wings = np.linalg.norm(
        millimetres[:, LEFT_WING] - millimetres[:, RIGHT_WING], axis=1
    )
    distance /= np.linalg.norm(wings, axis=-1, keepdims=True)  # the person's size
    means = distance[:40].mean(0)
    found = np.abs(distance[40:, :, None] - means).argmin(-1)
    assert (found == np.arange(6)).mean() > 0.8


def test_schema():
    schema = Builder.SCHEMA
    assert len(schema) == 9
    assert schema.names[SACRUM] == "sacrum"
    assert schema.names[0] == "vertebra 1"
    assert schema.pairs == ((LEFT_WING, RIGHT_WING),)
    assert (SACRUM, 0) in schema.links


def test_configs_tell_each_other_apart():
    names = {
        SyntheticVolumeConfig(**arguments).name
        for arguments in (
            {},
            {"size": (48, 32, 32)},
            {"train": 7},
            {"test": 7},
            {"seed": 7},
        )
    }
    assert len(names) == 5
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["small", "large"]
    with pytest.raises(ValueError, match="test=0"):
        SyntheticVolumeConfig(test=0)


def test_builder_prepares_and_tfds_reads(tmp_path):
    config = SyntheticVolumeConfig(size=(32, 20, 24), train=3, test=2, seed=4)
    Builder(data_dir=tmp_path, config=config).download_and_prepare()
    builder = Builder(data_dir=tmp_path, config=config)
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 3,
        "test": 2,
    }
    assert "lower spine" in builder.info.description
    samples = {
        split: {
            sample["id"].decode(): sample
            for sample in tfds.as_numpy(builder.as_dataset(split=split))
        }
        for split in ("train", "test")
    }
    assert set(samples["train"]) == {"train_00000", "train_00001", "train_00002"}
    assert set(samples["test"]) == {"test_00000", "test_00001"}
    for split, first in (("train", 0), ("test", 1_000_000_000)):
        for number in range(2):
            sample = samples[split][f"{split}_{number:05d}"]
            volume = generate_volume(4, first + number, (32, 20, 24))
            np.testing.assert_array_equal(sample["image"][..., 0], volume["image"])
            np.testing.assert_array_equal(sample["points"], volume["points"])
            np.testing.assert_allclose(sample["affine"], volume["affine"], rtol=1e-6)
            assert sample["group"] == sample["id"]


def test_more_training_volumes_leave_the_test_volumes_alone():
    few, many = (
        Builder(config=SyntheticVolumeConfig(size=(16, 16, 16), train=train, test=1))
        for train in (1, 2)
    )
    (key, first), (other, second) = (
        next(builder._split_generators(None)["test"]) for builder in (few, many)
    )
    assert key == other == "test_00000"
    np.testing.assert_array_equal(first["image"], second["image"])
