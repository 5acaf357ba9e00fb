import numpy as np
import pytest

from scn_keras.pictures import project_to_planes

VOLUME = np.random.default_rng(0).normal(size=(9, 8, 7))  # z, y, x
POINTS = np.array([[1.0, 2.0, 3.0], [np.nan] * 3])


def test_a_2d_image_is_its_own_projection():
    image = VOLUME[0]
    (seen,) = project_to_planes(image, POINTS[:, :2], np.array([0.1, 0.3]))
    assert seen.plane is image
    np.testing.assert_array_equal(seen.points, POINTS[:, :2])
    assert seen.axes == (0, 1)
    assert seen.aspect == pytest.approx(3.0)


def test_a_volume_along_its_axes():
    spacing = np.array([0.1, 0.2, 0.5])
    along_z, along_y, along_x = project_to_planes(VOLUME, POINTS, spacing)
    np.testing.assert_array_equal(along_z.plane, VOLUME.max(axis=0))
    np.testing.assert_array_equal(along_y.plane, VOLUME.max(axis=1))
    np.testing.assert_array_equal(along_x.plane, VOLUME.max(axis=2))
    assert [p.axes for p in (along_z, along_y, along_x)] == [(0, 1), (0, 2), (1, 2)]
    # Columns and rows of the plane.
    np.testing.assert_array_equal(along_z.points[0], [1.0, 2.0])
    np.testing.assert_array_equal(along_y.points[0], [1.0, 3.0])
    np.testing.assert_array_equal(along_x.points[0], [2.0, 3.0])
    aspects = [p.aspect for p in (along_z, along_y, along_x)]
    np.testing.assert_allclose(aspects, [2.0, 5.0, 2.5])


def test_a_slab_around_a_place():
    volume = np.random.default_rng(1).normal(size=(40, 30, 20))
    along_z, along_y, along_x = project_to_planes(
        volume, POINTS, around=np.array([10.0, 15.0, 39.0])
    )
    np.testing.assert_array_equal(along_z.plane, volume[35:40].max(axis=0))
    np.testing.assert_array_equal(along_y.plane, volume[:, 12:19].max(axis=1))
    np.testing.assert_array_equal(along_x.plane, volume[:, :, 8:13].max(axis=2))


@pytest.mark.parametrize("spacing", [None, [np.nan] * 3, [0.0, 1.0, 1.0]])
def test_unknown_spacing_is_square(spacing):
    spacing = None if spacing is None else np.array(spacing)
    assert [p.aspect for p in project_to_planes(VOLUME, POINTS, spacing)] == [1.0] * 3


@pytest.mark.parametrize("place", [np.array([-50.0, 0.0, 900.0]), np.full(3, np.nan)])
def test_a_place_outside_still_has_a_plane(place):
    for seen in project_to_planes(VOLUME, POINTS, around=place):
        assert np.isfinite(seen.plane).all()
