"""What do files that are made to do harm cost, in time and memory?

    python -m benchmarks.hostile_files

Writes each file, reads it in a new process with the function of the package that a
command would use, and prints the answer, the processor time and the highest memory,
with that of the process that decodes. Exits with 1 if a process crashes, needs more
than 10 s, or more than 1 GB beyond the image that it returns.
"""

import argparse
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable

from benchmarks._fuzz_seeds import dicom, image_seeds, point_seeds

MAX_SECONDS, MAX_BYTES = 10.0, 2**30
_GIGABYTE, _BLOCK = 2**30, bytes(2**20)


def _nested_dicom() -> bytes:
    data = dicom("1.2.840.10008.1.2.1")["a.dcm"]
    at = data.index(b"\x18\0\x64\x11")
    begin = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return data[:at] + begin * 20_000 + end * 20_000 + data[at:]


def _deflated_dicom() -> bytes:
    data = dicom("1.2.840.10008.1.2.1")["a.dcm"]
    data = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    data = data.replace(b"\x10\0UI\x14\0", b"\x10\0UI\x16\0")
    data = data.replace(b"\0\0UL\x04\0\x1c", b"\0\0UL\x04\0\x1e")
    at = data.index(b"\x08\0\x16\0UI")
    return data[:at] + _zeros(zlib.compressobj(9, zlib.DEFLATED, -15), data[at:])


