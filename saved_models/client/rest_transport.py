import asyncio
from collections.abc import Mapping

import httpx2 as httpx
import numpy as np

from scn_keras.saved_models.client.transport import (
    Arrays,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from scn_keras.saved_models.rest_dialect import format_call, parse_answer

_FAILURES = {
    400: RefusedError,
    408: UnavailableError,
    413: TooLargeError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: TimeoutError,
}


class RestTransport:
    """A `Transport` over TF Serving's REST interface.

    Args:
        url: Str, `http://HOST:PORT/v1/models/NAME`, with or without a version.
        headers: Mapping of str to str, sent with each call.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = f"{url}:predict"
        # The caller has its own timeout. Loading certificates is slow: for https only.
        self._http = httpx.AsyncClient(
            headers=dict(headers), timeout=None, verify=url.startswith("https:")
        )

    async def call(
        self, signature: str, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        # In a thread, so that other calls continue and the timeout takes effect.
        body = await asyncio.to_thread(format_call, signature, inputs)
        try:
            response = await self._http.post(
                self._url, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError as error:
            text = f"{type(error).__name__} {error}".strip()
            raise UnavailableError(text) from error
        status = response.status_code
        if status == 200:
            try:
                return await asyncio.to_thread(parse_answer, response.content)
            except (ValueError, KeyError, TypeError) as error:
                raise RuntimeError(
                    f"{self._url} answered, but not as TF Serving does. Received: "
                    f"{response.text[:200]}"
                ) from error
        if status in _FAILURES:
            code = "" if status == 400 else f"{status}: "
            raise _FAILURES[status](f"{code}{_reason(response)}")
        raise RuntimeError(f"{self._url} answered {status}: {_reason(response)}")

    async def close(self) -> None:
        await self._http.aclose()


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])[:500]
    except (ValueError, KeyError, TypeError):  # the answer of a proxy, for example
        return response.text[:200]
