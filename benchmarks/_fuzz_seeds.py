"""Small valid files of each format that is read, for `fuzz_readers`."""

import io
import json
import pathlib
import re
import struct
import tempfile
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from PIL import Image

# Files by name; the first one is read, others lie beside it.
Files = dict[str, bytes]

_GREY = (np.add.outer(3 * np.arange(20), 2 * np.arange(24)) % 251).astype(np.uint8)
_COLOUR = np.stack([_GREY, 255 - _GREY, _GREY // 2], axis=-1)
_DEEP = _GREY.astype(np.uint16) * 257
_VOLUME = np.stack([_GREY, _GREY // 2, _GREY // 3]).astype(np.int16)


def image_seeds() -> dict[str, list[Files]]:
    """Returns valid image files of each extension."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "png": _pillow("png", *_PILLOW_KINDS) + [_pillow_one("png", _DEEP)],
            "jpg": [
                *_pillow("jpg", "L", "RGB", "CMYK", quality=90),
                _pillow_one("jpg", _COLOUR, progressive=True, dpi=(300, 300)),
            ],
            "bmp": [*_pillow("bmp", "L", "RGB", "P"), _itk(folder, "a.bmp", _GREY)],
            "tif": [
                *_pillow("tif", "1", "L", "RGB", "P"),
                _pillow_one("tif", _DEEP, compression="tiff_lzw"),
                _pillow_one("tif", _GREY, compression="tiff_adobe_deflate"),
                _pillow_one("tif", _GREY, compression="packbits", dpi=(96, 96)),
                _itk(folder, "a.tif", _GREY.astype(np.float32)),
            ],
            "dcm": [
                _itk(folder, "a.dcm", _DEEP),
                _itk(folder, "a.dcm", _GREY, compress=True),
                dicom(EXPLICIT),
                dicom(IMPLICIT),
                dicom(BIG_ENDIAN),
            ],
            **{
                suffix: [
                    _itk(folder, f"a.{suffix}", _VOLUME),
                    _itk(folder, f"a.{suffix}", _VOLUME.astype(np.float32)),
                    _itk(folder, f"a.{suffix}", _GREY),
                    *(
                        [_itk(folder, f"a.{suffix}", _VOLUME, compress=True)]
                        if suffix in ("mha", "mhd", "nrrd", "nhdr")
                        else []
                    ),
                ]
                for suffix in ("nii", "nii.gz", "mha", "mhd", "nrrd", "nhdr")
            },
        }


_PILLOW_KINDS = ("1", "L", "P", "RGB", "RGBA", "LA")


def _pillow(suffix: str, *modes: str, **settings: object) -> list[Files]:
    image = Image.fromarray(_COLOUR)
    files = []
    for mode in modes:
        out = io.BytesIO()
        image.convert(mode).save(out, _FORMATS[suffix], **settings)
        files.append({f"a.{suffix}": out.getvalue()})
    return files


_FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}


def _pillow_one(suffix: str, array: np.ndarray, **settings: object) -> Files:
    out = io.BytesIO()
    Image.fromarray(array).save(out, _FORMATS[suffix], **settings)
    return {f"a.{suffix}": out.getvalue()}


def _itk(folder: str, name: str, array: np.ndarray, compress: bool = False) -> Files:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([0.5] * array.ndim)
    place = pathlib.Path(tempfile.mkdtemp(dir=folder))
    if name.endswith(".dcm"):  # otherwise new ones each time
        for number, key in enumerate(("0008|0018", "0020|000d", "0020|000e")):
            image.SetMetaData(key, f"1.2.{number}")
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(compress)
    writer.SetFileName(str(place / name))
    writer.Execute(image)
    files = {path.name: path.read_bytes() for path in place.iterdir()}
    if name.endswith(".dcm"):  # date and time
        files[name] = re.sub(rb"20\d{6}(?=\x08)", b"20250101", files[name])
        files[name] = re.sub(
            rb"\d{6}\.\d{6} (?=\x08)", b"0" * 6 + b" " * 8, files[name]
        )
    return {name: files.pop(name), **files}


EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def dicom(syntax: str) -> Files:
    """A DICOM file with a nested sequence, see PS3.5, section 7."""
    order = ">" if syntax == BIG_ENDIAN else "<"

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        tag = struct.pack(order + "HH", group, number)
        if syntax == IMPLICIT and group != 2:
            return tag + struct.pack("<I", len(value)) + value
        if kind in (b"OB", b"OW", b"SQ"):
            return tag + kind + struct.pack(order + "HI", 0, len(value)) + value
        return tag + kind + struct.pack(order + "H", len(value)) + value

    def numbers(values: dict[int, int]) -> bytes:
        pack = order + "H"
        return b"".join(
            element(0x28, n, b"US", struct.pack(pack, v)) for n, v in values.items()
        )

    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sH", 2, 16, b"UI", len(uid)) + uid
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
    reference = element(8, 0x1155, b"UI", b"1.2.3\0")
    for _ in range(2):
        item = struct.pack(order + "HHI", 0xFFFE, 0xE000, len(reference)) + reference
        reference = element(8, 0x1140, b"SQ", item)
    pixels = _DEEP.astype(order + "u2").tobytes()
    body = (
        element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
        + reference
        + element(0x18, 0x1164, b"DS", b"0.1\\0.1 ")
        + element(0x20, 0x32, b"DS", b"1\\2\\3 ")
        + numbers({2: 1})
        + element(0x28, 4, b"CS", b"MONOCHROME1 ")
        + numbers({16: 20, 17: 24})
        + element(0x28, 0x30, b"DS", b"0.2\\0.1 ")
        + numbers({256: 16, 257: 16, 258: 15, 259: 0})
        + element(0x28, 0x1052, b"DS", b"-1.0")
        + element(0x28, 0x1053, b"DS", b"2 ")
        + element(0x7FE0, 0x10, b"OW", pixels)
    )
    return {"a.dcm": bytes(128) + b"DICM" + meta + body}


_POINTS = {"a": (3.5, 4.0), "b": (10.0, 12.25), "c": (7.0, 1.0)}


def point_seeds() -> dict[str, list[Files]]:
    """Returns valid files of points of each format."""
    return {
        kind: [{name: text.encode() for name, text in [seed]} for seed in seeds]
        for kind, seeds in {
            "csv": [("a.csv", _long()), ("a.csv", _wide()), ("a.tsv", _long("\t"))],
            "json": [
                ("a.json", _json(_own())),
                ("a.json", _json({"images": [_own()]})),
            ],
            "mrk.json": [("a.mrk.json", _json(_markups()))],
            "fcsv": [("a.fcsv", _fcsv(True)), ("a.fcsv", _fcsv(False))],
            "COCO": [("a.json", _json(_coco()))],
            "labelme": [("a.json", _json(_labelme()))],
            "toml": [("landmarks.toml", _TOML)],
            "tps": [("a.tps", _TPS)],
            "pts": [("a.pts", "version: 1\nn_points: 2\n{\n1 1\n30.5 40\n}\n")],
            "napari": [
                ("a.csv", "index,axis-0,axis-1\n0.0,20.0,10.0\n1.0,40.0,30.5\n")
            ],
            "ImageJ": [("a.csv", _IMAGEJ), ("a.txt", _IMAGEJ.replace(",", "\t"))],
            "DLC": [("a.csv", _DEEPLABCUT)],
            "CVAT": [("a.xml", _CVAT)],
            "Studio": [("a.json", _json(_label_studio()))],
            "VIA": [("a.json", _json(_via())), ("a.csv", _VIA_TABLE)],
        }.items()
    } | {"xlsx": [{"a.xlsx": _workbook()}]}


_json: Callable[..., str] = json.dumps


def _long(delimiter: str = ",") -> str:
    rows = [
        ("image", "label", "x", "y"),
        *(("1.png", n, *p) for n, p in _POINTS.items()),
    ]
    return "\n".join(delimiter.join(map(str, row)) for row in rows) + "\n"


def _wide() -> str:
    names = ",".join(f"{n}_x_mm,{n}_y_mm" for n in _POINTS)
    values = ",".join(f"{x},{y}" for x, y in _POINTS.values())
    return f"image,age,{names}\n1.png,30,{values}\n2.png,40,{values}\n"


def _own() -> dict[str, object]:
    points = [{"label": n, "position": [*p]} for n, p in _POINTS.items()]
    return {"space": "pixels", "image": "1.png", "points": points}


def _markups() -> dict[str, object]:
    points = [
        {"id": n, "label": n, "position": [*p, 1.0], "positionStatus": "defined"}
        for n, p in _POINTS.items()
    ]
    node = {
        **{"type": "Fiducial", "coordinateSystem": "RAS", "coordinateUnits": "mm"},
        "controlPoints": points,
    }
    return {"@schema": "markups-schema-v1.0.3.json#", "markups": [node]}


def _fcsv(new: bool) -> str:
    head = "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
    head += (
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    )
    end = ",2,0" if new else ""
    return head + "".join(
        f"{n},{x},{y},1.5,0,0,0,1,1,1,0,{n},,{end}\n" for n, (x, y) in _POINTS.items()
    )


def _coco() -> dict[str, object]:
    keypoints = [v for x, y in _POINTS.values() for v in (x, y, 2)]
    return {
        "images": [{"id": 1, "file_name": "1.png", "width": 24, "height": 20}],
        "categories": [{"id": 1, "name": "film", "keypoints": [*_POINTS]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": keypoints}
        ],
    }


def _labelme() -> dict[str, object]:
    shapes = [
        {"label": n, "points": [[*p]], "shape_type": "point", "group_id": None}
        for n, p in _POINTS.items()
    ]
    return {
        **{"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "1.png"},
        **{"imageData": None, "imageHeight": 20, "imageWidth": 24},
    }


_TPS = """LM=3
10 40
12.5 20
-1 -1
IMAGE=f1.jpg
ID=7
CURVES=1
POINTS=2
1 2
3 4
SCALE=0.01
LM=1
1 2
ID=2
"""
_IMAGEJ = " ,Label,X,Y,Slice\n1,f1.png,10,20,1\n2,f1.png,30.5,40,1\n"
_DEEPLABCUT = """scorer,Me,Me,Me,Me
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
labeled-data/v/img01.png,10,20,30,40
labeled-data/v/img02.png,1,2,,
"""
_CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="a.png" width="80" height="60">
<points label="a" occluded="1" points="10.5,20.50"></points>
<skeleton label="hip"><points label="b" outside="0" points="30,40"/></skeleton>
<box label="c" xtl="1" ytl="2" xbr="3" ybr="4"/>
</image>
</annotations>
"""
_VIA_TABLE = (
    "filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes\n"
    'f1.png,1,"{}",1,0,"{""name"":""point"",""cx"":10,""cy"":20}",'
    '"{""name"":""a""}"\n'
)


def _label_studio() -> list[object]:
    results = [
        {
            **{"type": "keypointlabels", "image_rotation": 0},
            **{"original_width": 80, "original_height": 60},
            "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [n]},
        }
        for n, (x, y) in _POINTS.items()
    ]
    image = {"image": "/data/upload/1/1a2b3c4d-f1.png"}
    return [
        {
            **{"id": 1, "data": image},
            "annotations": [{"result": results, "was_cancelled": False}],
        }
    ]


def _via() -> dict[str, object]:
    regions = [
        {
            "shape_attributes": {"name": "point", "cx": x, "cy": y},
            "region_attributes": {"name": n},
        }
        for n, (x, y) in _POINTS.items()
    ]
    image = {"filename": "f1.png", "size": 123, "regions": regions}
    return {"_via_settings": {}, "_via_img_metadata": {"f1.png123": image}}


def _workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in _wide().splitlines():
        book.active.append(row.split(","))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


_TOML = """names = ["a", "b", "c"]
pairs = [["a", "b"]]
links = [["a", "c"]]
colors = ["red", "#010203", "blue"]
[files]
images = "images"
points = "points/{id}.csv"
table = "table.csv"
space = "pixels"
spacing = [0.1, 0.2]
unlabelled = true
[patient]
pattern = "^(\\\\d+)"
[splits]
folds = 4
seed = 1
"""
