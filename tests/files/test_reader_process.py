"""The process that reads files, with readers that crash, hang and fail."""

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scn_keras.files import _reader_process, read_image, read_image_header
from scn_keras.files._name_pattern import search_names

READERS = """
import ctypes, mmap, os, signal, tempfile, warnings
import numpy as np
from scn_keras.files import _reader_limits
from scn_keras.files._reader_process import in_reader_process

def crash(path): ctypes.string_at(0)
def abort(path): os.abort()
def leave(path): os._exit(3)
def use_memory(path): return len(mmap.mmap(-1, 2**31))
def use_memory_of_image(path):
    _reader_limits.allow_bytes(2**30)
    return len(mmap.mmap(-1, 2**31))
def shorten(path): _reader_limits._BASE_SECONDS = 0
def hang(path):
    while True: pass
def fail(path): raise KeyError("our own mistake")
def refuse(path): warnings.warn("first"); raise ValueError(f"{path} is not good")
def absent(path): raise FileNotFoundError(f"no {path}")
def locked(path): raise PermissionError(13, "Permission denied", str(path))
def number(path): return os.getpid()
def temporary(path): return tempfile.mkdtemp()
def crash_with_file(path):
    tempfile.mkdtemp()
    ctypes.string_at(0)
def values(path, *, scale=1):
    warnings.warn("odd")
    big = np.arange(3000, dtype=">i2").reshape(30, 100) * scale
    return {"a": [big[:, ::2], (1, None, "\\udc80")], "b": np.eye(3), "c": big[:0]}
for name in [n for n in dir() if callable(globals()[n]) and n != "in_reader_process"]:
    globals()[name] = in_reader_process(globals()[name])
"""


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "odd_readers.py").write_text(READERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(_reader_process, "_idle", [])
        import odd_readers

        yield odd_readers
        for reader in _reader_process._idle:
            reader.end()


FILE = Path("of a stranger.nii")


@pytest.mark.parametrize(
    "name, message",
    [
        ("crash", "its decoder crashed .SIGSEGV."),
        ("abort", "its decoder crashed .SIGABRT."),
        ("leave", "its decoder ended with code 3"),
        ("use_memory", "it needs much more memory than its size"),
    ],
)
def test_a_crash_is_one_sentence_and_the_next_file_is_read(readers, name, message):
    with pytest.raises(ValueError, match=f"cannot be read: {FILE}: {message}"):
        getattr(readers, name)(FILE)
    assert readers.number(FILE) == readers.number(FILE)


def test_a_hang_ends(readers):
    readers.shorten(FILE)  # to one second of processor time
    with pytest.raises(ValueError, match="takes much longer than"):
        readers.hang(FILE)
    assert readers.number(FILE)


def test_a_pattern_that_never_ends(readers):
    names = ["anna_1", "b2"]
    assert search_names(FILE, "^([a-z]+)_", names) == ["anna", None]
    assert search_names(FILE, "[0-9]", names) == ["1", "2"]
    readers.shorten(FILE)  # of the process that is asked next
    with pytest.raises(ValueError, match="takes much longer than"):
        search_names(FILE, "^(a+)+$", ["a" * 60 + "b"])


def test_memory_grows_with_the_admitted_size(readers):
    assert readers.use_memory_of_image(FILE) == 2**31


def test_exceptions_are_those_of_the_reader(readers):
    with pytest.raises(RuntimeError, match="our own mistake"):
        readers.fail(FILE)
    with pytest.warns(UserWarning, match="first"):
        with pytest.raises(ValueError, match="^of a stranger.nii is not good$"):
            readers.refuse(FILE)
    with pytest.raises(FileNotFoundError, match="^no of a stranger"):
        readers.absent(FILE)
    with pytest.raises(PermissionError) as caught:
        readers.locked(FILE)
    assert (caught.value.errno, caught.value.filename) == (13, str(FILE))


def test_values_arrive_unchanged(readers):
    with pytest.warns(UserWarning, match="odd"):
        result = readers.values(FILE, scale=2)
    expected = 2 * np.arange(3000).reshape(30, 100)
    array, (one, none, text) = result["a"]
    np.testing.assert_array_equal(array, expected[:, ::2])
    assert (one, none, text) == (1, None, "\udc80")
    np.testing.assert_array_equal(result["b"], np.eye(3))
    assert result["c"].shape == (0, 100)
    array[...] = 1  # writable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="odd"):
            readers.values(FILE)


def test_a_crash_leaves_no_temporary_files(readers):
    folder = Path(readers.temporary(FILE)).parent
    assert folder.is_dir()
    with pytest.raises(ValueError, match="crashed"):
        readers.crash_with_file(FILE)
    assert not folder.exists()


def test_threads_read_at_the_same_time(readers):
    numbers = []
    threads = [
        threading.Thread(target=lambda: numbers.append(readers.number(FILE)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(numbers) == 20
    assert len(set(numbers)) <= _reader_process._MAX_PROCESSES


def test_relative_paths_after_a_change_of_the_folder(tmp_path, monkeypatch):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sitk.WriteImage(
            sitk.GetImageFromArray(pixels + ord(name)), str(tmp_path / name / "i.nrrd")
        )
    for name in ("a", "b"):
        monkeypatch.chdir(tmp_path / name)
        np.testing.assert_array_equal(read_image("i.nrrd")[0], pixels + ord(name))
        assert read_image_header("i.nrrd").path == Path("i.nrrd")
        with pytest.raises(FileNotFoundError, match="exist: j.nrrd"):
            read_image("j.nrrd")


FORK = """
import os, sys, warnings
warnings.simplefilter("error", ResourceWarning)
from scn_keras.files import read_image
from scn_keras.files._reader_process import _readers
image, _ = read_image(sys.argv[1])
process = os.fork()
image[...] = 7 if process else 9
again, _ = read_image(sys.argv[1])
assert again[1, 1] == 5 and len(_readers) == 1, again
assert (image == (7 if process else 9)).all()
if process:
    code = os.waitpid(process, 0)[1]
    again, _ = read_image(sys.argv[1])
    assert code == 0 and (image == 7).all()
    print("whole")
"""


def test_a_fork_starts_a_process_of_its_own(tmp_path):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((90, 90), 5, np.uint8)), str(path))
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, path]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_no_process_is_left(tmp_path):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((90, 90), 5, np.uint8)), str(path))
    program = (
        "import sys; from scn_keras.files import read_image, _reader_process as r; "
        "read_image(sys.argv[1]); print([*r._readers][0]._process.pid)"
    )
    command = [sys.executable, "-W", "error", "-c", program, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert not Path("/proc", done.stdout.strip()).exists()
