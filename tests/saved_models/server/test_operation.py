"""`scn-keras serve` for whoever operates it: probes, metrics, logs, limits, the end."""

import asyncio
import contextlib
import itertools
import logging
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import numpy as np
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from scn_keras.saved_models.server import (
    guarded_protocol,
    request_limits,
    served_model,
    server,
)
from scn_keras.saved_models.server.request_watch import RequestWatch, endpoint_of
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.saved_models.server.server_metrics import ServerMetrics

MODEL = "/v1/models/blob"


@pytest.fixture
def png(draw_blob):
    blob = draw_blob((400, 300), (123.4, 210.6), (15.0, 15.0))
    return tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy()


@pytest.fixture(scope="module")
def http(served):
    app = server.create_app(served, "blob")
    return TestClient(app, "http://localhost", raise_server_exceptions=False)


@contextlib.contextmanager
def connections(address, count, text=b""):
    """Yields sockets that have sent the beginning of a request."""
    host, port = address.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        sockets = []
        for _ in range(count):
            made = socket.create_connection((host, int(port)), timeout=10)
            sockets.append(opened.enter_context(made))
            made.sendall(text)
        yield sockets


def test_a_hundred_idle_connections_keep_nobody_out(address):
    with connections(address, 120):
        assert httpx.get(f"{address}{MODEL}").status_code == 200


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_header_that_does_not_come_ends_the_connection(address, monkeypatch, text):
    monkeypatch.setattr(guarded_protocol, "HEADER_SECONDS", 0.2)
    with connections(address, 1, text) as (waiting,):
        with contextlib.suppress(ConnectionResetError):
            assert waiting.recv(1) == b""


def test_a_second_header_has_its_time_as_well(address, monkeypatch):
    with connections(
        address, 1, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ) as (kept,):
        assert kept.recv(100).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(guarded_protocol, "HEADER_SECONDS", 0.2)
        kept.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while kept.recv(1000):
                pass
        assert time.monotonic() - began < 3.0


def test_the_oldest_idle_connection_makes_room(address, monkeypatch):
    monkeypatch.setattr(guarded_protocol, "_MAX_CONNECTIONS", 5)
    with connections(address, 6) as opened:
        with contextlib.suppress(ConnectionResetError):
            assert opened[0].recv(1) == b""
        opened[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_a_body_that_stops_arriving_is_a_408(address, monkeypatch):
    monkeypatch.setattr(request_limits, "_MAX_PAUSE", 0.2)
    head = f"POST {MODEL}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    with connections(address, 1, f"{head}\r\n{{".encode()) as (slow,):
        answer = b""
        while b"The body is too slow: 1 bytes" not in answer:
            received = slow.recv(2000)
            assert received, answer
            answer += received
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_trickles_is_a_408(address, monkeypatch):
    monkeypatch.setattr(request_limits, "_MAX_PAUSE", 0.3)
    monkeypatch.setattr(request_limits, "_MIN_RATE", 100)
    head = (
        f"POST {MODEL}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
    )
    with connections(address, 1, f"{head}\r\n".encode()) as (slow,):
        slow.settimeout(0.1)
        for _ in range(40):
            slow.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(2000)
                break
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("3f2a-11ee_b", True),
        ("Root=1-67891233-abcdef", True),
        ("a" * 129, False),
        ("two words", False),
        ("<script>", False),
        ("ü", False),
        ("", False),
    ],
)
def test_request_ids_are_kept_if_they_are_plain(http, given, kept):
    headers = {"X-Request-ID": given.encode("latin-1")}
    answer = http.get("/healthz", headers=headers)
    received = answer.headers["x-request-id"]
    assert (received == given) if kept else re.fullmatch("[0-9a-f]{32}", received)
    # Errors have one as well.
    assert http.get("/nothing", headers=headers).headers["x-request-id"]


def test_the_log_has_a_line_for_a_request_and_nothing_of_its_content(http, caplog):
    with caplog.at_level(logging.INFO, "scn_keras.access"):
        http.post(
            "/page/locate?patient=Smith",
            content=b"no image",
            headers={"X-File-Name": "Smith.png", "X-Request-ID": "abc"},
        )
        http.get("/healthz")
        http.get("/a%0Ab%20c")
    first, second = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(
        r"id=abc client=testclient method=POST path=/page/locate status=400 in=8 "
        r"out=\d+ ms=\d+\.\d",
        first,
    )
    assert "Smith" not in caplog.text
    assert "path=/a%0Ab%20c status=404" in second and "\n" not in second


def metrics_of(http, address="/metrics"):
    answer = http.get(address)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_requests_errors_and_time(served):
    http = TestClient(server.create_app(served, "blob"), "http://localhost")
    for name, count in (("landmarks", 3), ("nothing", 2)):
        for _ in range(count):
            call = {"signature_name": name, "instances": [0]}
            http.post(f"{MODEL}:predict", json=call)
    http.get("/nothing")
    found = metrics_of(http, "/monitoring/prometheus/metrics")

    def value(metric, **labels):
        return found[(f"scn_keras_{metric}", *sorted(labels.items()))]

    assert value("requests_total", endpoint="predict", status="200") == 3
    assert value("requests_total", endpoint="predict", status="400") == 2
    assert value("errors_total", endpoint="predict", kind="invalid") == 2
    assert value("errors_total", endpoint="other", kind="not_found") == 1
    assert value("request_seconds_count", endpoint="predict") == 5
    assert 0 < value("request_seconds_sum", endpoint="predict") < 60
    assert value("ready") == 1
    assert value("calls_waiting") == value("held_bytes") == 0
    assert value("requests_running") == 1  # this one
    assert value("model_info", name="blob", version="1") == 1
    resident = found[("process_resident_memory_bytes",)]
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    assert resident == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)


