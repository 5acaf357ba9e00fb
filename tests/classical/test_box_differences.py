"""Box features against loops over the pixels of each box."""

import numpy as np
import pytest

from scn_keras.classical import BoxDifferences, box_means


def mean_by_loop(image, center, width):
    """The mean of a box, by visiting its pixels; `center` in array order."""
    center = [
        min(max(c, 0), size - 1) for c, size in zip(center, image.shape, strict=True)
    ]
    values = [
        image[index]
        for index in np.ndindex(image.shape)
        if all(abs(i - c) <= width // 2 for i, c in zip(index, center, strict=True))
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("shape", [(7, 9), (4, 6, 5)])
def test_features_equal_a_loop_over_pixels_also_outside_of_the_image(shape):
    random = np.random.default_rng(1)
    image = random.normal(1000.0, 10.0, shape)  # far from 0, as CT
    rank = len(shape)
    features = BoxDifferences.draw(11, (8, 2), (1, 3, 5), rank, random)
    corners = [[0] * rank, [size - 1 for size in shape[::-1]]]
    positions = np.array([*corners, [2] * rank])
    expected = [
        [
            mean_by_loop(image, (p + a)[::-1], features.widths[i])
            - mean_by_loop(image, (p + b)[::-1], features.widths[j])
            for (a, b), (i, j) in zip(features.offsets, features.boxes, strict=True)
        ]
        for p in positions
    ]
    found = features(image, positions)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    # Offsets leave the image, otherwise the border would not be tested.
    assert (positions[0] + features.offsets).min() < -2


def test_means_at_borders_by_hand():
    image = np.array([[0.0, 6.0], [2.0, 4.0], [10.0, 20.0]])
    one, three = box_means(image, (1, 3))
    np.testing.assert_array_equal(one, image)
    np.testing.assert_allclose(three, [[3.0, 3.0], [7.0, 7.0], [9.0, 9.0]])


def test_brightness_has_no_influence():
    random = np.random.default_rng(0)
    image = random.uniform(size=(12, 10))
    features = BoxDifferences.draw(20, (6,), (1, 5), 2, random)
    at = [[3, 4], [9, 0]]
    np.testing.assert_allclose(
        features(image + 5.0, at), features(image, at), atol=1e-5
    )


def test_drawn_features_have_the_ranges_and_the_seed():
    def draw(seed):
        return BoxDifferences.draw(400, (50, 5), (1, 9), 3, np.random.default_rng(seed))

    long, short = np.abs(draw(0).offsets[::2]), np.abs(draw(0).offsets[1::2])
    assert 48 <= long.max() <= 50 and short.max() == 5
    assert 23 < long.mean() < 27  # half of the range: uniform
    assert set(draw(0).boxes.flat) == {0, 1}
    np.testing.assert_array_equal(draw(0).offsets, draw(0).offsets)
    assert (draw(0).offsets != draw(1).offsets).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 2)), np.zeros((3, 2)), (1,)), r"\(features, 2, D\).*\(3, 2\)"),
        ((np.zeros((3, 2, 2)), np.zeros((2, 2)), (1,)), r"`boxes`.*\(3, 2\).*\(2, 2\)"),
        ((np.zeros((1, 2, 2)), np.zeros((1, 2)), (2,)), r"`widths`.*\(2,\)"),
        ((np.zeros((1, 2, 2)), np.ones((1, 2)), (3,)), "`boxes`.*1 widths.*1 to 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoxDifferences(*arguments)


def test_an_image_of_other_axes_is_refused():
    features = BoxDifferences(np.zeros((1, 2, 2)), np.zeros((1, 2)), (3,))
    with pytest.raises(ValueError, match=r"2 axes.*\(4, 4, 4\)"):
        features(np.zeros((4, 4, 4)), [[0, 0]])
