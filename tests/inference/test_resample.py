import io
import math
import resource
import struct
from fractions import Fraction

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from scn_keras.inference import ImageToGrid, decode, resample
from scn_keras.layers import HeatmapPeak

RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (13, 17), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (13, 17), dtype=np.uint16)
COLOUR = RANDOM.integers(0, 256, (13, 17, 3), dtype=np.uint8)
BYTES = tf.TensorSpec((), tf.string)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def luma(colour):
    """The luma of ITU-R BT.601, rounded to a grey level."""
    thousandths = colour[..., :3].astype(int) @ [299, 587, 114]
    return (thousandths + 500) // 1000 / 255.0


def smooth_colours():
    """Colours that YCbCr can hold, which noise's are not."""
    y, x = np.mgrid[:40, :48]
    wave = np.sin(0.1 * x) + np.cos(0.13 * y)
    channels = [128 + 40 * np.sin(k + wave) for k in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def decode_graph():
    return tf.function(decode.decode_image, input_signature=[BYTES])


def decode_everywhere(data, decode_graph):
    """Decodes eagerly, in a graph and in a map over a batch: all the same."""
    eager = decode.decode_image(tf.constant(data)).numpy()
    graph = decode_graph(tf.constant(data)).numpy()
    batch = tf.map_fn(
        decode_graph,
        tf.constant([data, data]),
        fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32),
    ).numpy()
    assert eager.dtype == np.float32
    np.testing.assert_allclose(graph, eager, rtol=0, atol=2e-7)
    np.testing.assert_array_equal(batch[0], graph)
    np.testing.assert_array_equal(batch[1], graph)
    return eager[..., 0]


PALETTE = Image.fromarray(COLOUR).quantize(23)
NEGATIVE = Image.fromarray(GREY).convert("P")
NEGATIVE.putpalette([255 - v // 3 for v in range(768)])  # 0 is white


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.fromarray(GREY), "PNG", GREY / 255),
        (Image.fromarray(DEEP), "PNG", DEEP / 65535),
        (Image.fromarray(GREY > 99), "PNG", GREY > 99),
        (Image.fromarray(COLOUR), "PNG", luma(COLOUR)),
        (Image.fromarray(np.dstack([COLOUR, GREY])), "PNG", luma(COLOUR)),
        (Image.fromarray(np.dstack([GREY, COLOUR[..., 0]])), "PNG", GREY / 255),
        (PALETTE, "PNG", luma(np.asarray(PALETTE.convert("RGB")))),
        (Image.fromarray(GREY), "BMP", GREY / 255),
        (Image.fromarray(COLOUR), "BMP", luma(COLOUR)),
        (Image.fromarray(np.dstack([COLOUR, GREY])), "BMP", luma(COLOUR)),
        (PALETTE, "BMP", luma(np.asarray(PALETTE.convert("RGB")))),
        (NEGATIVE, "BMP", 1 - GREY / 255),
    ],
    ids="png8 png16 png1 png_rgb png_rgba png_la png_palette "
    "bmp8 bmp_rgb bmp_rgba bmp_palette bmp_negative".split(),
)
def test_decodes_as_stored(image, kind, expected, decode_graph):
    found = decode_everywhere(encode(image, kind), decode_graph)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_decodes_what_simpleitk_wrote(tmp_path):
    for array, kind in ((GREY, "png"), (DEEP, "png"), (GREY, "bmp"), (GREY, "jpg")):
        path = tmp_path / f"image.{kind}"
        sitk.WriteImage(sitk.GetImageFromArray(array), path)
        stored = sitk.GetArrayFromImage(sitk.ReadImage(path))
        if kind == "bmp":  # read as three equal channels
            stored = stored[..., 0]
        found = decode.decode_image(tf.constant(path.read_bytes()))[..., 0]
        np.testing.assert_allclose(
            found, stored / np.iinfo(array.dtype).max, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 95])
def test_decodes_grey_jpeg_as_pil(quality, progressive, decode_graph):
    # Hard black and white blocks: where the fast transform is off by most.
    blocks = np.kron(GREY[:6, :7] > 128, np.full((8, 8), 255)).astype(np.uint8)
    for array in (GREY, blocks):
        data = encode(
            Image.fromarray(array), "JPEG", quality=quality, progressive=progressive
        )
        found = decode_everywhere(data, decode_graph)
        levels = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(np.round(found * 255), levels)
        np.testing.assert_allclose(found, levels / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_decodes_colour_jpeg_to_its_luma(subsampling, decode_graph):
    data = encode(
        Image.fromarray(smooth_colours()), "JPEG", quality=95, subsampling=subsampling
    )
    found = decode_everywhere(data, decode_graph) * 255
    assert np.ptp(found) > 50
    converted = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32)
    assert np.abs(found - converted).max() <= 1.0 + 1e-4


