# %% [markdown]
# # 6. From `fit` to TF Serving, byte for byte
#
# A trained model is worth something when another program can ask it: the viewer of a
# hospital, a script in another language. In this tutorial you train a small model, export
# it, serve it, and ask it with nothing but the standard library of Python: the bytes of a
# file go in, millimetres come out. The answers are compared bit by bit with those of the
# run. Then you ask it wrongly, and measure what each mistake costs.
#
# **You learn**
#
# - what is in an exported folder, and what each of its signatures accepts;
# - what exactly is sent to a server, and what comes back;
# - whether the served model is the model that you evaluated, to which digit;
# - which mistakes of a client get an error message, and which get a wrong answer.
#
# **You need** the [first tutorial](01_heatmaps.ipynb), and
# `pip install 'scn-keras[serve]'` for the server. It takes about two minutes on two
# cores.

# %%
import atexit
import base64
import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from PIL import Image

from scn_keras.datasets import prepare
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.files import read_image
from scn_keras.models import preset_path
from scn_keras.saved_models import export, predict
from scn_keras.training import Run, load_recipe
from scn_keras.training.fit import fit

# The tests of this page run it with small settings.
SMALL = os.environ.get("SCN_KERAS_TUTORIAL") == "small"
STEPS = 400

work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)
results = {}

# %% [markdown]
# ## 1. Fit
#
# The recipe `synthetic_hand` with fewer steps and a smaller grid, on 200 drawn
# radiographs. What comes after would be the same for any other recipe and for your own
# images. A preset is a run, too: `Run(preset_path("synthetic_hand"))` needs no training.


# %%
def train():
    prepare("synthetic_hand", folder / "data")
    recipe = load_recipe("synthetic_hand").override(
        [
            "name=hands",
            "image_to_grid.grid=(96, 80)",
            "optimizer.learning_rate=2e-3",
            f"steps={STEPS}",
            f"steps_per_epoch={STEPS}",
        ]
    )
    return fit(recipe, folder / "run", folder / "data")


with contextlib.redirect_stdout(io.StringIO()):
    run = Run(preset_path("synthetic_hand")) if SMALL else train()
sorted(path.name for path in run.path.iterdir())

# %% [markdown]
# ## 2. A file
#
# A hospital sends a radiograph of a hand. It is a PNG file, and its pixels are 0.4 mm wide
# and 0.4 mm high. The network's grid of 96 × 80 pixels does not matter to the hospital.

# %%
SPACING = 0.4


def drawn_film(index):
    """Returns the pixels of a film with pixels of 0.4 mm, and its true points in mm."""
    hand = generate_hand(seed=11, index=index, size=(640, 512))
    scale = hand["spacing"] / SPACING
    size = (round(512 * scale), round(640 * scale))
    pixels = Image.fromarray(hand["image"]).resize(size, Image.Resampling.BILINEAR)
    points = (hand["points"] + 0.5) * [size[0] / 512, size[1] / 640] - 0.5
    return np.asarray(pixels), points * SPACING


pixels, true_mm = drawn_film(0)
film = folder / "film.png"
Image.fromarray(pixels).save(film)
data = film.read_bytes()
print(f"{film.name}: {pixels.shape[1]} x {pixels.shape[0]} pixels, {len(data)} bytes")
print(f"its first bytes: {data[:8]}")


def error_mm(points):
    """Returns the mean distance from the true points."""
    return np.linalg.norm(np.asarray(points) - true_mm, axis=-1).mean()


# %% [markdown]
# ## 3. Export
#
# The export is a TensorFlow SavedModel: one graph with everything from the bytes of a file
# to millimetres. It is written as `NAME/VERSION/`, as TF Serving expects it.

# %%
with contextlib.redirect_stdout(io.StringIO()):
    version = export(run, folder / "models", name="hands")
for path in sorted(version.rglob("*")):
    if path.is_file():
        size = path.stat().st_size
        print(f"{path.relative_to(folder)!s:58} {size / 1000:7.0f} kB")

# %% [markdown]
# The *signatures* are the entrances of the graph. The following program lists them, asks
# one, and measures the time of four calls. It needs TensorFlow alone.

