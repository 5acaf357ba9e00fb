"""How a client's calls travel to a server, and which failures mean what."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class RefusedError(Exception):
    """The server did not take the inputs.

    Asking again is of no use, unless the server batches: then the fault may lie in
    what it put together with them.
    """


class TooLargeError(RefusedError):
    """The call is larger than the server reads: asking again is of no use."""


class UnavailableError(Exception):
    """The server could not be reached or is overloaded; it may be asked again."""


class Transport(Protocol):
    """One connection, used from one event loop."""

    async def call(
        self, signature: str, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        """Asks one signature.

        Args:
            signature: Str.
            inputs: Mapping of names to arrays, `object` for bytes.
            timeout: Float, the seconds that are left.

        Returns:
            The outputs by name.

        Raises:
            RefusedError: If the inputs were not taken.
            RuntimeError: If the server answered with any other failure.
            TimeoutError: If the server gave up.
            UnavailableError: If it is worth to ask again.
        """

    async def close(self) -> None:
        """Closes the connection."""
