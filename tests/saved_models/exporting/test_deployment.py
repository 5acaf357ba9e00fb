"""The examples of proxy, GPU, canary, Kustomize and KServe: parsed, or run."""

import base64
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format

import scn_keras.saved_models
from scn_keras.saved_models import Client
from tests.saved_models.conftest import POINT

FOLDER = Path(scn_keras.saved_models.__file__).with_name("deployment")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def document(name):
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def merged(*names):
    """Joins compose files as `docker compose --file A --file B` does for mappings."""

    def join(old, new):
        if isinstance(old, dict) and isinstance(new, dict):
            return {k: join(old.get(k), new.get(k, old.get(k))) for k in {*old, *new}}
        return old if new is None else new

    whole = {}
    for name in names:
        whole = join(whole, document(name))
    return whole["services"]


def test_the_proxy_alone_is_open_to_other_machines():
    services = merged("compose.yaml", "compose.proxy.yaml")
    assert services["proxy"]["ports"] == ["8443:8443"]
    ports = services["serving"]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    mounts = [volume.split(":")[0] for volume in services["proxy"]["volumes"]]
    assert (FOLDER / mounts[0]).name == "nginx.conf" and (FOLDER / mounts[0]).is_file()
    assert set(services["proxy"]["depends_on"]) <= set(services)
    assert "healthcheck" in services["serving"]


def test_the_gpu_variant_changes_the_image_alone():
    serving = merged("compose.yaml", "compose.gpu.yaml")["serving"]
    plain = document("compose.yaml")["services"]["serving"]
    assert serving["image"] == f"{plain['image']}-gpu"
    assert serving["command"] == plain["command"]
    (device,) = serving["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def models_of(text):
    config = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2",
        reason="tensorflow-serving-api is not installed.",
    )
    parsed = text_format.Parse(text, config.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    return model


def test_labels_name_versions_that_are_served():
    canary = models_of((FOLDER / "models.canary.config").read_text("utf-8"))
    plain = models_of((FOLDER / "models.config").read_text("utf-8"))
    assert (canary.name, canary.base_path) == (plain.name, plain.base_path)
    assert dict(canary.version_labels) == {"stable": 1, "canary": 2}
    assert [*canary.model_version_policy.specific.versions] == [1, 2]
    nginx = (FOLDER / "nginx.conf").read_text("utf-8")
    assert set(re.findall(r"/labels/([a-z]+);", nginx)) == set(canary.version_labels)
    flags = merged("compose.yaml")["serving"]["command"]
    assert any("model_config_file_poll_wait_seconds" in flag for flag in flags)


def kustomized(variant):
    """Returns the resources of a variant, by their kind."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            folder = str(FOLDER / "kubernetes" / variant)
            built = subprocess.run([*command, folder], capture_output=True, text=True)
            assert built.returncode == 0, built.stderr
            return {one["kind"]: one for one in yaml.safe_load_all(built.stdout)}
    pytest.skip("There is neither kubectl nor kustomize here.")


def test_every_part_of_the_kustomizations_exists():
    for variant in ("base", "gpu", "canary"):
        folder = FOLDER / "kubernetes" / variant
        kustomization = document(f"kubernetes/{variant}/kustomization.yaml")
        assert kustomization["kind"] == "Kustomization"
        for resource in kustomization["resources"]:
            assert (folder / resource).exists()
        base = FOLDER / "kubernetes" / "base" / "kubernetes.yaml"
        names = {
            (one["kind"], one["metadata"]["name"])
            for one in yaml.safe_load_all(base.read_text("utf-8"))
        }
        for patch in kustomization.get("patches", ()):
            change = yaml.safe_load(patch["patch"])
            assert (change["kind"], change["metadata"]["name"]) in names


def test_kustomize_builds_the_variants():
    base, gpu = kustomized("base"), kustomized("gpu")

    def container(resources):
        (one,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
        return one

    assert container(gpu)["image"] == f"{container(base)['image']}-gpu"
    limits = container(gpu)["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert limits["memory"] == container(base)["resources"]["limits"]["memory"]
    assert container(gpu)["args"] == container(base)["args"]
    canary = kustomized("canary")
    text = canary["ConfigMap"]["data"].pop("models.config")
    example = (FOLDER / "models.canary.config").read_text("utf-8")
    assert models_of(text) == models_of(example)
    base["ConfigMap"]["data"].pop("models.config")
    assert canary == base


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="No sha256sum here.")
def test_pods_check_the_digests_of_the_models(blob_model, tmp_path):
    resources = (FOLDER / "kubernetes" / "base" / "kubernetes.yaml").read_text("utf-8")
    (deployment,) = [
        one for one in yaml.safe_load_all(resources) if one["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    (check,) = pod["initContainers"]
    *shell, script = check["command"]
    models = tmp_path / "models" / "landmarks"
    shutil.copytree(blob_model, models / "1")
    script = script.replace("/models/landmarks", str(models))

    def run():
        return subprocess.run([*shell, script], capture_output=True).returncode

    assert run() == 0
    (models / "1" / "assets.extra" / "landmarks.json").write_text("{}")
    assert run() != 0
    assert check["volumeMounts"][0]["mountPath"] == "/models"


def test_kserve_runs_the_same_version_as_the_other_examples():
    service = document("kserve.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    predictor = service["spec"]["predictor"]
    model = predictor["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    image = document("compose.yaml")["services"]["serving"]["image"]
    assert model["runtimeVersion"] == image.split(":")[1]
    claims = re.findall(
        r"claimName: ([\w-]+)",
        (FOLDER / "kubernetes" / "base" / "kubernetes.yaml").read_text("utf-8"),
    )
    name = service["metadata"]["name"]
    assert model["storageUri"] == f"pvc://{claims[0]}/{name}"
    assert {"requests", "limits"} == set(model["resources"])


def test_the_proxy_has_limits_and_nothing_but_models():
    text = re.sub(r"#.*", "", (FOLDER / "nginx.conf").read_text("utf-8"))
    assert text.count("{") == text.count("}")
    for directive in (
        *("client_max_body_size", "client_header_timeout", "client_body_timeout"),
        *("limit_req", "limit_conn", "ssl_certificate", "auth_basic_user_file"),
    ):
        assert re.search(rf"\b{directive} [^;]+;", text), directive
    paths = re.findall(r"location (?:~ )?(\S+) \{", text)
    assert all(
        "models" in p or "Prediction" in p or p in "/" or "@" in p for p in paths
    )


@pytest.fixture(scope="module")
def proxy(address, tmp_path_factory):
    """nginx with the example's configuration before `scn-keras serve`."""
    if NGINX is None or shutil.which("openssl") is None:
        pytest.skip("There is no nginx or no openssl here.")
    folder = tmp_path_factory.mktemp("nginx")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", folder / "tls.key", "-out", folder / "tls.crt"),
        ],
        check=True,
        capture_output=True,
    )
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True
    )
    (folder / "users").write_bytes(b"reader:" + hashed.stdout)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (FOLDER / "nginx.conf").read_text("utf-8")
    for before, after in (
        ("/tmp/", f"{folder}/"),
        ("/etc/nginx/landmarks", str(folder)),
        ("/dev/stdout", f"{folder}/access.log"),
        ("serving:8501", address.removeprefix("http://")),
        ("serving:8500", "127.0.0.1:9"),
        ("8443", f"127.0.0.1:{port}"),
        ('    * "";', "    * /versions/1;"),
    ):
        assert before in text
        text = text.replace(before, after)
    # Started by root, it would give up its rights and not reach the files.
    path = folder / "nginx.conf"
    path.write_text(f"user root;\n{text}", "utf-8")
    command = [NGINX, "-p", str(folder), "-c", str(path), "-e", "stderr"]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    url = f"https://localhost:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield url, folder
    finally:
        process.terminate()
        process.wait()


