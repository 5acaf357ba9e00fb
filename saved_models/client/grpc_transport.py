import asyncio

import grpc
import numpy as np

from scn_keras.saved_models.client.transport import (
    Arrays,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from scn_keras.saved_models.serving_messages import (
    PREDICT,
    PredictRequest,
    PredictResponse,
    get_tensor,
    set_tensor,
)

# Volumes are larger than the 4 MB that gRPC allows by default.
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
_FAILURES = {
    grpc.StatusCode.INVALID_ARGUMENT: RefusedError,
    # TF Serving uses this code for an unknown signature.
    grpc.StatusCode.FAILED_PRECONDITION: RefusedError,
    grpc.StatusCode.OUT_OF_RANGE: RefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UnavailableError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutError,
}


class GrpcTransport:
    """A `Transport` over TF Serving's PredictionService.

    Args:
        address: Str, `HOST:PORT`.
        model: Str, the model's name.
        version: Int, the version of the model; `None` for the latest.
        secure: Bool, whether to use TLS.
        headers: Dict of str to str, sent as metadata with each call.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None,
        secure: bool,
        headers: dict[str, str],
    ) -> None:
        self._model, self._version = model, version
        self._metadata = [(key.lower(), value) for key, value in headers.items()]
        if secure:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.aio.secure_channel(address, credentials, _OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(address, _OPTIONS)
        # From bytes to bytes: the messages are built and parsed in threads.
        self._predict = self._channel.unary_unary(PREDICT)

    async def call(
        self, signature: str, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        request = await asyncio.to_thread(self._request, signature, inputs)
        try:
            response = await self._predict(
                request, timeout=timeout, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        return await asyncio.to_thread(_outputs, response)

    async def close(self) -> None:
        await self._channel.close()

    def _request(self, signature: str, inputs: Arrays) -> bytes:
        request = PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for key, array in inputs.items():
            set_tensor(request.inputs.add(key=key).value, array)
        return request.SerializeToString()


def _outputs(response: bytes) -> dict[str, np.ndarray]:
    entries = PredictResponse.FromString(response).outputs
    return {entry.key: get_tensor(entry.value) for entry in entries}


def _failure(error: grpc.aio.AioRpcError) -> Exception:
    code, message = error.code(), (error.details() or "")[:500]
    if "message larger than max" in message:
        return TooLargeError(message)
    if code in _FAILURES:
        return _FAILURES[code](message)
    return RuntimeError(f"The server answered {code.name}: {message}")
