from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.served_model import ServedModel

_KINDS = {
    400: "invalid",
    403: "forbidden",
    404: "not_found",
    405: "method",
    408: "slow_client",
    413: "too_large",
    415: "content_type",
    500: "internal",
    503: "busy",
    504: "timeout",
}
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class ServerMetrics:
    """What Prometheus reads of a server; of requests, nothing but their number.

    Args:
        model: `ServedModel`.
        name: Str, the model's name in addresses.
        limits: `RequestLimits` of the application.

    Attributes:
        running: Int, the number of requests that are being answered.
    """

    def __init__(self, model: ServedModel, name: str, limits: RequestLimits) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "scn_keras_requests",
            "Requests that were answered.",
            ("endpoint", "status"),
            registry=registry,
        )
        self._errors = Counter(
            "scn_keras_errors",
            "Requests that got an error, by its kind.",
            ("endpoint", "kind"),
            registry=registry,
        )
        self._seconds = Histogram(
            "scn_keras_request_seconds",
            "Time from the header of a request to the end of its answer.",
            ("endpoint",),
            registry=registry,
            buckets=_SECONDS,
        )
        self.running = 0
        for measure, about, value in (
            ("requests_running", "Requests in work.", lambda: self.running),
            ("calls_waiting", "Calls that wait for the model.", lambda: model.waiting),
            ("held_bytes", "Bytes of request bodies.", lambda: limits.held_bytes),
            ("ready", "1 once the model is warm.", lambda: model.state == "AVAILABLE"),
        ):
            gauge = Gauge(f"scn_keras_{measure}", about, registry=registry)
            gauge.set_function(value)
        Info("scn_keras_model", "The model that is served.", registry=registry).info(
            {"name": name, "version": model.version}
        )

    def count(self, endpoint: str, status: int, seconds: float) -> None:
        """Counts one answer.

        Args:
            endpoint: Str, the kind of the address.
            status: Int, of HTTP.
            seconds: Float, how long it took.
        """
        self._requests.labels(endpoint, status).inc()
        self._seconds.labels(endpoint).observe(seconds)
        if status >= 400:
            self._errors.labels(endpoint, _KINDS.get(status, "other")).inc()

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