def test_the_proxy_asks_for_a_name_and_passes_calls_on(proxy, draw_blob, monkeypatch):
    url, folder = proxy
    trusted = ssl.create_default_context(cafile=folder / "tls.crt")
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    png = tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy()
    with httpx.Client(base_url=url, verify=trusted) as http:
        refused = http.get("/v1/models/blob")
        assert refused.status_code == 401 and "password" in refused.json()["error"]
    with httpx.Client(base_url=url, verify=trusted, auth=("reader", "secret")) as http:
        (status,) = http.get("/v1/models/blob").json()["model_version_status"]
        assert status["state"] == "AVAILABLE"
        answer = http.post(
            "/v1/models/blob:predict",
            content=png,
            headers={"Content-Type": "image/png"},
        )
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        np.testing.assert_allclose(row["points_px"][0], POINT, atol=0.15)
        assert len(answer.headers.get_list("x-request-id")) == 1
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "tls.crt"))
        word = base64.b64encode(b"reader:secret").decode()
        with Client(url, "blob", headers={"Authorization": f"Basic {word}"}) as client:
            (found,) = client.predict(np.uint8(blob * 255))
        np.testing.assert_allclose(found.points_px[0], POINT, atol=0.15)
        for path in ("/metrics", "/monitoring/prometheus/metrics", "/", "/v1/models"):
            missing = http.get(path)
            assert missing.status_code == 404
            assert missing.json()["error"].startswith("There is nothing")
        large = http.post("/v1/models/blob:predict", content=bytes(2**25 + 1))
        assert large.status_code == 413 and "32 MB" in large.json()["error"]
        codes = {http.get("/v1/models/blob").status_code for _ in range(60)}
        assert codes == {200, 429}
        limited = http.get("/v1/models/blob")
        if limited.status_code == 429:
            assert "Too many requests" in limited.json()["error"]
    log = (folder / "access.log").read_text()
    assert "path=/v1/models/blob/versions/1:predict status=200" in log
    assert "reader" not in log


@pytest.mark.parametrize("files", [[], ["compose.proxy.yaml"], ["compose.gpu.yaml"]])
def test_docker_compose_accepts_the_files(files, monkeypatch):
    command = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*command, "version"], capture_output=True).returncode
    ):
        pytest.skip("There is no docker compose here.")
    monkeypatch.setenv("MODELS", "/models")
    monkeypatch.setenv("SECRETS", "/secrets")
    given = [f"--file={FOLDER / name}" for name in ["compose.yaml", *files]]
    checked = subprocess.run(
        [*command, *given, "config", "--quiet"], capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
