import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from scn_keras.files import read_image, read_image_header
from scn_keras.files.find_images import find_images, image_id

CT, CR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture
def grey():
    rows, columns = np.mgrid[:48, :40]
    return (3 * rows + 2 * columns).astype(np.uint8)


def write_dicom(array, path, sop_class, modality, spacing, tags=()):
    image = sitk.GetImageFromArray(array[None])
    image.SetSpacing((*spacing, 1.0))
    image.SetMetaData("0008|0016", sop_class)
    image.SetMetaData("0008|0060", modality)
    for key, value in dict(tags).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def without_pixel_spacing(path):
    """Turns Pixel Spacing into Zoom Factor, if it is there.

    What GDCM writes for a film depends on what it wrote before in the same process.
    """
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"\x28\x00\x30\x00", b"\x28\x00\x31\x00"))
    return path


def test_dicom_with_pixel_spacing(tmp_path, grey):
    path = write_dicom(grey, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2))
    array, affine = read_image(path)
    np.testing.assert_array_equal(array, grey)
    np.testing.assert_allclose(affine, np.diag([0.1, 0.2, 1.0]))


def test_dicom_with_the_detectors_spacing_alone_is_uncalibrated(tmp_path, grey):
    path = write_dicom(grey, tmp_path / "a.dcm", CR, "CR", (0.1, 0.2))
    image = sitk.ReadImage(str(without_pixel_spacing(path)))
    assert "0018|1164" in image.GetMetaDataKeys()  # Imager Pixel Spacing
    with pytest.warns(UserWarning, match="a.dcm has no Pixel Spacing, only Imager "):
        array, affine = read_image(path)
    np.testing.assert_array_equal(array, grey)
    assert affine is None


@pytest.mark.parametrize("calibration", [None, "GEOMETRY"])
def test_pixel_spacing_at_the_detector_is_flagged(tmp_path, grey, calibration):
    """Equal to Imager Pixel Spacing, it was corrected only if the file says how."""
    tags = {"0018|1164": "0.2\\0.1", "0028|0a02": calibration}
    tags = {key: value for key, value in tags.items() if value}
    path = write_dicom(grey, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2), tags)
    if calibration:
        _, affine = read_image(path)
    else:
        with pytest.warns(UserWarning, match="a.dcm .* millimetres are those at the"):
            _, affine = read_image(path)
    np.testing.assert_allclose(affine, np.diag([0.1, 0.2, 1.0]))


def test_spacing_of_a_film_scanner_is_flagged_too(tmp_path, grey):
    """Secondary capture has the spacing on the film (Nominal Scanned Pixel Spacing)."""
    path = tmp_path / "a.dcm"
    tags = {"0018|2010": "0.2\\0.1"}
    write_dicom(grey, path, "1.2.840.10008.5.1.4.1.1.7", "OT", (0.1, 0.2), tags)
    without_pixel_spacing(path)
    with pytest.warns(UserWarning, match="only Nominal Scanned Pixel Spacing"):
        _, affine = read_image(path)
    assert affine is None


def test_rescale_slope_and_intercept_are_applied(tmp_path, grey):
    stored = grey.astype(np.int16) * 2 - 1024
    tags = {"0028|1052": "-1024", "0028|1053": "2"}
    path = write_dicom(stored, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2), tags)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, stored)
    assert read_image_header(path).dtype == "float32"  # 16 bits times 2


def test_rescaled_values_of_twelve_bits_fit_into_int16(tmp_path, grey):
    tags = {"0028|1052": "-1024", "0028|1053": "1"}
    path = write_dicom(
        grey.astype(np.int16) - 1024, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2), tags
    )
    raw = path.read_bytes()
    # GDCM writes 16 bits stored: say 12, as scanners do.
    for tag, value in ((b"\x28\x00\x01\x01", 12), (b"\x28\x00\x02\x01", 11)):
        place = raw.index(tag) + 8  # group, element, length
        raw = raw[:place] + value.to_bytes(2, "little") + raw[place + 2 :]
    path.write_bytes(raw)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, grey.astype(int) - 1024)
    assert read_image_header(path).dtype == "int16"


def test_monochrome1_is_inverted(tmp_path, grey):
    """There white is low; here it is always high."""
    path = write_dicom(grey, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2))
    raw = path.read_bytes()
    assert raw.count(b"MONOCHROME2 ") == 1
    path.write_bytes(raw.replace(b"MONOCHROME2 ", b"MONOCHROME1 "))
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, 255 - grey)


def test_frames_are_refused(tmp_path, grey):
    path = tmp_path / "cine.dcm"
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([grey] * 5)), str(path))
    with pytest.raises(ValueError, match="Received: 5 frames in .*cine.dcm"):
        read_image(path)


def test_colour_becomes_luma(tmp_path, grey):
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    path = tmp_path / "a.dcm"
    sitk.WriteImage(sitk.GetImageFromArray(colour[None], isVector=True), str(path))
    array, _ = read_image(path)
    np.testing.assert_allclose(array, colour @ [0.299, 0.587, 0.114], atol=0.5)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_cut_file(tmp_path, grey, part):
    path = write_dicom(grey, tmp_path / "a.dcm", CT, "CT", (0.1, 0.2))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match="cannot be decoded: .*a.dcm: "):
        read_image(path)


