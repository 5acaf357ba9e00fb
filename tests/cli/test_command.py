"""What every command function gets: short errors and a quiet start of TensorFlow."""

import contextlib
import os

import click
import pytest
from click.testing import CliRunner

from scn_keras.cli import _command

HINT = "\n(Set SCN_KERAS_TRACEBACK=1 to see the traceback.)\n"


def invoke(error, **environment):
    """Runs a command whose function raises the error."""

    @click.command()
    @_command.command_function
    def command():
        raise error

    return CliRunner(env=environment).invoke(command)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Spacings must be positive."),
        OSError("Spacings must be positive."),
        RuntimeError("Spacings must be positive."),
        ImportError("Spacings must be positive."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_user_becomes_a_message(error):
    result = invoke(error, SCN_KERAS_TRACEBACK=None)
    assert result.exit_code == 1
    assert result.output == f"Error: Spacings must be positive.{HINT}"


def test_a_missing_package_is_named():
    error = ModuleNotFoundError("No module named 'PIL'", name="PIL")
    result = invoke(error, SCN_KERAS_TRACEBACK=None)
    assert result.exit_code == 1
    assert result.output == (
        "Error: This command requires PIL, which is not installed. `scn-keras train "
        f"--arrays` does not require TensorFlow, TFDS and SimpleITK.{HINT}"
    )


def test_the_traceback_can_be_asked_for():
    error = ValueError("Spacings must be positive.")
    result = invoke(error, SCN_KERAS_TRACEBACK="1")
    assert result.exception is error
    assert result.output == ""


def test_an_error_of_the_program_keeps_its_traceback():
    error = KeyError("affine")
    assert invoke(error, SCN_KERAS_TRACEBACK=None).exception is error


def test_usage_errors_pass_through():
    result = invoke(click.UsageError("Give one."), SCN_KERAS_TRACEBACK=None)
    assert result.exit_code == 2
    assert result.output.endswith("Error: Give one.\n")


def test_arguments_results_and_names_pass_through():
    @_command.command_function
    def add(first: int, second: int) -> int:
        """Adds."""
        return first + second

    assert add(1, second=2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Adds.")


def test_standard_error_is_silent_in_between_only(capfd):
    with contextlib.suppress(ZeroDivisionError), _command._silent_stderr():
        os.write(2, b"log line")
        raise ZeroDivisionError
    os.write(2, b"message")
    assert capfd.readouterr().err == "message"


def test_log_levels_of_tensorflow_are_kept(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    with _command._silent_stderr():
        pass
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"
