"""How a client's calls travel to a server, and which failures mean what."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Refused(Exception):
    """The server did not take the inputs; asking again is of no use."""


class Unavailable(Exception):
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
            Refused: If the inputs were not taken.
            Unavailable: If it is worth to ask again.
            RuntimeError: If the server answered with any other failure.
        """

    async def close(self) -> None:
        """Closes the connection."""
