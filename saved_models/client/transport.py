"""The interface of connections to a server, and the failures of calls."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class RefusedError(Exception):
    """The server did not accept the inputs.

    Repeating the call does not help, unless the server has batching: then the fault
    may lie in another call of the same batch.
    """


class TooLargeError(RefusedError):
    """The call is larger than the server accepts; repeating it does not help."""


class UnavailableError(Exception):
    """The server cannot be reached or is overloaded; the call may be repeated."""


class Transport(Protocol):
    """A connection to a server, used from one event loop."""

    async def call(
        self, signature: str, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        """Calls a signature of the model.

        Args:
            signature: Str, the name of the signature.
            inputs: Mapping of names to arrays, of dtype `object` for bytes.
            timeout: Float, the remaining seconds.

        Returns:
            Dict of the outputs by name.

        Raises:
            RefusedError: If the server does not accept the inputs.
            RuntimeError: If the server fails in another way.
            TimeoutError: If the server gives the call up.
            UnavailableError: If the call may be repeated.
        """

    async def close(self) -> None:
        """Closes the connection."""
