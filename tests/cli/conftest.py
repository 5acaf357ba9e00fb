"""The command line in this process, and a run that finds the brightest blob."""

import pytest
from click.testing import CliRunner

from scn_keras.cli import main
from tests.saved_models.conftest import blob_run as blob_run
from tests.saved_models.conftest import draw_blob as draw_blob


@pytest.fixture
def call():
    """Runs a command: `call("train", "--help")` returns Click's result."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