# A direction that is oblique in all axes: its columns are a right-handed frame.
TURN = np.array(
    [[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]], dtype=np.float64
)
SPACING, ORIGIN = (0.7, 0.9, 2.5), (-31.0, 12.5, 140.0)


def write_series(folder, volume, positions=None, **tags):
    """Writes slices in reverse order under meaningless names."""
    folder.mkdir()
    for index, plane in enumerate(volume):
        step = TURN[:, 2] * SPACING[2] * index
        position = np.add(ORIGIN, step) if positions is None else positions[index]
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing(SPACING)
        image.SetDirection(TURN.ravel())
        image.SetOrigin(position)
        for key, value in {
            "0008|0016": CT,
            "0008|0060": "CT",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0008|0018": f"1.2.3.4.{index + 1}",
            "0020|0032": "\\".join(f"{value:.6f}" for value in position),
            "0020|0037": "\\".join(f"{v:.6f}" for v in TURN[:, :2].T.ravel()),
        }.items():
            image.SetMetaData(key, value)
        for key, value in tags.items():
            image.SetMetaData(key.replace("_", "|").removeprefix("t"), value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{99 - index}.dcm"))
        writer.Execute(image)
    return folder


@pytest.fixture
def volume():
    return np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4) - 50


def test_series_is_a_volume_in_its_order(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume)
    array, affine = read_image(folder)
    np.testing.assert_array_equal(array, volume)
    expected = sitk.GetImageFromArray(volume)
    expected.SetSpacing(SPACING)
    expected.SetOrigin(ORIGIN)
    expected.SetDirection(TURN.ravel())
    for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        np.testing.assert_allclose(
            (affine @ [*index, 1])[:3],
            expected.TransformIndexToPhysicalPoint(index),
            atol=1e-4,
        )
    header = read_image_header(folder)
    assert header.shape == (6, 5, 4)
    assert header.dtype == "int16"


def test_series_is_one_image_of_its_folder(tmp_path, volume):
    (tmp_path / "all" / ".trash").mkdir(parents=True)
    head = write_series(tmp_path / "all" / "head", volume)
    film = sitk.GetImageFromArray(np.zeros((4, 5), np.uint8))
    for name in ("b.PNG", "a.nii.gz", "notes.txt", ".trash/c.png"):
        path = tmp_path / "all" / name
        if path.suffix == ".txt":
            path.write_text("no image")
        else:
            sitk.WriteImage(film, str(path.with_suffix(path.suffix.lower())))
            path.with_suffix(path.suffix.lower()).rename(path)
    folder = tmp_path / "all"
    found = [*find_images(folder)]
    assert found == [folder / "a.nii.gz", folder / "b.PNG", head]
    assert [image_id(path) for path in found] == ["a", "b", "head"]
    assert [*find_images(head)] == [head]
    assert len([*find_images(head, may_be_series=False)]) == 6


def test_series_of_a_tilted_gantry_is_sheared(tmp_path, volume):
    """Its slices are shifted in their own plane, which no direction matrix can say."""
    step = TURN[:, 2] * 2.5 + TURN[:, 1] * 0.6
    positions = [np.add(ORIGIN, step * index) for index in range(6)]
    _, affine = read_image(write_series(tmp_path / "head", volume, positions))
    np.testing.assert_allclose(affine[:3, 2], step, atol=1e-5)


def test_missing_slice(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume)
    (folder / "96.dcm").unlink()
    with pytest.raises(ValueError, match="head must be evenly .* Received: 9.*.dcm"):
        read_image(folder)


def test_damaged_slice_is_not_passed_over(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume)
    (folder / "94.dcm").write_bytes(b"")
    with pytest.raises(ValueError, match="94.dcm is not a DICOM file .*Received: 1"):
        read_image(folder)
    shutil.copy(folder / "95.dcm", folder / "94.dcm")
    data = (folder / "95.dcm").read_bytes()
    (folder / "94.dcm").write_bytes(data[:-20])
    with pytest.raises(ValueError, match="94.dcm"):
        read_image(folder)


def test_two_series_in_a_folder(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume)
    other = write_series(tmp_path / "other", volume, t0020_000e="9.8.7")
    for path in other.iterdir():
        path.rename(folder / f"other_{path.name}")
    with pytest.raises(ValueError, match="one DICOM series. Received: 2 series in "):
        read_image(folder)


def test_slice_of_another_size(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume[:5])
    wide = write_series(tmp_path / "wide", np.zeros((6, 7, 8), np.int16))
    (wide / "94.dcm").rename(folder / "94.dcm")
    with pytest.raises(ValueError, match="differs from .* in size, orientation or Pix"):
        read_image(folder)


def test_folder_with_one_slice_is_an_image(tmp_path, volume):
    folder = write_series(tmp_path / "film", volume[:1])
    array, affine = read_image(folder)
    np.testing.assert_array_equal(array, volume[0])
    assert affine.shape == (3, 3)


def test_series_is_refused_whole_if_it_is_too_large(tmp_path, volume):
    folder = write_series(tmp_path / "head", volume)
    with pytest.raises(ValueError, match="head declares 4 x 5 x 6 pixels, more than"):
        read_image(folder, max_pixels=100)