JPEG = encode(Image.fromarray(GREY), "JPEG")
PNG = encode(Image.fromarray(GREY), "PNG")
BMP = encode(Image.fromarray(GREY), "BMP")
FLIPPED = PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PNG, JPEG or BMP file"),
        (b"\x89P", "not a PNG, JPEG or BMP file"),
        (b"\x1f\x8b\x08\x00\x00", "not a PNG, JPEG or BMP file"),
        (b"plain text", r"not a PNG, JPEG or BMP file(.|\n)*112,? 108,? 97,? 105"),
        (encode(Image.fromarray(GREY), "TIFF"), "not a PNG, JPEG or BMP file"),
        (JPEG[: len(JPEG) // 2], "Invalid JPEG"),
        (JPEG[:4], "Invalid JPEG"),
        (PNG[: len(PNG) // 2], "Invalid PNG"),
        (PNG[:8], "Invalid PNG"),
        (FLIPPED, "Invalid PNG"),
        (BMP[: len(BMP) // 2], "fewer bytes than its header promises"),
        (BMP[:2], "header is cut off"),
    ],
    ids="empty short gzip text tiff jpeg_half jpeg_head png_half png_head png_flipped "
    "bmp_half bmp_head".split(),
)
def test_refuses_what_it_cannot_decode(data, message, decode_graph):
    for decoder in (decode.decode_image, decode_graph):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decoder(tf.constant(data))


def promising(data, kind, columns, rows):
    """Bytes of an image whose header promises another size."""
    if kind == "JPEG":
        at, size = data.index(b"\xff\xc0") + 5, struct.pack(">HH", rows, columns)
    elif kind == "PNG":
        at, size = 16, struct.pack(">II", columns, rows)
    else:
        at, size = 18, struct.pack("<ii", columns, -rows)  # the first row on top
    return data[:at] + size + data[at + len(size) :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("columns, rows", [(16_384, 4_097), (16_385, 10)])
def test_refuses_what_promises_too_much_before_it_is_decoded(
    kind, columns, rows, decode_graph
):
    data = promising(encode(Image.fromarray(GREY), kind), kind, columns, rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for decoder in (decode.decode_image, decode_graph):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"67108864 bytes(.|\n)*{rows},? {columns}",
        ):
            decoder(tf.constant(data))
    # In kilobytes; one byte a pixel would be 65 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize("spacing", [(1e-5, 1.0), (1e5, 1e-5), (1e30, 1e-30)])
def test_an_absurd_spacing_takes_no_more_memory(spacing):
    image = tf.random.uniform((200, 300, 1), seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reduced = resample.reduce_image(image, ImageToGrid((64, 48)), tf.constant(spacing))
    assert np.isfinite(resample.resample_to_grid(reduced, (64, 48))).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_unit_range():
    for array, top in ((GREY, 255), (DEEP, 65535), (GREY.astype(np.float64), 1)):
        found = decode.to_unit_range(tf.constant(array))
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, array / top, rtol=1e-6)


def letterbox_by_hand(shape, grid, aspect):
    """Exact scale and offset, both x, y(, z)."""
    size, target = shape[::-1], grid[::-1]
    aspect = [Fraction(a) for a in aspect]
    fit = max(s * a / g for s, a, g in zip(size, aspect, target, strict=True))
    scale = [fit / a for a in aspect]
    offset = [
        Fraction(s - 1, 2) - k * Fraction(g - 1, 2)
        for s, k, g in zip(size, scale, target, strict=True)
    ]
    return scale, offset


def reduce_by_hand(image, scale):
    """SciPy's Gaussian, then every n-th pixel; the border goes on for n pixels."""
    for axis, s in enumerate(reversed(scale)):
        step = max(s.numerator // (2 * s.denominator), 1)
        width = [(0, 0)] * image.ndim
        width[axis] = (0, step - 1)
        image = np.pad(image, width, mode="edge")
        sigma = max(float(s) - 1.0, 0.0) / 2.0
        if sigma > 0:
            image = ndimage.gaussian_filter1d(
                image, sigma, axis=axis, mode="nearest", truncate=4.0
            )
        image = image[(slice(None),) * axis + (slice(None, None, step),)]
    return image


def reduce_in_graph(image, image_to_grid, aspect):
    """As the exported model does: any image size, a fixed grid."""
    grid = image_to_grid.grid

    @tf.function(
        input_signature=[
            tf.TensorSpec((*[None] * len(grid), 1), tf.float32),
            tf.TensorSpec((len(grid),), tf.float32),
        ]
    )
    def reduce(image, aspect):
        return resample.reduce_image(image, image_to_grid, aspect)

    return reduce(image, aspect)


@pytest.mark.parametrize(
    ("shape", "grid", "aspect"),
    [
        ((240, 192), (48, 40), (1, 1)),  # 5 and 4.8: one pixel in two
        ((160, 160), (40, 40), (1, 1)),  # exactly 4
        ((240, 120), (40, 40), (1, 1)),  # exactly 6
        ((97, 203), (48, 40), (1, 1)),
        ((203, 97), (48, 40), (1, 1)),
        ((100, 84), (48, 40), (1, 1)),
        ((359, 287), (60, 48), (1, 1)),  # 5.98, 3.98, 23.97: kernels are the longest
        ((239, 191), (60, 48), (1, 1)),
        ((1438, 99), (60, 48), (1, 1)),
        ((60, 50), (48, 40), (1, 1)),  # less than 2: every pixel
        ((30, 20), (48, 40), (1, 1)),  # enlarged: not smoothed
        ((48, 40), (48, 40), (1, 1)),
        ((150, 200), (48, 40), (0.5, 0.25)),
        ((150, 200), (40, 48), (0.125, 0.75)),
        ((1, 150), (8, 8), (1, 1)),
        ((150, 1), (8, 8), (1, 1)),
        ((1, 1), (8, 8), (1, 1)),
        ((60, 50, 41), (12, 16, 8), (1, 1, 1)),
        ((30, 64, 50), (16, 16, 12), (0.25, 0.25, 0.75)),
        ((5, 4, 3), (12, 8, 8), (1, 1, 1)),
    ],
)
def test_reduces_as_scipy(shape, grid, aspect):
    image = np.random.default_rng(0).random(shape)
    scale, offset = letterbox_by_hand(shape, grid, aspect)
    expected = 2.0 * reduce_by_hand(image, scale) - 1.0
    image = image[..., None].astype(np.float32)
    arguments = image, ImageToGrid(grid), np.array(aspect, np.float32)
    for reduce in (resample.reduce_image, reduce_in_graph):
        reduced = reduce(*arguments)
        assert reduced.image.shape[:-1] == expected.shape
        np.testing.assert_allclose(reduced.image[..., 0], expected, rtol=0, atol=2e-6)
        steps = [max(math.floor(s / 2), 1) for s in scale]
        np.testing.assert_array_equal(reduced.to_source, np.diag([*steps, 1.0]))
        np.testing.assert_allclose(
            reduced.grid_to_source,
            np.diag([*map(float, scale), 1.0])
            + np.pad([[float(o)] for o in [*offset, 0]], ((0, 0), (len(grid), 0))),
            rtol=1e-6,
            atol=1e-4,
        )
        np.testing.assert_array_equal(reduced.size, shape[::-1])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
def test_what_the_corner_holds_spoils_no_more_than_its_surroundings(value):
    image = np.random.default_rng(0).random((150, 120)).astype(np.float32)
    scale, _ = letterbox_by_hand(image.shape, (48, 40), (1, 1))
    expected = 2.0 * reduce_by_hand(image, scale) - 1.0
    image[0, 0] = value
    found = resample.reduce_image(
        image[..., None], ImageToGrid((48, 40)), tf.ones(2)
    ).image
    for far in (np.s_[40:], np.s_[:, 40:]):
        np.testing.assert_allclose(
            found[..., 0].numpy()[far], expected[far], rtol=0, atol=2e-6
        )


def test_graph_and_eager_agree_on_every_exact_ratio():
    # Where graph optimisation multiplies by 1 / n, floor(s / 2) may fall by one.
    for grid in ((48, 40), (80, 64), (27, 21)):

        @tf.function(input_signature=[tf.TensorSpec((None, None, 1), tf.float32)])
        def reduce(image, grid=grid):
            return resample.reduce_image(image, ImageToGrid(grid), tf.ones(2))

        for ratio in (1, 2, 3, 4, 6, 8, 10, 14):
            shape = (grid[0] * ratio, grid[1] * ratio)
            image = np.zeros((*shape, 1), np.float32)
            step = max(ratio // 2, 1)
            kept = [math.ceil((n + step - 1) / step) for n in shape]
            assert reduce(image).image.shape == (*kept, 1)
            reduced = resample.reduce_image(image, ImageToGrid(grid), tf.ones(2))
            assert reduced.image.shape == (*kept, 1)


def test_reduces_a_radiograph_as_simpleitk(shared_data):
    path = shared_data / "cephalogram" / "RawImage" / "Test1Data" / "151.jpg"
    image = sitk.ReadImage(path, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(image) / 255.0
    grid = (240, 192)
    scale, _ = letterbox_by_hand(array.shape, grid, (1, 1))
    sigma = (float(scale[0]) - 1.0) / 2.0
    # Its kernel is the discrete analogue of the Gaussian, not a sampled Gaussian.
    smooth = sitk.DiscreteGaussian(
        image, variance=sigma**2, maximumKernelWidth=64, maximumError=1e-4
    )
    step = math.floor(scale[0] / 2)
    expected = sitk.GetArrayFromImage(smooth)[::step, ::step] / 255.0
    found = resample.reduce_image(
        array[..., None].astype(np.float32), ImageToGrid(grid), tf.ones(2)
    ).image[: len(expected), : expected.shape[1], 0]
    difference = np.abs((found.numpy() + 1.0) / 2.0 - expected)
    assert difference.mean() < 2e-4
    assert difference.max() < 0.01


def test_normalizes_the_range():
    image = tf.constant([[0.0, 0.25, 1.0]])[..., None]
    found = resample.normalize(image, "range")
    np.testing.assert_array_equal(found[0, :, 0], [-1.0, -0.5, 1.0])


def test_normalizes_percentiles():
    # 0, 0.0001 … 0.9999 in any order; the image is small enough to count every pixel.
    values = np.random.default_rng(0).permutation(10_000) / 10_000
    image = values.reshape(100, 100, 1).astype(np.float32)
    low, high = np.percentile(values, [1, 99])
    expected = np.clip((image - low) / (high - low) * 2 - 1, -1, 1)
    for normalize in (resample.normalize, tf.function(resample.normalize)):
        found = normalize(tf.constant(image), "percentile")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        # Exposure does not matter.
        darker = normalize(tf.constant(image * 0.3 + 0.1), "percentile")
        np.testing.assert_allclose(darker, found, rtol=0, atol=1e-4)


def test_normalizes_percentiles_of_a_large_image_by_a_part_of_it():
    y, x = np.mgrid[:500, :700]
    image = ((x + y) / 1198.0)[..., None].astype(np.float32)
    low, high = np.percentile(image, [1, 99])
    found = resample.normalize(tf.constant(image), "percentile").numpy()
    expected = np.clip((image - low) / (high - low) * 2 - 1, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.03)


def test_normalizes_an_empty_film_to_numbers():
    found = resample.normalize(tf.fill((20, 20, 1), 0.3), "percentile")
    np.testing.assert_array_equal(found, tf.fill((20, 20, 1), -1.0))


def test_normalizes_percentiles_of_a_volume_and_by_other_shares():
    values = np.random.default_rng(0).permutation(4096) / 4096
    image = values.reshape(16, 16, 16, 1).astype(np.float32)
    low, high = np.percentile(values, [5, 95])
    expected = np.clip((image - low) / (high - low) * 2 - 1, -1, 1)
    found = resample.normalize(tf.constant(image), "percentile", (0.05, 0.95))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_normalizes_a_window_of_hounsfield_units():
    stored = np.array([-2000, -1000, 0, 250, 1000, 3000], np.int16)[:, None, None]
    image = decode.grey_values(tf.constant(stored), "window")
    found = resample.normalize(image, "window", (-1000, 1000))
    np.testing.assert_allclose(
        found[:, 0, 0], [-1, -1, 0, 0.25, 1, 1], rtol=0, atol=1e-6
    )
    with pytest.raises(ValueError, match='"window".*limits=None'):
        resample.normalize(image, "window")


def test_grey_values_of_every_type():
    for dtype, low, high in (
        ("uint8", 0, 255),
        ("uint16", 0, 65535),
        ("int16", -32768, 32767),
    ):
        stored = np.array([low, high], dtype)
        found = decode.grey_values(tf.constant(stored))
        np.testing.assert_allclose(found, [0, 1], rtol=0, atol=1e-7)
    volume = tf.constant([0.25, 0.5])
    np.testing.assert_array_equal(decode.grey_values(volume), volume)


@pytest.mark.parametrize("shape", [(300, 200), (40, 60, 50)], ids=str)
def test_a_grid_of_fixed_spacing_lies_on_the_centre(shape):
    d = len(shape)
    spacing = np.array([0.4, 0.5, 0.8][:d], np.float32)
    wanted = (0.9, 1.1, 1.3)[:d]
    grid = (16, 24, 32)[:d]
    image = tf.zeros((*shape, 1))
    reduced = resample.reduce_image(image, ImageToGrid(grid, wanted), spacing)
    found = reduced.grid_to_source.numpy()
    np.testing.assert_allclose(np.diag(found)[:-1] * spacing, wanted, rtol=1e-6)
    center = found @ [*(np.array(grid[::-1]) - 1) / 2, 1]
    np.testing.assert_allclose(center[:-1], (np.array(shape[::-1]) - 1) / 2, atol=1e-3)
    # Without a spacing, millimetres are not known: the image is fitted.
    for bad in (0.0, np.nan):
        unknown = tf.constant([*spacing[:-1], bad], tf.float32)
        fitted = resample.reduce_image(image, ImageToGrid(grid, wanted), unknown)
        expected = resample.reduce_image(image, ImageToGrid(grid), tf.ones(d))
        np.testing.assert_array_equal(fitted.grid_to_source, expected.grid_to_source)


def test_images_of_other_dimensions_than_the_grid_are_refused():
    for image, grid in ((tf.zeros((9, 8, 3, 1)), (8, 8)), (tf.zeros((9, 8)), (8, 8))):
        with pytest.raises(ValueError, match=r"2 axes and one channel.*shape=\("):
            resample.reduce_image(image, ImageToGrid(grid), tf.ones(2))


def test_flat_images_have_one_of_few_lengths():
    lengths = set()
    for n in [*range(1, 40), 47, 90, 133, 400]:
        image = tf.random.stateless_normal((n, 30, 1), [0, n])
        flat, sizes = resample.flatten(image)
        np.testing.assert_array_equal(sizes, [n + 2, 32])
        count = (n + 2) * 32
        assert count <= len(flat) <= 1.25 * count
        bordered = np.pad(image[..., 0], 1, constant_values=-1)
        np.testing.assert_array_equal(flat[:count], bordered.ravel())
        lengths.add(len(flat))
    assert len(lengths) < 26


def test_unknown_normalization():
    with pytest.raises(ValueError, match="`normalization`.*normalization='std'"):
        resample.normalize(tf.zeros((2, 2, 1)), "std")


CENTRED = [  # image, grid, spacing
    ((600, 484), (48, 40), (1, 1)),
    ((484, 600), (48, 40), (1, 1)),
    ((240, 192), (48, 40), (1, 1)),
    ((96, 80), (48, 40), (1, 1)),
    ((60, 50), (48, 40), (1, 1)),
    ((30, 24), (48, 40), (1, 1)),
    ((300, 200), (48, 40), (0.5, 0.8)),
    ((100, 70), (40, 48), (0.3, 0.2)),
]


@pytest.mark.parametrize(("shape", "grid", "aspect"), CENTRED)
def test_a_blob_arrives_where_the_letterbox_says(shape, grid, aspect):
    y, x = np.mgrid[: shape[0], : shape[1]]
    scale, offset = letterbox_by_hand(shape, grid, [Fraction(str(a)) for a in aspect])
    scale, offset = np.array(scale, float), np.array(offset, float)
    ratio = scale / np.maximum(np.floor(scale / 2), 1)
    random = np.random.default_rng(3)
    reach = np.minimum(np.array(shape[::-1]) / scale, grid[::-1]) / 2 - 4
    for _ in range(6):
        expected = (np.array(grid[::-1]) - 1) / 2 + random.uniform(-0.4, 0.4, 2) * reach
        center, sigma = scale * expected + offset, np.maximum(2.0 * scale, 2.0)
        offsets = (x - center[0]) / sigma[0], (y - center[1]) / sigma[1]
        blob = np.exp(-0.5 * (offsets[0] ** 2 + offsets[1] ** 2))
        reduced = resample.reduce_image(
            blob[..., None].astype(np.float32),
            ImageToGrid(grid),
            np.array(aspect, np.float32),
        )
        found = resample.resample_to_grid(reduced, grid).numpy() + 1.0
        # The centre of mass is free of what linear interpolation does to a peak.
        mass = ndimage.center_of_mass(np.where(found > 1e-3, found, 0.0)[..., 0])
        np.testing.assert_allclose(mass[::-1], expected, rtol=0, atol=0.01)
        if min(scale) >= 2:
            # Between pixels, linear interpolation lowers a Gaussian by up to its
            # curvature / 8: at r pixels to one of the grid, the peak moves by at most
            # 1 / (8 r^2), and not at all where r is a whole number.
            peak = HeatmapPeak()(found[None])["points"][0, 0]
            whole = np.abs(ratio - np.round(ratio)) < 1e-6
            bound = np.where(whole, 0.002, 1 / (8 * ratio**2))
            assert (np.abs(peak - expected) <= bound + 1e-3).all()