def test_metrics_have_few_labels():
    paths = ("/", "/x", "/v1/models/a", "/v1/models/b:predict", "/v1/a", "/v1/b:c")
    kinds = [endpoint_of(path) for path in paths]
    assert kinds == ["page", "other", "status", "predict", "status", "status"]


def test_more_requests_than_are_answered_at_a_time_get_a_503(served):
    limits = request_limits.RequestLimits(100, 60.0)
    metrics = ServerMetrics(served, "blob", limits)

    async def slow(scope, receive, send):
        await asyncio.sleep(0.2)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = RequestWatch(slow, metrics, max_running=2)

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost"
        ) as http:
            calls = [http.get(path) for path in ("/", "/", "/", "/healthz")]
            return await asyncio.gather(*calls)

    *answers, probe = asyncio.run(ask())
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    (refused,) = [answer for answer in answers if answer.status_code == 503]
    assert "answered already" in refused.json()["error"]
    assert refused.headers["retry-after"] == "1"
    assert probe.status_code == 200
    assert metrics.running == 0


def test_the_model_is_available_once_it_is_warm(blob_model, monkeypatch):
    warmed, release = [], threading.Event()
    read = served_model.read_warm_up

    def held(folder):
        for signature, inputs in read(folder):
            release.wait()
            warmed.append(signature)
            yield signature, inputs

    monkeypatch.setattr(served_model, "read_warm_up", held)
    with ServedModel(blob_model, warm_up=True) as model:
        http = TestClient(server.create_app(model, "blob"), "http://localhost")
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503
        assert metrics_of(http)[("scn_keras_ready",)] == 0
        (status,) = http.get(MODEL).json()["model_version_status"]
        assert status["state"] == "LOADING"
        early = model.submit("landmarks", {"landmark": np.zeros(1, np.int32)})
        release.set()
        assert early.result(timeout=120)["name"][0] == b"bright"
        assert {*warmed, "landmarks"} == set(model.signatures)
        (status,) = http.get(MODEL).json()["model_version_status"]
        assert status["state"] == "AVAILABLE"
        assert http.get("/readyz").json() == {"state": "AVAILABLE"}


def test_a_model_that_fails_its_warm_up_is_not_ready(blob_model, monkeypatch):
    def broken(folder):
        yield "landmarks", {"landmark": np.full(1, 99, np.int32)}

    monkeypatch.setattr(served_model, "read_warm_up", broken)
    with ServedModel(blob_model, warm_up=True) as model:
        http = TestClient(server.create_app(model, "blob"), "http://localhost")
        while model.state == "LOADING":
            time.sleep(0.01)
        assert http.get("/readyz").status_code == 503
        (status,) = http.get(MODEL).json()["model_version_status"]
        assert status["state"] == "END"
        assert status["status"]["error_code"] == "INTERNAL"
        call = {"signature_name": "landmarks", "instances": [0]}
        answer = http.post(f"{MODEL}:predict", json=call)
        assert answer.status_code == 503 and "out of order" in answer.json()["error"]


def test_sigterm_lets_running_requests_finish(blob_model, png, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "scn_keras.cli", "serve", str(blob_model)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in itertools.repeat(None, 1200):
            assert process.poll() is None, process.stderr.read()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            time.sleep(0.1)
        head = f"POST {MODEL}:predict HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
        with connections(url, 2) as (idle, running):
            running.sendall(head.encode() + png[:-1])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
            assert idle.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
            running.sendall(png[-1:])
            assert running.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.wait(timeout=60) == 0
        assert re.search(
            r"scn_keras\.access id=\w+ .* status=200", process.stderr.read()
        )
    finally:
        process.kill()
        process.communicate()