# %%
WITHOUT_KERAS = """
import sys
import time

sys.modules["keras"] = sys.modules["scn_keras"] = None  # they cannot be imported
import numpy as np
import tensorflow as tf

model, file, spacing, answer = sys.argv[1:]
signatures = tf.saved_model.load(model).signatures
for name, signature in sorted(signatures.items()):
    print(name)
    for kind, tensors in (
        ("in ", signature.structured_input_signature[1]),
        ("out", signature.structured_outputs),
    ):
        for key, tensor in sorted(tensors.items()):
            shape = ", ".join("n" if size is None else str(size) for size in tensor.shape)
            print(f"  {kind} {key:22} {tensor.dtype.name:8} ({shape})")

with open(file, "rb") as opened:
    data = opened.read()
inputs = {
    "image_bytes": tf.constant([data]),
    "spacing_mm": tf.constant([[float(spacing)] * 2], tf.float32),
}
seconds = []
for _ in range(4):
    started = time.perf_counter()
    outputs = signatures["serving_default"](**inputs)
    row = {name: value.numpy()[0] for name, value in outputs.items()}
    seconds.append(time.perf_counter() - started)
np.savez(answer, seconds=seconds, **row)
"""
done = subprocess.run(
    [sys.executable, "-c", WITHOUT_KERAS]
    + [str(value) for value in (version, film, SPACING, folder / "answer.npz")],
    capture_output=True,
    text=True,
    check=True,
)
print(done.stdout)

# %% [markdown]
# In this list, *n* is any number: of images for the first axis, and for `image` also rows
# and columns. `serving_default` takes the **bytes of a file**: a PNG, a JPEG or a BMP, as
# it lies on the disk, at its own size. The graph decodes it, scales it to the grid with its
# aspect kept, and maps the points back. `arrays` is for programs that have decoded a file
# themselves, such as a DICOM or a MetaImage. `heatmaps` is for looking, and `landmarks`
# gives the names.
#
# ## 4. The same question, three times
#
# The program above has stored the answer of the exported folder. This is the answer of the
# run, in Python:

# %%
with np.load(folder / "answer.npz") as answer:
    by_saved_model = dict(answer)
with contextlib.redirect_stdout(io.StringIO()):
    (by_run,), _ = predict(run.path, [film], spacing=(SPACING, SPACING))

# %% [markdown]
# And now by HTTP. `scn-keras serve` is the server of the package for development; it
# speaks the REST dialect of TF Serving, so that a client works with both. A notebook starts
# it as a process of its own, at a port that is free; you would type
# `scn-keras serve models/hands` in another terminal.

# %%
os.environ["no_proxy"] = "127.0.0.1"  # this machine is not behind a proxy


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(path):
    with urllib.request.urlopen(f"{ADDRESS}{path}", timeout=60) as answer:
        return answer.read().decode()


def start(model):
    """Starts the server and waits until it is ready; returns process and address."""
    port = free_port()
    command = [sys.executable, "-m", "scn_keras.cli", "serve", str(model)]
    log = (folder / "server.log").open("a")
    process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
    atexit.register(process.kill)
    address = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError((folder / "server.log").read_text())
        with contextlib.suppress(OSError):  # not listening yet, or a 503: not ready
            urllib.request.urlopen(f"{address}/readyz", timeout=60).close()
            return process, address
        time.sleep(0.1)
    raise TimeoutError((folder / "server.log").read_text())


server, ADDRESS = start(folder / "models" / "hands")
print(get("/v1/models/hands"))

# %% [markdown]
# A request is JSON. JSON has no bytes, so the file is written in base64: four letters for
# three bytes, in an object with the key `b64`, by which the server recognises it. One row
# of `instances` is one image.


# %%
def post(body):
    """Sends a call; returns its rows, or the message of the server."""
    request = urllib.request.Request(
        f"{ADDRESS}/v1/models/hands:predict", json.dumps(body).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['error']}"


def in_base64(data):
    return {"b64": base64.b64encode(data).decode()}


row = {"image_bytes": in_base64(data), "spacing_mm": [SPACING, SPACING]}
body = json.dumps({"instances": [row]})
(by_server,) = post({"instances": [row]})
print(f"sent: {len(body)} bytes, {len(body) / len(data):.2f} times the file")
print(body[:60], "...", body[-40:])
for name in ("points_mm", "score", "calibrated", "trusted"):
    print(name, json.dumps(by_server[name])[:60])

# %% [markdown]
# This is the whole protocol. Any language with HTTP and JSON can do it. (`trusted` is
# false, since this run was not calibrated: see [uncertainty](../guides/uncertainty.md).
# A real client looks at it first.)
#
# ## 5. To the last bit?
#
# All numbers are float32, of which about seven digits are significant. The *unit in the
# last place* is the distance from one such number to the next.

