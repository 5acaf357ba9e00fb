import pytest
from click.testing import CliRunner

from scn_keras.cli import main


@pytest.fixture
def call():
    """Runs a command in this process: `call("train", "--help")`."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
