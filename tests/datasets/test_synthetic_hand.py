"""Synthetic hands: determinism, geometry, anatomy, likeness of fingers, TFDS."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy import ndimage, spatial

from scn_keras.datasets.synthetic_hand import (
    Builder,
    SyntheticHandConfig,
    generate_hand,
)
from scn_keras.datasets.synthetic_hand.bone import Bone
from scn_keras.datasets.synthetic_hand.hand_anatomy import sample_hand

SIZE = (256, 200)
FINGERS = {
    "index": (16, 21, 22, 23, 24),
    "middle": (15, 25, 26, 27, 28),
    "ring": (14, 29, 30, 31, 32),
    "little": (13, 33, 34, 35, 36),
}
THUMB = (17, 18, 19, 20)


@pytest.fixture(scope="module")
def hands() -> list[dict]:
    return [generate_hand(seed=3, index=index, size=SIZE) for index in range(120)]


@pytest.fixture(scope="module")
def millimetres(hands) -> np.ndarray:
    return np.stack([hand["points"] * hand["spacing"] for hand in hands])


def in_hand_frame(points: np.ndarray) -> np.ndarray:
    """Moves the base of metacarpal 3 to the origin, and its ray to +y."""
    origin = points[:, 15:16]
    up = points[:, 25] - points[:, 15]
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    right = np.stack([-up[:, 1], up[:, 0]], -1)
    frame = np.stack([right, up], -1)
    return (points - origin) @ frame


def patch(hand: dict, row: int, previous: int, half_mm: float, count: int = 21):
    """Samples a square around a landmark whose rows run along the finger."""
    step = hand["points"][row] - hand["points"][previous]
    along = step / np.linalg.norm(step)
    across = np.array([-along[1], along[0]])
    offsets = np.linspace(-half_mm, half_mm, count) / hand["spacing"]
    u, v = np.meshgrid(offsets, offsets)
    x, y = (
        hand["points"][row][axis] + u * across[axis] + v * along[axis]
        for axis in (0, 1)
    )
    grey = hand["image"].astype(float)
    return ndimage.map_coordinates(grey, [y, x], order=1, mode="nearest")


def patches_of(hands: list[dict], levels: list[list[tuple[int, int]]]):
    """Samples normalised patches, `levels[k]` being class `k` of `(row, previous)`."""
    features, classes = [], []
    for hand in hands:
        for number, rows in enumerate(levels):
            for row, previous in rows:
                grey = patch(hand, row, previous, half_mm=7.0).ravel()
                features.append((grey - grey.mean()) / (grey.std() + 1.0))
                classes.append(number)
    return np.array(features), np.array(classes)


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
    first = generate_hand(seed=5, index=7, size=(128, 100))
    np.random.default_rng().standard_normal()
    generate_hand(seed=5, index=8, size=(128, 100))
    again = generate_hand(seed=5, index=7, size=(128, 100))
    assert first["image"].tobytes() == again["image"].tobytes()
    assert first["points"].tobytes() == again["points"].tobytes()
    assert first["spacing"] == again["spacing"]


def test_same_bytes_in_another_process():
    code = """