# %%
run_points = {
    "points_px": by_run.points_px,
    "points_mm": by_run.points_mm,
    "score": by_run.score,
}


def compare(title, first, second):
    for name in run_points:
        a, b = (np.asarray(values[name], np.float32) for values in (first, second))
        apart = np.abs(a.astype(float) - b).max()
        last = (np.abs(a.astype(float) - b) / np.spacing(np.maximum(a, b))).max()
        print(
            f"{title}, {name}: {'equal' if np.array_equal(a, b) else 'not equal'} bit by "
            f"bit; at most {apart:.1e}, {last:.0f} units in the last place"
        )
        results[f"{title} {name}"] = apart


compare("SavedModel and server", by_saved_model, by_server)
compare("run and SavedModel", run_points, by_saved_model)
print(f"error of all three: {error_mm(by_server['points_mm']):.2f} mm")
# %% [markdown]
# HTTP changes nothing: JSON writes each float32 with enough digits to be read back as the
# same number. Run and exported folder are two programs: TensorFlow may order the operations
# of a graph in another way, and the last digit of a product may differ. Here, points in
# pixels and scores are equal, and millimetres differ in their last digit, a hundredth of a
# micrometre. On another processor the pixels may differ, too. The package guarantees 0.01
# pixels of the image, and `scn-keras export --check` measures it on your own images.
#
# The error itself is that of a small network after 400 steps, 2.3 mm. A server makes no
# model better.
#
# ## 6. Look at the answer
#
# `heatmaps` returns the pictures behind the points, on the grid, with the map from the
# grid to the pixels of the film. It is a large answer and not for production.

# %%
(maps,) = post({"signature_name": "heatmaps", "instances": [row]})
product = np.array(maps["product"])
to_film = np.array(maps["grid_to_source"])
tips = [n for n, name in enumerate(HAND_SCHEMA.names) if name.endswith("tip")]

figure, axes = plt.subplots(1, 2, figsize=(8, 5), layout="constrained")
axes[0].imshow(pixels, cmap="gray")
axes[0].scatter(*np.array(by_server["points_px"]).T, s=12, c="tab:orange")
axes[0].set_title(f"the film, {pixels.shape[1]} x {pixels.shape[0]}", fontsize=9)
axes[1].imshow(product[..., tips].max(-1), cmap="magma")
_ = axes[1].set_title(
    f"heatmaps of the fingertips, {product.shape[1]} x {product.shape[0]}", fontsize=9
)

# %% [markdown]
# ## 7. Versions and warm-up
#
# A second export (here, a copy of the first) becomes version 2 beside version 1. TF Serving
# loads the new folder, answers the requests of its warm-up file, and only then unloads the
# old version: clients notice nothing. `scn-keras serve` serves the highest version that is
# there when it starts, so that this server still has version 1.

# %%
_ = shutil.copytree(version, version.parent / "2")
print("versions:", sorted(path.name for path in version.parent.iterdir()))
print(
    json.loads(get("/v1/models/hands/versions/1"))["model_version_status"][0]["state"]
)
try:
    get("/v1/models/hands/versions/2")
except urllib.error.HTTPError as error:
    print("version 2:", json.load(error)["error"])

# %% [markdown]
# Why a warm-up? TensorFlow prepares a graph when it is called for the first time.

# %%
first, *later = by_saved_model["seconds"]
print(f"the first call takes {first / min(later):.0f} times as long as later ones")

# %% [markdown]
# The exported folder holds a request for each signature, and the server has answered them
# before `/readyz` became 200. Ask a load balancer to wait for that.
#
# ## 8. What goes wrong
#
# Each of the following is a client that somebody has written. `show` prints the message of
# the server or, if there is none, the distance of the points from the truth. For the right
# call, it is that of the model.


# %%
def show(title, answer, points_mm=None):
    """Prints what the client gets and believes, and how wrong that is."""
    if isinstance(answer, str):
        print(f"{title}: {answer[:150]}")
        results[title] = 0.0
        return
    points_mm = answer[0]["points_mm"] if points_mm is None else points_mm
    results[title] = error_mm(points_mm)
    score = np.mean(answer[0].get("score", np.nan))
    print(
        f"{title}: accepted; {results[title]:.1f} mm from the truth, score {score:.2f}"
    )


show("as it should be", post({"instances": [row]}))

