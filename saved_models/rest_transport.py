import json
from collections.abc import Mapping

import httpx2 as httpx
import numpy as np

from scn_keras.saved_models.rest_dialect import format_call, parse_answer
from scn_keras.saved_models.transport import Arrays, Refused, Unavailable

_REFUSED, _UNAVAILABLE = (400, 413), (429, 503)


class RestTransport:
    """A `Transport` over TF Serving's REST interface.

    Args:
        url: Str, `http://HOST:PORT/v1/models/NAME`, with or without a version.
        headers: Mapping of str, sent with each call.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = f"{url}:predict"
        # The deadline is the caller's; certificates are of https alone, and slow.
        self._http = httpx.AsyncClient(
            headers=dict(headers), timeout=None, verify=url.startswith("https:")
        )

    async def call(
        self, signature: str, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        body = format_call(signature, inputs)
        try:
            response = await self._http.post(
                self._url, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError as error:
            raise Unavailable(f"{type(error).__name__} {error}".strip()) from error
        if response.status_code == 200:
            return parse_answer(response.content)
        message = f"{response.status_code}: {_reason(response)}"
        if response.status_code in _UNAVAILABLE:
            raise Unavailable(message)
        if response.status_code in _REFUSED:
            raise Refused(_reason(response))
        raise RuntimeError(f"{self._url} answered {message}")

    async def close(self) -> None:
        await self._http.aclose()


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])[:500]
    except (json.JSONDecodeError, KeyError, TypeError):
        return response.text[:200]
