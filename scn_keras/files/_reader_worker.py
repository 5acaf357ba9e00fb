"""The process that reads files: one request after the other, until its parent ends."""

import contextlib
import errno
import importlib
import os
import shutil
import signal
import socket
import tempfile
import traceback
import warnings
from typing import Any

from scn_keras.files import _reader_process
from scn_keras.files._reader_limits import begin_limits, memory_in_use
from scn_keras.files._reader_messages import receive, send

# Libraries lose memory of files that they refuse. The process is replaced then.
_MAX_GROWTH = 2**29


def serve(descriptor: int, temporary: str) -> None:
    """Answers requests.

    Args:
        descriptor: Int, a socket connected with the parent.
        temporary: Str, the folder for temporary files, which the parent removes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    if temporary:
        tempfile.tempdir = temporary
    _reader_process.run_here()
    # Where models are trained on arrays without it, files of models are read.
    with contextlib.suppress(ModuleNotFoundError):
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    at_start = memory_in_use()
    with socket.socket(fileno=descriptor) as connection:
        send(connection, "ready")
        _silence()
        while True:
            try:
                request = receive(connection)
            except EOFError:
                break
            begin_limits()
            reply = _answer(request)
            reply["last"] = memory_in_use() > at_start + _MAX_GROWTH or (
                reply.get("error") == "MemoryError"
            )
            send(connection, reply)
            del reply, request
    if temporary:  # the parent may be gone
        shutil.rmtree(temporary, ignore_errors=True)


def _silence() -> None:
    """Sends what libraries print about damaged files nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if request["folder"] is not None:
                os.chdir(request["folder"])
            module = importlib.import_module(request["module"])
            function = getattr(module, request["function"])
            result = function(*request["args"], **request["kwargs"])
            reply = {"result": result}
        except Exception as error:
            reply = _failure(error)
    reply["warnings"] = [
        str(warning.message) for warning in caught if warning.category is UserWarning
    ]
    return reply


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        error = MemoryError(error.strerror)
    if isinstance(error, OSError) and error.errno is not None:
        filename = None if error.filename is None else os.fsdecode(error.filename)
        arguments = [error.errno, error.strerror, filename]
        return {"error": type(error).__name__, "args": arguments}
    for known in (FileNotFoundError, FileExistsError, ValueError, MemoryError):
        if isinstance(error, known):
            return {"error": known.__name__, "args": [str(error)]}
    text = "".join(traceback.format_exception(error))
    return {"error": "RuntimeError", "args": [text]}
