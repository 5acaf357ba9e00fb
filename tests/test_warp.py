"""Deformed lattices and their inverse, on every backend and on NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage, optimize

from scn_keras import warp
from scn_keras.warp import KERAS, NUMPY

LIBRARIES = pytest.mark.parametrize("xp", [NUMPY, KERAS], ids=["numpy", "keras"])
MAPS = pytest.mark.parametrize(
    ("grid", "counts"),
    [
        ((48, 60), (5, 5)),
        ((33, 20), (8, 8)),
        ((24, 30, 20), (5, 5, 5)),
    ],
    ids=str,
)


def random_map(grid, counts, share=0.5, seed=0):
    """An affine and displacements up to a share of what is allowed."""
    d, random = len(grid), np.random.default_rng(seed)
    affine = np.eye(d + 1)
    affine[:d, :d] = 1.7 * np.eye(d) + random.normal(scale=0.25, size=(d, d))
    affine[:d, d] = random.normal(scale=9.0, size=d)
    unit = share * random.uniform(-1, 1, (d, *counts))
    cells = [g / (n - 3) for g, n in zip(grid, counts, strict=True)]
    limit = warp.INJECTIVE[d] * np.array(cells[::-1]).reshape(-1, *[1] * d)
    return affine.astype("float32"), (unit * limit).astype("float32")


def run(function, xp, *values):
    """Calls a function with tensors, compiled on JAX, and returns NumPy xp."""
    if xp is KERAS and keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    result = function(*[xp.convert_to_tensor(value) for value in values])
    return keras.tree.map_structure(number, result)


def number(x):
    return ops.convert_to_numpy(x) if not isinstance(x, np.ndarray) else x


def itk_transform(grid, elastic):
    """The displacements as SimpleITK has them, over the grid from edge to edge."""
    sitk = pytest.importorskip("SimpleITK")
    d = len(grid)
    transform = sitk.BSplineTransform(d, 3)
    transform.SetTransformDomainOrigin([-0.5] * d)
    transform.SetTransformDomainPhysicalDimensions([float(g) for g in grid[::-1]])
    transform.SetTransformDomainMeshSize([n - 3 for n in elastic.shape[:0:-1]])
    transform.SetParameters(elastic.astype(float).ravel().tolist())
    return transform


@LIBRARIES
@MAPS
def test_elastic_lattice_is_simpleitks(grid, counts, xp):
    affine, elastic = random_map(grid, counts)
    places = run(lambda a, e: warp.sampling_grid(a, grid, e, xp), xp, affine, elastic)
    transform = itk_transform(grid, elastic)
    random = np.random.default_rng(1)
    for _ in range(60):
        index = tuple(int(random.integers(0, g)) for g in grid)
        moved = transform.TransformPoint([float(i) for i in index[::-1]])
        expected = affine[:-1] @ [*moved, 1.0]
        found = [place[index] for place in places]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


@LIBRARIES
@pytest.mark.parametrize("grid", [(5, 7), (3, 4, 6)], ids=str)
def test_affine_lattice_by_hand(grid, xp):
    affine, _ = random_map(grid, [4] * len(grid))
    places = run(lambda a: warp.sampling_grid(a, grid, None, xp), xp, affine)
    for index in np.ndindex(grid):
        expected = affine[:-1] @ [*index[::-1], 1.0]
        found = [place[index] for place in places]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@LIBRARIES
@MAPS
def test_points_are_mapped_as_pixels(grid, counts, xp):
    affine, elastic = random_map(grid, counts, seed=3)
    index = np.stack([np.random.default_rng(0).integers(0, g, 40) for g in grid], -1)

    def both(affine, elastic, points):
        return (
            warp.sampling_grid(affine, grid, elastic, xp),
            warp.map_points(affine, points, grid, elastic, xp),
        )

    points = index[:, ::-1].astype("float32")
    places, found = run(both, xp, affine, elastic, points)
    expected = np.stack([place[tuple(index.T)] for place in places], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("xp", "share"),
    [(NUMPY, 0.3), (NUMPY, 1.0), (KERAS, 1.0)],
    ids=["numpy-0.3", "numpy-1", "keras-1"],
)
@MAPS
def test_inverse_is_a_numerical_inverse(grid, counts, share, xp):
    affine, elastic = random_map(grid, counts, share, seed=4)
    transform = itk_transform(grid, elastic)
    linear, offset = affine[:-1, :-1].astype(float), affine[:-1, -1].astype(float)
    random = np.random.default_rng(2)
    start = random.uniform(2.0, np.array(grid[::-1]) - 3.0, (8, len(grid)))
    image = np.stack(
        [linear @ np.array(transform.TransformPoint(p)) + offset for p in start]
    )
    missing = np.full((1, len(grid)), np.nan)
    points = np.concatenate([image, missing]).astype("float32")
    found = run(
        lambda a, p, e: warp.invert_map(a, p, grid, e, xp),
        xp,
        affine,
        points,
        elastic,
    )
    assert np.isnan(found[-1]).all()
    for point, guess, here in zip(image, start, found, strict=False):
        solution = optimize.root(
            lambda p, q=point: (
                linear @ np.array(transform.TransformPoint(p)) + offset - q
            ),
            guess,
        )
        assert solution.success
        np.testing.assert_allclose(here, solution.x, rtol=0, atol=2e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_the_strongest_deformations_are_inverted_everywhere(d):
    # Also those that squeeze most: control points of alternating sign.
    grid = (40, 52) if d == 2 else (24, 30, 28)
    random = np.random.default_rng(0)
    for trial in range(120):
        count = int(random.integers(4, 9 if d == 2 else 6))
        counts = (count,) * d
        unit = random.choice([-1.0, 1.0], (d, *counts))
        if trial % 3 == 0:
            unit *= random.uniform(0, 1, unit.shape)
        if trial % 3 == 1:
            unit = np.stack(
                [
                    (-1.0) ** np.indices(counts)[list(random.permutation(d))[0]]
                    for _ in range(d)
                ]
            )
        elastic = warp.bounded(1e3 * unit.astype("float32"), grid, NUMPY)
        affine, _ = random_map(grid, counts, seed=trial)
        start = random.uniform(-6, np.array(grid[::-1]) + 5, (40, d)).astype("float32")
        image = warp.map_points(affine, start, grid, elastic, NUMPY)
        found = warp.invert_map(affine, image, grid, elastic, NUMPY)
        np.testing.assert_allclose(found, start, rtol=0, atol=0.01)
        # Nothing is folded.
        _, slopes = warp._deformation(start, grid, elastic, NUMPY)
        assert (np.linalg.det(np.eye(d) + slopes) > 0).all()


def test_bounded_is_a_share_of_the_distance_of_control_points():
    huge = np.full((2, 5, 7), -1e6, "float32")  # 2 cells in y, 4 in x
    found = warp.bounded(huge, (30, 40), NUMPY)
    np.testing.assert_allclose(found[0], -0.48 * 10, rtol=1e-6)
    np.testing.assert_allclose(found[1], -0.48 * 15, rtol=1e-6)
    small = np.full((3, 4, 4, 4), 2.0, "float32")
    np.testing.assert_array_equal(warp.bounded(small, (8, 8, 8), NUMPY), small)


@LIBRARIES
@pytest.mark.parametrize(
    "shape", [(13, 17), (1, 1), (1, 9), (2, 2), (7, 5, 6)], ids=str
)
@pytest.mark.parametrize("outside", [-1.0, 0.25])
def test_interpolates_as_scipy(shape, outside, xp):
    random, d = np.random.default_rng(1), len(shape)
    image = random.normal(size=shape).astype("float32")
    size = np.array(shape[::-1])
    places = [
        random.uniform(-3, size + 2, (400, d)),
        random.uniform(-1, 0, (40, d)),  # blends of border and outside
        size - 1 + random.uniform(0, 1, (40, d)),
        random.integers(-1, size + 1, (60, d)),  # exactly on pixels
        random.choice([-1e6, 1e6, 0.0], (9, d)),
    ]
    # A grid of any shape.
    places = np.concatenate(places).astype("float32").reshape(*[3] * (d - 1), -1, d)
    expected = ndimage.map_coordinates(
        image.astype(float),
        list(np.moveaxis(places, -1, 0)[::-1]),
        order=1,
        mode="grid-constant",
        cval=outside,
    )
    components = [np.ascontiguousarray(p) for p in np.moveaxis(places, -1, 0)]
    sizes = [s + 2 for s in shape]

    def read(image, *places):
        bordered = warp.pad_border(image, d, outside, xp)
        flat = xp.pad(xp.reshape(bordered, (-1,)), [[0, 9]])
        return (
            warp.interpolate(bordered, places, xp),
            warp.interpolate(flat, places, xp, sizes),
        )

    found, from_flat = run(read, xp, image, *components)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(from_flat, found)


@LIBRARIES
@pytest.mark.parametrize("grid", [(12, 16), (6, 8, 10)], ids=str)
def test_a_batch_is_its_samples(grid, xp):
    d = len(grid)
    maps = [random_map(grid, [5] * d, seed=seed) for seed in range(3)]
    affine, elastic = (np.stack(values) for values in zip(*maps, strict=True))
    image = np.random.default_rng(5).normal(size=(3, *[2 * g for g in grid]))
    image = image.astype("float32")
    points = np.random.default_rng(6).uniform(0, 20, (3, 4, d)).astype("float32")

    def both(affine, elastic, image, points):
        places = warp.sampling_grid(affine, grid, elastic, xp)
        bordered = warp.pad_border(image, d, 0.0, xp)
        return (
            warp.interpolate(bordered, places, xp),
            warp.invert_map(affine, points, grid, elastic, xp),
        )

    whole = run(both, xp, affine, elastic, image, points)
    for row in range(3):
        single = run(both, xp, affine[row], elastic[row], image[row], points[row])
        np.testing.assert_allclose(whole[0][row], single[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole[1][row], single[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("grid", [(20, 24), (10, 12, 14)], ids=str)
def test_keras_gives_the_numbers_of_numpy(grid):
    affine, elastic = random_map(grid, [5] * len(grid), seed=8)
    image = np.random.default_rng(0).normal(size=[3 * g for g in grid])
    results = []
    for xp in (NUMPY, KERAS):

        def read(affine, elastic, image, xp=xp):
            places = warp.sampling_grid(affine, grid, elastic, xp)
            bordered = warp.pad_border(image, len(grid), -1.0, xp)
            return warp.interpolate(bordered, places, xp)

        results.append(run(read, xp, affine, elastic, image.astype("float32")))
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=2e-4)


@LIBRARIES
def test_aspect_of_an_affine(xp):
    turned = [[0.0, -0.2, 9.0], [0.1, 0.0, -5.0], [0.0, 0.0, 1.0]]
    unusable = [
        np.diag([*spacing, 1.0])
        for spacing in ((0.0, 0.1), (np.nan, 0.1), (np.inf, 0.1), (0.0, 0.0))
    ]
    affines = np.stack([turned, *unusable]).astype("float32")

    def aspect(affines):
        return warp.aspect_of(affines, xp)

    found = run(aspect, xp, affines)
    np.testing.assert_allclose(found, [[0.1, 0.2]] + [[1.0, 1.0]] * 4, rtol=1e-6)


@LIBRARIES
@pytest.mark.parametrize("shapes", [((9, 12), (14, 7)), ((4, 5, 6), (7, 4, 3))])
def test_images_of_unlike_sizes_in_one_batch(shapes, xp):
    d = len(shapes[0])
    random = np.random.default_rng(3)
    images = [random.normal(size=shape).astype("float32") for shape in shapes]
    places = [random.uniform(-3, 16, (2, *[5] * d)).astype("float32") for _ in range(d)]
    flat = np.zeros((2, max(np.prod(np.add(s, 2)) for s in shapes) + 5), "float32")
    for row, image in enumerate(images):
        bordered = np.pad(image, 1, constant_values=-1.0).ravel()
        flat[row, : bordered.size] = bordered
    sizes = np.add(shapes, 2).astype("int32")

    def read(flat, sizes, *places):
        return warp.interpolate(flat, places, xp, sizes)

    found = run(read, xp, flat, sizes, *places)
    for row, image in enumerate(images):
        expected = ndimage.map_coordinates(
            image,
            [place[row] for place in reversed(places)],
            order=1,
            mode="grid-constant",
            cval=-1.0,
        )
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-5)
