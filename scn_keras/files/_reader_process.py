"""Reads files in a process of their own, which a hostile file may crash.

GDCM, NIfTI, Teem, MetaIO and libtiff are large programs in C and C++. What ends the
process that they run in, or takes too much time or memory, is one `ValueError` here.
PNG and JPEG files are read without it: their libraries are those of web browsers, and
`benchmarks.fuzz_readers` has found no fault in them.
"""

import atexit
import builtins
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from scn_keras.files._reader_messages import receive, send
from scn_keras.files.image_kinds import JPEG, PNG

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# Not `multiprocessing`, which imports the user's main program again, and not a fork,
# which would copy locks that TensorFlow's threads hold.
_PROGRAM = (
    "import sys; descriptor, temporary, *sys.path = sys.argv[1:]; "
    "from scn_keras.files._reader_worker import serve; "
    "serve(int(descriptor), temporary)"
)
_MAX_PROCESSES = max(2, min(4, os.cpu_count() or 1))
# The libraries are silent for as long only where a disk does not answer.
_SILENCE_SECONDS = 600.0
_WHY = {
    signal.SIGXCPU: "decoding takes much longer than for other files of this size",
    signal.SIGKILL: "the system ended the process that decodes it, for lack of memory",
}

_here = False


def in_reader_process(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Makes a function that reads a file run in another process.

    Its first argument is the file. Arguments and result may be what
    `_reader_messages.send` takes. The process has limits of memory and time, see
    `_reader_limits`; it is kept for the next call.

    Args:
        function: Function of a module.

    Returns:
        A function that also raises a `ValueError` if the file crashes the process, or
        exceeds a limit.
    """

    @functools.wraps(function)
    def guarded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        # The executable of a frozen program is the program itself.
        frozen = not sys.executable or getattr(sys, "frozen", False)
        if _here or frozen or _is_web_image(args[0]):
            return function(*args, **kwargs)
        reply = _ask(function, args, kwargs)
        for message in reply["warnings"]:
            warnings.warn(message, stacklevel=2)
        if "error" in reply:
            raise _exception(reply, args)
        return reply["result"]

    return guarded


def _is_web_image(path: Any) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4).startswith((PNG, JPEG))


def run_here() -> None:
    """Makes all functions run in this process, from now on."""
    global _here
    _here = True


class _Reader:
    """A process that reads files."""

    def __init__(self) -> None:
        self._temporary = ""
        with contextlib.suppress(OSError):  # there may be no place for temporary files
            self._temporary = tempfile.mkdtemp(prefix="scn-keras-")
        self._connection, other = socket.socketpair()
        path = [os.path.abspath(folder) for folder in sys.path]
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with other:
            descriptor = other.fileno()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _PROGRAM, str(descriptor)),
                    *(self._temporary, *path),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(descriptor,),
                env={**os.environ, **threads},
            )
        _readers.add(self)
        try:
            receive(self._connection)
        except BaseException as error:
            code = self.end()
            if not isinstance(error, EOFError):
                raise
            raise RuntimeError(
                "The process that reads image files does not start: "
                f"{sys.executable} ended with code {code}."
            ) from None
        self._connection.settimeout(_SILENCE_SECONDS)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        send(self._connection, request)
        return receive(self._connection)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> int:
        """Ends the process and returns its exit code, negative for a signal."""
        _readers.discard(self)
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # one that crashed
        self._process.kill()
        code = self._process.wait()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
        return code

    def forget(self) -> None:
        """Lets go of the process in a fork of the one that started it."""
        self._connection.close()
        self._process.returncode = 0


_readers: set[_Reader] = set()
_idle: list[_Reader] = []
_lock = threading.Lock()
_places = threading.BoundedSemaphore(_MAX_PROCESSES)


def _ask(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        folder = None
    request = {
        "folder": folder,
        "module": function.__module__,
        "function": function.__name__,
        "args": args,
        "kwargs": kwargs,
    }
    with _places:
        reader = _running_reader()
        try:
            reply = reader.ask(request)
        except (EOFError, ConnectionError, TimeoutError) as error:
            refusal = _refusal(
                args, _why(reader.end(), isinstance(error, TimeoutError))
            )
            return {"warnings": [], "error": "ValueError", "args": [refusal]}
        except BaseException:  # such as KeyboardInterrupt, with an answer under way
            reader.end()
            raise
        if reply["last"]:
            reader.end()
        else:
            with _lock:
                _idle.append(reader)
    return reply


def _running_reader() -> _Reader:
    while True:
        with _lock:
            reader = _idle.pop() if _idle else None
        if reader is None:
            return _Reader()
        if reader.is_running():
            return reader
        reader.end()


def _refusal(args: tuple[Any, ...], why: str) -> str:
    return (
        f"The file cannot be read: {os.fspath(args[0])}: {why}. If it is from a source "
        "that you trust, write it anew with the software that it is from."
    )


def _why(code: int, is_silent: bool) -> str:
    if is_silent:
        return f"its disk has not answered for {_SILENCE_SECONDS:.0f} seconds"
    if code >= 0:
        return f"its decoder ended with code {code}"
    ended_by = signal.Signals(-code)
    return _WHY.get(ended_by, f"its decoder crashed ({ended_by.name})")


def _exception(reply: dict[str, Any], args: tuple[Any, ...]) -> Exception:
    if reply["error"] == "MemoryError":
        return ValueError(_refusal(args, "it needs much more memory than its size"))
    kind = getattr(builtins, reply["error"], RuntimeError)
    if not issubclass(kind, OSError | ValueError):
        kind = RuntimeError
    return kind(*reply["args"])


@atexit.register
def _end_all() -> None:
    for reader in [*_readers]:
        reader.end()


def _forget_all() -> None:
    global _lock, _places
    for reader in _readers:
        reader.forget()
    _readers.clear()
    _idle.clear()
    _lock = threading.Lock()
    _places = threading.BoundedSemaphore(_MAX_PROCESSES)


os.register_at_fork(after_in_child=_forget_all)
