"""The decorator of all command functions: quiet TensorFlow, short error messages."""

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click


def command_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates the function of a command that works with data or models.

    Before the call, TensorFlow is loaded without its log lines. Errors that a user can
    correct (`ValueError`, `OSError`, `RuntimeError`, `ImportError`) become a message on
    the standard error stream and exit code 1. If the environment variable
    `SCN_KERAS_TRACEBACK` is set, they are raised with their traceback instead.

    Args:
        function: Callable, the function that a Click command calls.

    Returns:
        A callable with the same signature.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            _start_tensorflow()
            return function(*args, **kwargs)
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            if "SCN_KERAS_TRACEBACK" in os.environ:
                raise
            if isinstance(error, ModuleNotFoundError):
                error.msg = (
                    f"This command requires {error.name}, which is not installed. "
                    "`scn-keras train --arrays` does not require TensorFlow, TFDS and "
                    "SimpleITK."
                )
            from scn_keras.files.shown_text import storable_text

            raise click.ClickException(
                f"{storable_text(str(error))}\n"
                "(Set SCN_KERAS_TRACEBACK=1 to see the traceback.)"
            ) from error

    return wrapped


def _start_tensorflow() -> None:
    """Loads TensorFlow, if it is installed, and silences its messages."""
    # Keras imports TensorFlow with any backend. A command that needs it and does not
    # find it raises an error of its own.
    with _silent_stderr(), contextlib.suppress(ModuleNotFoundError):
        import tensorflow as tf

        tf.config.list_physical_devices()
        # Warnings about retracing are of use to programmers only.
        tf.get_logger().setLevel("ERROR")
    logging.getLogger("absl").addFilter(_is_not_tfds_deprecation)


def _is_not_tfds_deprecation(record: logging.LogRecord) -> bool:
    # TFDS warns of its own deprecated attribute for every compressed tensor.
    return ".dtype` is deprecated" not in record.getMessage()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    # TensorFlow writes to the file descriptor before any log level applies.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