# %% [markdown]
# **Pixels instead of bytes.** The client decodes the file first, "to be safe".

# %%
listed = {**row, "image_bytes": pixels.tolist()}
show("pixels in the place of bytes", post({"instances": [listed]}))
raw = {**row, "image_bytes": in_base64(pixels.tobytes())}
show("pixels in base64", post({"instances": [raw]}))
text = {**row, "image_bytes": base64.b64encode(data).decode()}
show("base64 without b64", post({"instances": [text]}))

# %% [markdown]
# Each of these gets a sentence. Files of other formats are decoded by the client:

# %%
image = sitk.GetImageFromArray(pixels)
image.SetSpacing((SPACING, SPACING))
sitk.WriteImage(image, str(folder / "film.mha"))
raw = {**row, "image_bytes": in_base64((folder / "film.mha").read_bytes())}
show("bytes of a MetaImage", post({"instances": [raw]}))
decoded, affine = read_image(folder / "film.mha")  # the affine has the spacing


def as_array(values):
    instance = {"image": values[..., None].tolist(), "affine": affine.tolist()}
    return {"signature_name": "arrays", "instances": [instance]}


show("arrays from 0 to 1", post(as_array(decoded / 255)))

# %% [markdown]
# The signature `arrays` expects numbers from 0 to 1. Numbers from 0 to 255, as they are in
# the file, are valid numbers, and no message is possible. The scores, on the contrary, look
# better than those of the right call:

# %%
show("arrays from 0 to 255", post(as_array(decoded.astype(float))))

# %% [markdown]
# **Resized before sending**, to save bytes or because the network "wants 80 × 96". The
# points are those of the small image. If the spacing is still that of the film, the
# millimetres are wrong by the factor of the reduction; if the spacing is corrected, only
# precision is lost, and the aspect if it was not kept.


# %%
def resized(width, height, spacing):
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "PNG")
    return {"image_bytes": in_base64(file.getvalue()), "spacing_mm": spacing}


