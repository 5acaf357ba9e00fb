"""The files for TF Serving: parsed, and their commands run against `serve`."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

import scn_keras.saved_models

FOLDER = Path(scn_keras.saved_models.__file__).with_name("deployment")


def documents(name):
    return [*yaml.safe_load_all((FOLDER / name).read_text("utf-8"))]


def flags(arguments):
    return dict(one.removeprefix("--").split("=", 1) for one in arguments)


def test_compose_mounts_the_files_that_it_names():
    (compose,) = documents("compose.yaml")
    serving = compose["services"]["serving"]
    assert serving["image"].startswith("tensorflow/serving:")
    mounts = dict(v.split(":")[:2] for v in serving["volumes"] if v.startswith("./"))
    for source in mounts:
        assert (FOLDER / source).is_file()
    said = flags(serving["command"])
    for flag in ("model_config_file", "monitoring_config_file"):
        assert said[flag] in mounts.values()
    assert said["batching_parameters_file"] in mounts.values()
    assert all(port.startswith("127.0.0.1:") for port in serving["ports"])
    (scrape,) = documents("prometheus.yml")[0]["scrape_configs"]
    assert scrape["static_configs"][0]["targets"] == ["serving:8501"]
    assert scrape["metrics_path"] in (FOLDER / "monitoring.config").read_text("utf-8")


def test_kubernetes_fits_together():
    config, deployment, service = documents("kubernetes/base/kubernetes.yaml")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    mounted = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert set(mounted) == set(volumes)
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    files = [path for path in flags(container["args"]).values() if "/" in path]
    assert sorted(files) == sorted(f"{mounted['config']}/{n}" for n in config["data"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        (way,) = {"httpGet", "tcpSocket"} & set(container[probe])
        assert container[probe][way]["port"] in ports
    assert container["resources"]["requests"] and container["resources"]["limits"]


def test_kubernetes_and_compose_configure_the_same():
    (config, *_) = documents("kubernetes/base/kubernetes.yaml")
    for name, text in config["data"].items():
        file = re.sub(r"#.*", "", (FOLDER / name).read_text("utf-8"))
        assert text.split() == file.split()


def test_the_list_of_models_is_one_of_tf_serving():
    config = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2",
        reason="tensorflow-serving-api is not installed.",
    )
    text = (FOLDER / "models.config").read_text("utf-8")
    parsed = text_format.Parse(text, config.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    assert model.base_path == f"/models/{model.name}"
    assert model.model_version_policy.latest.num_versions == 1


# Of messages whose protos are in no package. Fields as in session_bundle_config.proto
# and monitoring_config.proto of https://github.com/tensorflow/serving.
@pytest.mark.parametrize(
    ("file", "fields"),
    [
        (
            "batching.config",
            {
                "max_batch_size": "Int64Value",
                "batch_timeout_micros": "Int64Value",
                "max_enqueued_batches": "Int64Value",
                "num_batch_threads": "Int64Value",
            },
        ),
        ("monitoring.config", {"prometheus_config": "PrometheusConfig"}),
    ],
)
def test_the_other_text_protos_have_its_fields(file, fields):
    kinds = descriptor_pb2.FieldDescriptorProto
    proto = descriptor_pb2.FileDescriptorProto(name="x.proto", syntax="proto3")
    wrapped = proto.message_type.add(name="Int64Value")
    wrapped.field.add(
        name="value", number=1, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL
    )
    prometheus = proto.message_type.add(name="PrometheusConfig")
    for number, (name, kind) in enumerate(
        (("enable", kinds.TYPE_BOOL), ("path", kinds.TYPE_STRING)), 1
    ):
        prometheus.field.add(
            name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL
        )
    whole = proto.message_type.add(name="Whole")
    for number, (name, kind) in enumerate(fields.items(), 1):
        whole.field.add(
            name=name,
            number=number,
            type=kinds.TYPE_MESSAGE,
            type_name=f".{kind}",
            label=kinds.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Whole"))()
    text_format.Parse((FOLDER / file).read_text("utf-8"), message)
    assert {field.name for field, _ in message.ListFields()} == set(fields)


@pytest.mark.skipif(shutil.which("curl") is None, reason="There is no curl here.")
def test_the_commands_of_the_readme_work(address, draw_blob, tmp_path):
    blob = draw_blob((400, 300), (123.4, 210.6), (15.0, 15.0))
    png = tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy()
    (tmp_path / "film.png").write_bytes(png)
    readme = (FOLDER / "README.md").read_text("utf-8")
    commands = re.findall(r"```sh curl\n(.*?)```", readme, re.DOTALL)
    answers = []
    for command in commands:
        command = command.replace("http://localhost:8501", address)
        command = command.replace("/v1/models/landmarks", "/v1/models/blob")
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, (command, process.stdout, process.stderr)
        answers.append(json.loads(process.stdout))
    status, metadata, rows, columns = answers
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]
    (row,) = rows["predictions"]
    np.testing.assert_allclose(row["points_px"][0], (123.4, 210.6), atol=0.15)
    assert columns["outputs"]["calibrated"] == [True, False]