def _zeros(compressor: "zlib._Compress", first: bytes) -> bytes:
    """Compresses data with a gigabyte of zeros behind them."""
    parts = [compressor.compress(first)]
    parts += [compressor.compress(_BLOCK) for _ in range(_GIGABYTE // len(_BLOCK))]
    return b"".join([*parts, compressor.flush()])


def _gzip(*parts: bytes) -> bytes:
    return _zeros(zlib.compressobj(9, zlib.DEFLATED, 31), b"".join(parts))


def _nifti_extension() -> bytes:
    data = bytearray(image_seeds()["nii"][2]["a.nii"])
    struct.pack_into("<f", data, 108, 352.0 + _GIGABYTE)
    return _gzip(bytes(data[:348]), b"\1\0\0\0", struct.pack("<ii", _GIGABYTE, 4))


def _nrrd_keys() -> bytes:
    head, _, pixels = image_seeds()["nrrd"][2]["a.nrrd"].partition(b"\n\n")
    keys = b"".join(b"key%d:=value\n" % number for number in range(600_000))
    return head + b"\n" + keys + b"\n" + pixels


def _meta_image(name: str) -> bytes:
    head = image_seeds()["mhd"][2]["a.mhd"].rpartition(b"ElementDataFile")[0]
    return head + f"ElementDataFile = {name}\n".encode()


def _padded_meta_image() -> bytes:
    data = image_seeds()["mha"][3]["a.mha"]
    head = data[: data.index(b"LOCAL\n") + 6]
    pixels = _zeros(zlib.compressobj(9), bytes(20 * 24 * 3 * 2))
    lines = head.split(b"\n")
    size = b"CompressedDataSize = %d" % len(pixels)
    lines = [size if b"CompressedDataSize" in line else line for line in lines]
    return b"\n".join(lines) + pixels


def _padded_nrrd() -> bytes:
    head = image_seeds()["nrrd"][3]["a.nrrd"].partition(b"\n\n")[0]
    return head + b"\n\n" + _gzip(bytes(20 * 24 * 3 * 2))


def _scans() -> bytes:
    """A progressive JPEG of 8192 x 8192 pixels that repeats one scan."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (8192, 8192)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * 2000 + data[-2:]


def _texts() -> bytes:
    """A PNG with texts of 8 MB each."""
    data = image_seeds()["png"][1]["a.png"]
    content = b"zTXtk\0\0" + zlib.compress(b"a" * 7_900_000, 9)
    chunk = struct.pack(">I", len(content) - 4) + content
    chunk += struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk * 400 + data[33:]


def _huge_jpeg() -> bytes:
    data = bytearray(image_seeds()["jpg"][0]["a.jpg"])
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 65_000, 65_000)
    return bytes(data)


def _run_length_bmp() -> bytes:
    """Runs that do not end with their row, which overwrite ITK's memory."""
    data = image_seeds()["bmp"][0]["a.bmp"]
    (begin,) = struct.unpack_from("<I", data, 10)
    head = bytearray(data[:begin])
    struct.pack_into("<I", head, 30, 1)
    return bytes(head) + b"\xff\x41" * 5000 + b"\0\1"


def _deep_json() -> bytes:
    return b'{"points": ' + b"[" * 10**6 + b"]" * 10**6 + b"}"


def _largest_json() -> bytes:
    point = b'{"label":"a","position":[1,2]},'
    return b'{"points":[' + point * 490_000 + b"{}]}"


def _largest_table() -> bytes:
    rows = (f"{number}.png,a,1,2\n" for number in range(240_000))
    return ("image,label,x,y\n" + "".join(rows)).encode()


def _workbook(path: pathlib.Path) -> None:
    data = point_seeds()["xlsx"][0]["a.xlsx"]
    path.write_bytes(data)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("xl/more.xml", "w") as file:
            for _ in range(1000):
                file.write(_BLOCK)


def _model(path: pathlib.Path) -> None:
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": []}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as file:
            for _ in range(1500):
                file.write(_BLOCK)


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "20,000 nested sequences": ("a.dcm", _nested_dicom),
    "deflated, a gigabyte behind the pixels": ("a.dcm", _deflated_dicom),
    "pattern of file names": ("a.mhd", lambda: _meta_image("%s%n%d.raw 1 20 1")),
    "a device as the file of pixels": ("a.mhd", lambda: _meta_image("/dev/zero")),
    "zlib, a gigabyte behind the pixels": ("a.mha", _padded_meta_image),
    "600,000 keys": ("a.nrrd", _nrrd_keys),
    "gzip, a gigabyte behind the pixels": ("a.nrrd", _padded_nrrd),
    "a gigabyte behind the pixels": (
        "a.nii.gz",
        lambda: _gzip(image_seeds()["nii"][0]["a.nii"]),
    ),
    "a gigabyte before the pixels": ("a.nii.gz", _nifti_extension),
    "65,000 x 65,000 declared": ("a.jpg", _huge_jpeg),
    "2,000 scans of 8192 x 8192": ("a.jpg", _scans),
    "400 compressed texts of 8 MB": ("a.png", _texts),
    "runs beyond their row": ("a.bmp", _run_length_bmp),
    "a million brackets": ("a.json", _deep_json),
    "the largest that is read": ("a.json", _largest_json),
    "the largest that is read ": ("a.csv", _largest_table),
}
ARCHIVES: dict[str, tuple[str, Callable[[pathlib.Path], None]]] = {
    "a gigabyte in an archive": ("a.xlsx", _workbook),
    "1.5 GB in an archive": ("a.keras", _model),
}


def read(path: pathlib.Path) -> tuple[str, int]:
    """Reads a file and returns the answer in words, and the bytes of its pixels."""
    from scn_keras.files import read_image, read_point_sets
    from scn_keras.files.model_file import require_sound_model

    try:
        if path.suffix in (".json", ".csv", ".xlsx"):
            return f"{len(read_point_sets(path))} images", 0
        if path.suffix == ".keras":
            require_sound_model(path)
            return "sound", 0
        array, _ = read_image(path)
        return f"read, {' x '.join(map(str, array.shape))}", array.nbytes
    except ValueError as error:
        return str(error).replace(str(path.parent) + os.sep, ""), 0


def measure(path: pathlib.Path) -> dict[str, float | str]:
    """Reads a file in this process and returns what that took."""
    from scn_keras.files import _reader_process

    answer, size = read(path)
    readers = [*_reader_process._readers]
    memory = sum(map(_peak, ("self", *(reader._process.pid for reader in readers))))
    for reader in readers:
        reader.end()
    uses = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return {
        "answer": answer,
        "size": size,
        "seconds": sum(use.ru_utime + use.ru_stime for use in uses),
        "bytes": memory,
    }


def _peak(process: int | str) -> int:
    """Returns the highest memory of a process."""
    status = pathlib.Path(f"/proc/{process}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    is_bad = False
    print("| file | | size | time | memory | answer |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, (name, _) in {**FILES, **ARCHIVES}.items():
            path = pathlib.Path(folder, name)
            if what in ARCHIVES:
                ARCHIVES[what][1](path)
            else:
                path.write_bytes(FILES[what][1]())
            command = [sys.executable, "-m", "benchmarks.hostile_files", "--one"]
            done = subprocess.run([*command, path], capture_output=True, text=True)
            size = path.stat().st_size / 1e6
            path.unlink()
            if done.returncode:
                print(
                    f"| {name[1:]} | {what} | {size:.1f} MB | | | ENDED WITH "
                    f"{done.returncode} |"
                )
                is_bad = True
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            beyond = found["bytes"] - found["size"]
            is_bad |= found["seconds"] > MAX_SECONDS or beyond > MAX_BYTES
            print(
                f"| {name[1:]} | {what.strip()} | {size:.1f} MB | "
                f"{found['seconds']:.1f} s | {found['bytes'] / 1e6:.0f} MB | "
                f"{found['answer'][:150]} |",
                flush=True,
            )
    sys.exit(is_bad)


if __name__ == "__main__":
    main()
