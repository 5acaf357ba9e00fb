"""A volume gives the same points in whatever order a file stores its voxels."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from scn_keras.geometry import apply_affine, invert_affine
from scn_keras.inference import ImageToGrid, Locator
from scn_keras.inference.locator import to_views
from scn_keras.inference.patient_axes import (
    from_stored,
    sample_in_grid_axes,
    to_patient_axes,
)
from tests.inference.test_locator import BrightestPoint, blob

CODES = [
    "".join(letters[flip] for letters, flip in zip(pairs, flips, strict=True))
    for pairs in itertools.permutations(("LR", "PA", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
]


def volume(array, angle=0.2):
    """An image whose axes are turned by `angle` against those of the patient."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 1.1, 2.3))
    image.SetOrigin((-31.0, 12.0, 150.0))
    turn = sitk.Euler3DTransform((0, 0, 0), angle, 0.7 * angle, -angle)
    image.SetDirection(turn.GetMatrix())
    return image


def parts(image):
    """The voxels `(z, y, x, 1)` and the affine of an image of ITK."""
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = direction * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image)[..., None], affine.astype(np.float32)


@pytest.mark.parametrize("code", CODES)
def test_axes_are_those_of_itk(code):
    array = np.random.default_rng(0).integers(-99, 99, (4, 5, 6), "int16")
    upright = volume(array)
    expected, expected_affine = parts(sitk.DICOMOrient(upright, "LPS"))
    stored, affine = parts(sitk.DICOMOrient(upright, code))
    turned, to_stored = to_patient_axes(stored, affine)
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_allclose(affine @ to_stored.numpy(), expected_affine, atol=1e-4)
    identity = to_stored.numpy() @ from_stored(to_stored).numpy()
    np.testing.assert_array_equal(identity, np.eye(4))


def test_volume_without_spacing_stays_as_it_is():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    affine = np.diag([0.0, 0.0, 0.0, 1.0]).astype(np.float32)
    turned, to_stored = to_patient_axes(array, affine)
    np.testing.assert_array_equal(turned, array)
    np.testing.assert_array_equal(to_stored, np.eye(4))


@pytest.mark.parametrize("code", ("LPS", "RAS", "SLA"))
def test_points_do_not_depend_on_the_order_of_voxels(code):
    point = np.array([11.0, 6.0, 8.0])
    upright = volume(blob((16, 20, 24), point, 2.0)[..., 0])
    stored, affine = parts(sitk.DICOMOrient(upright, code))
    sample = tf.data.Dataset.from_tensors({"image": stored, "affine": affine})
    expected = upright.TransformContinuousIndexToPhysicalPoint(point)
    shown = {}
    for axes in ("patient", "stored"):
        model = BrightestPoint()
        to_grid = ImageToGrid((16, 16, 16), axes=axes)
        (outputs,) = Locator(model, to_grid).locate(sample)
        # Half a voxel of the grid, 2.3 mm.
        assert np.linalg.norm(outputs["points_mm"][0] - expected) < 1.2
        (shown[axes],) = model.shown
    (of_upright, _) = to_views(*parts(upright), ImageToGrid((16, 16, 16)))
    np.testing.assert_allclose(shown["patient"], of_upright, atol=1e-5)
    is_same = np.allclose(shown["stored"], of_upright, atol=1e-3)
    assert is_same == (code == "LPS")


def test_a_placed_grid_is_a_placement_in_the_stored_voxels():
    upright = volume(np.random.default_rng(1).random((9, 8, 7), "float32"))
    stored, affine = parts(sitk.DICOMOrient(upright, "IRP"))
    array, upright_affine = parts(upright)
    place = np.array([[2, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1.5, -1], [0, 0, 0, 1.0]])
    place = place.astype(np.float32)
    to_grid = ImageToGrid((4, 4, 4), axes="patient")
    expected, to_upright = to_views(array, upright_affine, to_grid, place=place)
    in_stored = invert_affine(affine) @ upright_affine @ place
    image, to_stored = to_views(
        stored, affine, to_grid, place=in_stored.astype(np.float32)
    )
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_allclose(
        affine @ to_stored[0], upright_affine @ to_upright[0], atol=1e-4
    )


def test_a_graph_for_volumes_of_any_size_gives_the_same():
    to_grid = ImageToGrid((8, 8, 8), axes="patient")
    specs = tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((4, 4))
    graph = tf.function(
        lambda image, affine: to_views(image, affine, to_grid), input_signature=specs
    )
    upright = volume(np.random.default_rng(2).random((9, 8, 7), "float32"))
    image, affine = parts(sitk.DICOMOrient(upright, "ASR"))
    for first, second in zip(
        graph(image, affine), to_views(image, affine, to_grid), strict=True
    ):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_samples_of_the_training_are_turned_with_their_points():
    upright = volume(np.random.default_rng(3).integers(0, 9, (5, 6, 7), "int16"))
    image, affine = parts(sitk.DICOMOrient(upright, "PIR"))
    points = np.array([[1.0, 2.0, 3.0], [np.nan] * 3], np.float32)
    sample = {"id": "a", "image": image, "affine": affine, "points_senior": points}
    turned = sample_in_grid_axes(sample, ImageToGrid((8, 8, 8), axes="patient"))
    expected, expected_affine = parts(upright)
    np.testing.assert_array_equal(turned["image"], expected)
    np.testing.assert_allclose(turned["affine"], expected_affine, atol=1e-4)
    np.testing.assert_allclose(
        apply_affine(turned["affine"], turned["points_senior"]),
        apply_affine(affine, points),
        atol=1e-4,
    )
    as_stored = sample_in_grid_axes(sample, ImageToGrid((8, 8, 8)))
    assert as_stored["image"] is image and as_stored["points_senior"] is points


def test_axes_are_validated():
    with pytest.raises(ValueError, match="one of stored, patient.*axes='LPS'"):
        ImageToGrid((8, 8, 8), axes="LPS")
    with pytest.raises(ValueError, match="for volumes.*axes='patient'"):
        ImageToGrid((8, 8), axes="patient")
