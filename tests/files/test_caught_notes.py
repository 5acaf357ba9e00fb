"""Warnings of readers become notes; those of other threads do not."""

import threading
import warnings

import pytest

from scn_keras.files.caught_notes import caught_notes


def test_warnings_are_notes_once():
    before = warnings.showwarning, list(warnings.filters)
    with caught_notes() as notes:
        for text in ("of the detector", "not square", "of the detector"):
            warnings.warn(text, stacklevel=1)
    assert notes == ["of the detector", "not square"]
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_notes_are_complete_after_an_error():
    with pytest.raises(ValueError), caught_notes() as notes:
        warnings.warn("first", stacklevel=1)
        raise ValueError
    assert notes == ["first"]


def test_warnings_of_other_threads_are_shown():
    def draw():
        # As a progress bar does in a notebook without ipywidgets.
        warnings.warn("of the bar", stacklevel=1)

    with pytest.warns(UserWarning, match="of the bar"), caught_notes() as notes:
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
        warnings.warn("of the file", stacklevel=1)
    assert notes == ["of the file"]