height, width = pixels.shape
half = resized(width // 2, height // 2, [SPACING, SPACING])
show("half the size, spacing of the film", post({"instances": [half]}))
spacing = np.array([SPACING * width / 80, SPACING * height / 96])
answer = post({"instances": [resized(80, 96, spacing.tolist())]})
show("80 x 96, spacing corrected", answer)
corrected = np.array(answer[0]["points_mm"]) + (spacing - SPACING) / 2
show("80 x 96, half a pixel corrected", answer, corrected)

# %% [markdown]
# Half the size is an error of centimetres. With the right spacing the small image costs
# little, since the network works on 80 × 96 pixels anyway. But the corner of the image is
# not the centre of its first pixel: without the correction of half a pixel, all points are
# shifted by $(2.3 - 0.4) / 2 \approx 1$ mm in x and in y. Beside the 2.3 mm of this model,
# nobody sees it. Send the file as it is.
#
# **The spacing is lost.** A PNG says nothing about millimetres. Without them the server
# does not guess: pixels, no millimetres, and `calibrated` is false. The damage is done by
# a client that takes pixels for millimetres.

# %%
without = {**row, "spacing_mm": [0.0, 0.0]}
(answer,) = post({"instances": [without]})
print("calibrated:", answer["calibrated"], " points_mm:", answer["points_mm"][0])
show("pixels taken for millimetres", [answer], answer["points_px"])

# %% [markdown]
# **The wrong signature.** A name that does not exist gets a message. `heatmaps` accepts the
# same input and returns pictures. A client that takes their brightest pixels has points of
# the *grid*, which are neither pixels of the film nor millimetres. `grid_to_source` leads
# from the one to the other, to the nearest pixel of the grid.

# %%
unknown = {"signature_name": "points", "instances": [row]}
show("a signature that does not exist", post(unknown))
brightest = product.reshape(-1, product.shape[-1]).argmax(axis=0)
y, x = np.unravel_index(brightest, product.shape[:2])
on_grid = np.stack([x, y], axis=-1)
show("pixels of the grid taken for millimetres", [maps], on_grid)
on_film = on_grid @ to_film[:2, :2].T + to_film[:2, 2]
show("brightest pixels, mapped to the film", [maps], on_film * SPACING)

# %%
silent = {title: value for title, value in results.items() if value > 0.05}
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.barh(list(silent), list(silent.values()), color="tab:orange")
axis.set_xscale("log")
_ = axis.set_xlabel("mean distance from the true points, mm")
axis.invert_yaxis()

# %% [markdown]
# Mistakes that are as large as the hand are found on the first day. What no message and
# no picture finds is the millimetre: compare a few answers of your client with those of
# `scn-keras predict` before you trust it.
#
# ## 9. In production
#
# The same folder goes into the stock container of TF Serving, unchanged. The address of
# the client stays the same but for its host and port.

# %%
print(
    """docker run --rm --publish 127.0.0.1:8501:8501 \\
  --volume "$PWD/models/hands:/models/hands:ro" \\
  --env MODEL_NAME=hands tensorflow/serving:2.20.0"""
)

# %% [markdown]
# [Serving](../guides/serving.md) has the files for batching, limits, metrics, TLS and
# log-in, for Docker and for Kubernetes, and a client, `scn_keras.saved_models.Client`, that
# reads DICOM and all other formats, divides batches, and repeats calls.
#
# ## Exercises
#
# 1. Send two films of different sizes in one call. In which order are the answers? Send
#    the same call with one damaged file, such as the first 2,000 bytes of a film.
# 2. How much does JPEG cost? Save the film with qualities of 90, 30 and 5, and compare
#    bytes and millimetres.
# 3. A film is stored with pixels of 0.4 mm by 0.5 mm. Resize the film accordingly, and
#    send its spacing once as x, y and once as y, x.
# 4. Change one byte of `variables.data` in a copy of the exported folder. What finds it?

# %% [markdown] tags=["solution"]
# ### Solutions
#
# 1. In the order of the call. With a damaged file, the call fails as a whole: a graph has
#    no answer for half of a batch. `Client` divides such a call until the damaged file is
#    alone, and the others are answered. The known answer differs in its last digits, since
#    TensorFlow computes a batch of two by other programs than a batch of one.
# 2. Less than one expects: at a quality of 30, with 7 % of the bytes, the points move by a
#    tenth of a millimetre. At 5, the image is a mosaic, and it is half a millimetre.
# 3. In the wrong order the image is taken for a hand that is wider and flatter, and the
#    millimetres are wrong by the same factors: centimetres in all.
# 4. The digests in `SHA256SUMS`; `sha256sum --check` in the folder of the version does the
#    same, and `scn-keras serve` refuses to start.

# %% tags=["solution"]
other, _ = drawn_film(1)
file = io.BytesIO()
Image.fromarray(other).save(file, "PNG")
two = [row, {**row, "image_bytes": in_base64(file.getvalue())}]
both = post({"instances": two})
moved = np.subtract(both[0]["points_mm"], by_server["points_mm"])
print(f"{len(both)} answers; the first differs by at most {np.abs(moved).max():.0e} mm")
two[1]["image_bytes"] = in_base64(file.getvalue()[:2000])
print(post({"instances": two}))

# %% tags=["solution"]
for quality in (90, 30, 5):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    (answer,) = post(
        {"instances": [{**row, "image_bytes": in_base64(file.getvalue())}]}
    )
    moved = np.subtract(answer["points_mm"], by_server["points_mm"])
    print(
        f"quality {quality}: {file.tell() / len(data):.2f} of the bytes, points moved by "
        f"{np.linalg.norm(moved, axis=-1).mean():.3f} mm, "
        f"error {error_mm(answer['points_mm']):.2f} mm"
    )

# %% tags=["solution"]
flat = resized(width, round(height * 0.4 / 0.5), [0.4, 0.5])
exchanged = {**flat, "spacing_mm": [0.5, 0.4]}
for title, one in (("x, y", flat), ("y, x", exchanged)):
    (answer,) = post({"instances": [one]})
    print(f"{title}: {error_mm(answer['points_mm']):.2f} mm")

# %% tags=["solution"]
damaged = shutil.copytree(version, folder / "copy" / "1")
weights = damaged / "variables" / "variables.data-00000-of-00001"
content = bytearray(weights.read_bytes())
content[len(content) // 2] ^= 1
weights.write_bytes(content)
for line in (damaged / "assets.extra" / "SHA256SUMS").read_text().splitlines():
    digest, name = line.split(maxsplit=1)
    if hashlib.sha256((damaged / name).read_bytes()).hexdigest() != digest:
        print("damaged:", name)

# %% tags=["remove-cell"]
server.send_signal(signal.SIGTERM)
results["exit code"] = server.wait(timeout=60)
work.cleanup()