import hashlib
from scn_keras.datasets.synthetic_hand import generate_hand
hand = generate_hand(5, 7, (64, 50))
data = hand["image"].tobytes() + hand["points"].tobytes()
print(hashlib.sha256(data).hexdigest())
"""
    hand = generate_hand(5, 7, (64, 50))
    expected = hashlib.sha256(hand["image"].tobytes() + hand["points"].tobytes())
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    assert printed.strip() == expected.hexdigest()


def test_index_and_seed_change_the_hand():
    base, *others = (
        generate_hand(seed, index, (128, 100))
        for seed, index in ((5, 7), (5, 8), (6, 7))
    )
    for other in others:
        assert np.abs(base["points"] - other["points"]).max() > 2.0
        assert (base["image"] != other["image"]).mean() > 0.5


def test_output_form():
    hand = generate_hand(seed=0, index=0, size=(96, 64))
    assert hand["image"].shape == (96, 64)
    assert hand["image"].dtype == np.uint8
    assert hand["points"].shape == (37, 2)
    assert hand["points"].dtype == np.float32
    assert isinstance(hand["spacing"], float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1, "index": 0}, "seed=-1"),
        ({"seed": 0, "index": -2}, "index=-2"),
        ({"seed": 0, "index": 0, "size": (31, 64)}, r"size=\(31, 64\)"),
        ({"seed": 0, "index": 0, "size": (64,)}, r"size=\(64,\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_hand(**arguments)


@pytest.mark.parametrize("index", [0, 1])
def test_same_hand_at_two_resolutions(index):
    coarse = generate_hand(seed=9, index=index, size=(320, 250))
    fine = generate_hand(seed=9, index=index, size=(960, 750))
    expected = (coarse["points"].astype(float) + 0.5) * 3 - 0.5
    np.testing.assert_allclose(fine["points"], expected, atol=1e-3)
    assert coarse["spacing"] == pytest.approx(3 * fine["spacing"], rel=1e-12)

    # Averaging 3 x 3 pixels is the convention's own reduction; the shift that is left
    # between the two is found by least squares on the gradient.
    reduced = fine["image"].reshape(320, 3, 250, 3).mean((1, 3))
    inner = (slice(40, 280), slice(30, 220))
    down, across = (g[inner].ravel() for g in np.gradient(reduced))
    off = (coarse["image"] - reduced)[inner].ravel()
    shift = np.linalg.lstsq(np.stack([across, down], -1), off, rcond=None)[0]
    assert np.abs(shift).max() < 0.02
    assert np.corrcoef(coarse["image"].ravel(), reduced.ravel())[0, 1] > 0.985


def test_another_shape_of_field_shows_the_same_hand():
    tall = generate_hand(seed=9, index=4, size=(256, 200))
    wide = generate_hand(seed=9, index=4, size=(160, 320))
    distances = [
        spatial.distance.pdist(h["points"].astype(float)) * h["spacing"]
        for h in (tall, wide)
    ]
    np.testing.assert_allclose(*distances, atol=1e-3)


def test_points_lie_inside(hands):
    for hand in hands:
        low, high = hand["points"].min(0), hand["points"].max(0)
        # The least margin is 6 mm.
        assert (low * hand["spacing"] > 5).all()
        assert ((np.array(SIZE[::-1]) - 1 - high) * hand["spacing"] > 5).all()


def test_no_border_object_covers_a_landmark(hands):
    # Blades and labels are flat black or white; tissue lies between.
    for hand in hands:
        x, y = np.rint(hand["points"]).astype(int).T
        assert (hand["image"][y, x] > 20).all()


def test_landmarks_are_corners_of_drawn_bones():
    hand = sample_hand(np.random.default_rng(2))
    corners = np.concatenate([bone.film_outline() for bone in hand.bones])
    distance, _ = spatial.cKDTree(corners).query(hand.points)
    np.testing.assert_allclose(distance, 0.0, atol=1e-9)


@pytest.mark.parametrize("number", [0, 4, 13, 25])
def test_bone_is_drawn_where_its_outline_is(number):
    bone: Bone = sample_hand(np.random.default_rng(2)).bones[number]
    pitch = 0.125
    outline = bone.film_outline()
    bone.origin = bone.origin - outline.min(0) + 3.0
    outline = outline - outline.min(0) + 3.0
    film = np.zeros((720, 720), np.float32)  # 90 mm
    bone.add_to(film, pitch, np.zeros((8, 8), np.float32))
    drawn = film > 0
    # Area and centroid of the polygon by the shoelace formula.
    x, y = outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    cross = x * y1 - x1 * y
    area = cross.sum() / 2
    centroid = np.array([((x + x1) * cross).sum(), ((y + y1) * cross).sum()])
    centroid /= 6 * area
    assert drawn.sum() * pitch**2 == pytest.approx(abs(area), rel=0.02)
    rows, columns = np.nonzero(drawn)
    found = (np.array([columns.mean(), rows.mean()]) + 0.5) * pitch
    np.testing.assert_allclose(found, centroid, atol=0.1 * pitch)


@pytest.mark.parametrize(
    "rows", [[finger[-2:] for finger in FINGERS.values()], [THUMB[-2:]]]
)
def test_fingertips_in_the_image_are_where_the_points_say(hands, rows):
    """The mean patch around the tips is symmetric about the axis and steps there."""
    count, half = 57, 7.0
    mean = np.mean([patch(h, b, a, half, count) for h in hands for a, b in rows], 0)
    mm = np.linspace(-half, half, count)
    # 3 mm before the tip. A pixel is about 1 mm, and the thumb points sideways: an
    # offset of a tenth of a pixel in x or in y would show.
    across = mean[count // 2 - 12] - mean.min()
    assert (across * mm).sum() / across.sum() == pytest.approx(0.0, abs=0.05)
    # The bone's end is the steepest place along the axis.
    along = mean[:, count // 2 - 2 : count // 2 + 3].mean(1)
    near = np.abs(mm) < 2.5
    assert -0.6 < mm[near][np.gradient(along)[near].argmin()] < 0.3


def test_anatomy_is_that_of_a_left_hand(millimetres):
    frame = in_hand_frame(millimetres)
    x, y = frame[..., 0], frame[..., 1]
    # Knuckles from the little finger to the index finger, then the thumb.
    for left, right in ((33, 29), (29, 25), (25, 21), (21, 18)):
        assert (x[:, left] < x[:, right]).all()
    for left, right in ((13, 14), (14, 15), (15, 16), (16, 17)):
        assert (x[:, left] < x[:, right]).all()
    for left, right in ((0, 2), (2, 3), (3, 4), (1, 5), (6, 7), (7, 8), (9, 10)):
        assert (x[:, left] < x[:, right]).all()
    for left, right in ((10, 11), (11, 12)):
        assert (x[:, left] < x[:, right]).all()
    # From wrist to fingertips: forearm, proximal row, distal row, metacarpals.
    assert (y[:, [0, 2, 3, 4]].max(1) < y[:, [6, 7, 8]].min(1)).all()
    assert (y[:, 7] < y[:, 10]).all()
    assert (y[:, 10] < y[:, 15]).all()
    for finger in (*FINGERS.values(), THUMB):
        assert (np.diff(y[:, finger], axis=1) > 0).all()


def test_lengths_are_those_of_hands(millimetres):
    def length(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(millimetres[:, a] - millimetres[:, b], axis=-1)

    # From school children to adults; a palm's ray and the hand from wrist to tip.
    for rows, least, most in (
        ((15, 25), 38, 82),
        ((7, 28), 115, 230),
        ((1, 5), 24, 55),
        ((25, 26), 25, 58),
        ((27, 28), 10, 26),
    ):
        assert length(*rows).min() > least
        assert length(*rows).max() < most
    # Size is really physical: it varies, and its parts vary together.
    assert length(7, 28).max() > 1.3 * length(7, 28).min()
    assert np.corrcoef(length(15, 25), length(1, 5))[0, 1] > 0.6
    # The middle finger is the longest on average, the little finger the shortest.
    fingers = {name: length(f[1], f[-1]).mean() for name, f in FINGERS.items()}
    assert sorted(fingers, key=fingers.get) == ["little", "index", "ring", "middle"]


def test_pose_exposure_and_spacing_vary(hands, millimetres):
    def angle(a: int, b: int) -> np.ndarray:
        step = millimetres[:, b] - millimetres[:, a]
        return np.degrees(np.arctan2(step[:, 0], -step[:, 1]))

    assert 7 < angle(15, 25).std() < 16
    assert np.abs(angle(15, 25)).max() < 35
    spread = angle(21, 22) - angle(33, 34)
    assert spread.std() > 5
    assert spread.min() > 0
    assert (angle(18, 19) - angle(17, 18)).std() > 5  # the thumb
    for finger in FINGERS.values():
        assert (angle(*finger[2:4]) - angle(*finger[1:3])).std() > 2
    spacings = np.array([hand["spacing"] for hand in hands])
    assert spacings.std() / spacings.mean() > 0.07
    images = np.stack([hand["image"] for hand in hands]).astype(float)
    assert np.median(images, axis=(1, 2)).std() > 12
    assert np.percentile(images, 99, axis=(1, 2)).std() > 8


def test_fingers_look_alike_around_their_joints(hands):
    """A patch of 14 mm says which joint it shows, and hardly of which finger."""
    for level in (2, 3, 4):
        own = [[(finger[level], finger[level - 1])] for finger in FINGERS.values()]
        # Guessing scores 0.25; one finger always against three.
        assert linear_accuracy(*patches_of(hands, own)) < 0.5, level
    joints = [
        [(finger[level], finger[level - 1]) for finger in FINGERS.values()]
        for level in (1, 2, 3, 4)
    ]
    assert linear_accuracy(*patches_of(hands, joints)) > 0.9


def test_layout_tells_fingers_apart(millimetres):
    """Seen from the wrist, the place of a joint says of which finger it is."""
    frame = in_hand_frame(millimetres)
    frame /= np.linalg.norm(frame[:, 25], axis=-1)[:, None, None]
    for level in (2, 3, 4):
        rows = [finger[level] for finger in FINGERS.values()]
        places = frame[:, rows].reshape(-1, 2) * 100.0
        classes = np.tile(np.arange(4), len(frame))
        assert linear_accuracy(places, classes) > 0.85, level


def test_numbering_matches_the_atlas(shared_data, millimetres):
    """The mean shapes of real annotations and of synthetic hands nearly coincide."""
    table = shared_data / "hand" / "setup" / "all.csv"
    real = np.loadtxt(table, delimiter=",")[:, 1:].reshape(-1, 37, 2)
    means = [np.median(in_hand_frame(p), 0) for p in (real / 10.0, millimetres)]
    means = [m / np.linalg.norm(m[25]) for m in means]
    # In shares of a palm's length (about 60 mm): landmarks keep their numbers.
    distances = spatial.distance.cdist(*means)
    assert (distances.argmin(1) == np.arange(37)).all()
    assert distances.diagonal().max() < 0.1
    assert distances.diagonal().mean() < 0.03


def test_schema():
    schema = Builder.SCHEMA
    assert len(schema) == 37
    # A hand on its film has no left and right pairs.
    assert schema.pairs == ()
    assert schema.names[1] == "ulnar styloid"
    assert schema.names[5] == "radial styloid"
    assert [schema.names[finger[-1]] for finger in FINGERS.values()] == [
        "index tip",
        "middle tip",
        "ring tip",
        "little tip",
    ]


def test_configs_tell_each_other_apart():
    names = {
        SyntheticHandConfig(**arguments).name
        for arguments in (
            {},
            {"size": (64, 50)},
            {"train": 7},
            {"test": 7},
            {"seed": 7},
        )
    }
    assert len(names) == 5
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["small", "large"]
    with pytest.raises(ValueError, match="test=0"):
        SyntheticHandConfig(test=0)


def test_builder_prepares_and_tfds_reads(tmp_path):
    config = SyntheticHandConfig(size=(64, 50), train=3, test=2, seed=4)
    Builder(data_dir=tmp_path, config=config).download_and_prepare()
    builder = tfds.builder_from_directory(
        tmp_path / "synthetic_hand" / config.name / "1.0.0"
    )
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 3,
        "test": 2,
    }
    assert "37 landmarks" in builder.info.description
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
            hand = generate_hand(4, first + number, (64, 50))
            np.testing.assert_array_equal(sample["image"][..., 0], hand["image"])
            np.testing.assert_array_equal(sample["points"], hand["points"])
            diagonal = [hand["spacing"], hand["spacing"], 1.0]
            np.testing.assert_allclose(sample["affine"], np.diag(diagonal), rtol=1e-6)
            assert sample["group"] == sample["id"]


def test_more_training_hands_leave_the_test_hands_alone():
    few, many = (
        Builder(config=SyntheticHandConfig(size=(32, 32), train=train, test=1))
        for train in (1, 2)
    )
    (key, first), (other, second) = (
        next(builder._split_generators(None)["test"]) for builder in (few, many)
    )
    assert key == other == "test_00000"
    np.testing.assert_array_equal(first["image"], second["image"])
