"""Strict decoding of JPEG files."""

from pathlib import Path

import numpy as np

# Warnings of libjpeg about the header, without an effect on pixels.
_HARMLESS = ("JFIF", "Adobe")


def read_jpeg(path: Path) -> np.ndarray:
    """Decodes a JPEG file to its luma, and refuses a damaged one.

    The luma is that of the file, without a conversion to colours and back, as in
    exported models.

    Args:
        path: Path, a JPEG file of a form that `require_known_form` accepts.

    Returns:
        uint8 array `(y, x)`.

    Raises:
        ValueError: If `jpeg_damage` finds damage.
    """
    pixels, damage = _decode_strictly(path.read_bytes())
    if damage:
        raise ValueError(f"The image file is damaged: {path}: {damage}.")
    if pixels.shape[-1] == 4:
        colours = _colours_of(pixels).astype(np.int64)
        return ((colours @ [299, 587, 114] + 500) // 1000).astype(np.uint8)
    return pixels[..., 0]


def read_inks(path: Path) -> np.ndarray:
    """Decodes a JPEG of four colours (CMYK or YCCK) to RGB, as TensorFlow does.

    Args:
        path: Path, a JPEG file with an Adobe segment, whose inks are inverted.

    Returns:
        uint8 array `(y, x, 3)`, without a colour profile.
    """
    return _colours_of(_decode_strictly(path.read_bytes())[0])


def jpeg_damage(data: bytes) -> str | None:
    """Returns the damage in the pixels of a JPEG file, as far as it can be seen.

    JPEG has no checksum. Other decoders continue after damaged bytes with shifted or
    grey blocks, and write a warning at most. Bytes are seen to be damaged if they are
    no valid code, or if pixels end before or after the data. Other bytes only change
    the grey values of blocks.

    Args:
        data: Bytes of a JPEG file of a form that is read.

    Returns:
        Str, the warning of libjpeg; None if there is none.
    """
    return _decode_strictly(data)[1]


def _decode_strictly(data: bytes) -> tuple[np.ndarray, str | None]:
    """Returns the luma `(y, x, 1)` or the inks `(y, x, 4)`, and the damage."""
    import simplejpeg

    none = np.zeros((0, 0, 1), np.uint8)
    # The end marker must follow the last start of a scan. Neither marker can occur in
    # pixels, where FF is followed by 00; the end marker of a thumbnail comes earlier.
    if not data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") >= 0:
        return none, "the JPEG data end before the end marker"
    try:
        kind = simplejpeg.decode_jpeg_header(data)[2]
        colours = "CMYK" if kind in ("CMYK", "YCCK") else "GRAY"
        try:
            return simplejpeg.decode_jpeg(data, colours), None
        except ValueError as error:
            if not any(word in str(error) for word in _HARMLESS):
                raise
            return simplejpeg.decode_jpeg(data, colours, strict=False), None
    except ValueError as error:
        return none, str(error).rstrip(".")


def _colours_of(inks: np.ndarray) -> np.ndarray:
    inks = inks.astype(np.uint16)
    return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
