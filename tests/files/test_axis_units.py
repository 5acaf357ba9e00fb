"""Units and kinds of the axes of volumes."""

import numpy as np
import pytest
import SimpleITK as sitk

from scn_keras.files import read_image, read_image_header


@pytest.fixture
def nrrd(tmp_path):
    """A function that writes a NRRD file with further or replaced lines."""
    image = sitk.Image([4, 5, 6], sitk.sitkUInt8)
    image.SetSpacing((0.1, 0.1, 0.2))
    sitk.WriteImage(image, str(tmp_path / "plain.nrrd"), False)
    header, pixels = (tmp_path / "plain.nrrd").read_bytes().split(b"\n\n", 1)

    def write(line):
        key = line.split(b":")[0] + b":"
        lines = [text for text in header.split(b"\n") if not text.startswith(key)]
        path = tmp_path / "a.nrrd"
        path.write_bytes(b"\n".join([*lines, line]) + b"\n\n" + pixels)
        return path

    return write


@pytest.mark.parametrize(
    "line",
    [
        b'space units: "mm" "mm" "mm"',
        b'space units: "" "" ""',
        b"kinds: domain domain domain",
        b"kinds: space space space",
    ],
)
def test_millimetres_of_nrrd(nrrd, line):
    _, affine = read_image(nrrd(line))
    np.testing.assert_allclose(np.diag(affine), [0.1, 0.1, 0.2, 1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'space units: "cm" "cm" "cm"', "'space units' .* must be mm.* cm, cm, cm"),
        (b'space units: "mm" "mm" "um"', "'space units' .* must be mm.* Received: um"),
        (b"kinds: domain domain time", "kind domain or space.* Received: time"),
    ],
)
def test_axes_of_nrrd_that_are_refused(nrrd, line, message):
    for read in (read_image, read_image_header):
        with pytest.raises(ValueError, match=f"a.nrrd: .*{message}"):
            read(nrrd(line))


@pytest.mark.parametrize(("units", "valid"), [("mm", True), ("cm", False)])
def test_units_of_nrrd_without_a_space(tmp_path, units, valid):
    path = tmp_path / "a.nrrd"
    header = (
        "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 5\nspacings: 0.1 0.1\n"
        f'units: "{units}" "{units}"\nencoding: raw\n\n'
    )
    path.write_bytes(header.encode() + bytes(20))
    if valid:
        np.testing.assert_allclose(np.diag(read_image(path)[1]), [0.1, 0.1, 1])
    else:
        with pytest.raises(ValueError, match="'units' of the header must be mm.* cm"):
            read_image(path)


@pytest.mark.parametrize(("units", "valid"), [("mm", True), ("cm", False)])
def test_units_of_metaimage(tmp_path, units, valid):
    header = (
        "ObjectType = Image\nNDims = 2\nDimSize = 4 5\nElementSpacing = 0.1 0.1\n"
        f"DistanceUnits = {units}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    path.write_bytes(header.encode() + bytes(20))
    if valid:
        np.testing.assert_allclose(np.diag(read_image(path)[1]), [0.1, 0.1, 1])
    else:
        with pytest.raises(ValueError, match="'DistanceUnits' .* must be mm.* cm"):
            read_image(path)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_of_nifti_are_converted(tmp_path, code, factor):
    image = sitk.Image([4, 5, 6], sitk.sitkUInt8)
    image.SetSpacing((0.1, 0.1, 0.2))
    path = tmp_path / "a.nii"
    sitk.WriteImage(image, str(path))
    data = bytearray(path.read_bytes())
    data[123] = code  # xyzt_units: unknown, m, mm, um
    path.write_bytes(data)
    expected = np.array([0.1, 0.1, 0.2]) * factor
    np.testing.assert_allclose(np.diag(read_image(path)[1])[:3], expected, rtol=1e-6)
