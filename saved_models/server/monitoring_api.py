from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.saved_models.server.server_metrics import ServerMetrics


class MonitoringApi:
    """The endpoints for probes and for Prometheus.

    `/healthz` answers with 200 while the process answers at all, `/readyz` once the
    model is warm, and with 503 before. Metrics are at the address of TF Serving's and
    at `/metrics`.

    Args:
        model: `ServedModel`.
        metrics: `ServerMetrics` of the application.
    """

    def __init__(self, model: ServedModel, metrics: ServerMetrics) -> None:
        self._model = model
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Returns the routes of the endpoints."""
        return [
            Route("/healthz", self.health),
            Route("/readyz", self.readiness),
            Route("/metrics", self.metrics),
            Route("/monitoring/prometheus/metrics", self.metrics),
        ]

    async def health(self, request: Request) -> Response:
        """Answers that the process is alive."""
        return JSONResponse({"status": "alive"})

    async def readiness(self, request: Request) -> Response:
        """Answers whether the model is warm."""
        ready = self._model.state == "AVAILABLE"
        return JSONResponse({"state": self._model.state}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Answers with the metrics."""
        # Without it, starlette appends the charset, which the type has already.
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return Response(self._metrics.text(), headers=headers)
