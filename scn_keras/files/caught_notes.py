import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def caught_notes() -> Iterator[list[str]]:
    """Turns the warnings of a block, each of them once, into notes for users.

    Those of other threads, such as that of a progress bar in a notebook, are shown as
    always: `warnings.catch_warnings` would catch them as well.

    Yields:
        List of str, complete when the block ends.

    Example:

    ```python
    with caught_notes() as notes:
        array, affine = read_image("film.dcm")
    print(*notes, sep="\\n")
    ```
    """
    thread = threading.get_ident()
    notes: dict[str, None] = {}
    listed: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show = warnings.showwarning

        def keep(message: Warning | str, *about: Any, **named: Any) -> None:
            if threading.get_ident() == thread:
                notes[str(message)] = None
            else:
                show(message, *about, **named)

        warnings.showwarning = keep  # restored by `catch_warnings`
        try:
            yield listed
        finally:
            listed += notes
