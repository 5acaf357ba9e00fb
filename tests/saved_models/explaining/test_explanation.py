import re

import keras
import numpy as np
import pytest
from PIL import Image

from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.explaining.explanation import explain
from scn_keras.saved_models.explaining.page import write_explanation
from scn_keras.saved_models.explaining.parts import parts_of
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training.build import build_model
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Refinement
from scn_keras.training.run import Run

SCN = {"filters": 4, "levels": 2, "spatial_factor": 4, "spatial_kernel_size": 3}
VOTES = {"kind": "GlobalNet", "filters": 2, "blocks": (1, 1), "reductions": 2}
RECIPES = {
    "scn": {"network": Network(**SCN, stride=2), "local": Refinement(8, 2, 1)},
    "unet": {"network": Network(kind="LocalizationUNet", filters=2, levels=2)},
    "votes": {"network": Network(**VOTES), "loss": "patches", "peak": "votes"},
    "volume": {"grid": (8, 16, 12), "network": Network(**SCN)},
}


def make_run(path, grid=(32, 24), **settings):
    dataset = "synthetic_volume" if len(grid) == 3 else "synthetic_hand"
    recipe = Recipe(
        name="real", dataset=dataset, image_to_grid=ImageToGrid(grid), **settings
    )
    run = Run.create(path, recipe, LandmarkSchema(("a", "b <i>", "c")))
    keras.utils.set_random_seed(1)
    model = build_model(recipe, 3)
    # Networks start near zero.
    model.network.set_weights([20.0 * w for w in model.network.get_weights()])
    run.save_model(model)
    return run


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    """A file of random smooth grey values, 64 x 48."""
    path = tmp_path_factory.mktemp("images") / "hand.png"
    noise = np.random.default_rng(0).integers(0, 255, (8, 6), dtype=np.uint8)
    Image.fromarray(noise).resize((48, 64), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def explained(hand, tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("runs") / "scn", **RECIPES["scn"])
    return explain(run.path, hand, ("c",), spacing=(0.5, 0.25)), run


def test_the_stages_are_those_of_the_prediction(explained, hand):
    explanation, run = explained
    (predicted,), _ = predict(run.path, [hand], (0.5, 0.25))
    np.testing.assert_array_equal(explanation.result.points_px, predicted.points_px)
    grey = np.asarray(Image.open(hand)) / 255
    np.testing.assert_allclose(explanation.image, grey, rtol=1e-6)
    # 24 x 16 mm on 24 x 32 pixels: 1 mm each, thus 2 x 4 pixels of the file, half of
    # which are kept. The last is beyond the border.
    assert explanation.reduction == (1, 2)
    assert explanation.reduced.shape == (33, 48)
    assert explanation.grid_image.shape == (32, 24, 1)
    heatmaps = explanation.heatmaps
    assert [*heatmaps] == ["local appearance", "spatial configuration", "product"]
    assert explanation.landmarks == (2,)
    # The decoder works on heatmaps of half the size; the local network follows it.
    (window,) = explanation.peaks.values()
    network = run.load_model().network
    heatmap = np.asarray(network(explanation.grid_image[None]))[0, ..., 2]
    peak = np.unravel_index(heatmap.argmax(), heatmap.shape)
    assert tuple(window.largest) == peak[::-1]
    assert explanation.unit == "mm"
    to_mm = explanation.grid_to_space @ [*explanation.grid_points[0], 1.0]
    np.testing.assert_allclose(to_mm[:2], predicted.points_mm[0], rtol=1e-5)


def test_features_are_those_of_the_network(explained):
    explanation, run = explained
    network = run.load_model().network
    names = [layer.name for layer in explanation.features]
    assert names == ["local_appearance/parallel_0", "local_appearance/parallel_1"]
    shapes = [layer.maps.shape for layer in explanation.features]
    assert shapes == [(16, 12, 4), (8, 6, 4)]
    # The first level, computed layer by layer.
    local = network.get_layer("local_appearance")
    x = network.get_layer("reduction")(explanation.grid_image[None])
    for layer in (local.stem, local.first[0], local.second[0], local.parallel[0]):
        x = layer(x)
    expected = np.asarray(x)[0]
    first = explanation.features[0]
    np.testing.assert_allclose(
        first.maps, expected[..., list(first.channels)], rtol=1e-4, atol=1e-6
    )


def test_the_page_is_self_contained(explained, tmp_path):
    explanation, _ = explained
    page, png = write_explanation(explanation, tmp_path / "page.html")
    text = page.read_text("utf-8")
    assert "b &lt;i&gt;" in text and "b <i>" not in text
    without_data = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
    addresses = re.findall(r"https?://[^\"' ]+", without_data)
    assert {*addresses} == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme: dark" in text
    titles = re.findall(r"<h2>\d\. ([^<]*)</h2>", text)
    assert len(titles) == 7 and "$" not in without_data
    pictures = re.findall(r'<img src="data:image/(\w+)', text)
    # Three stages, features, heatmaps of all and of one, two matrices, one pair, peak.
    assert pictures == [*["jpeg"] * 4, "png", "png", "jpeg", "png"]
    with Image.open(png) as image:
        assert image.width == 1400 and image.height > 3000


@pytest.mark.parametrize(
    ("kind", "stages", "sentences"),
    [
        ("unet", ["heatmaps"], ("without the split", "no spatial configuration")),
        ("votes", ["presence"], ("votes of image patches", "not decoded from single")),
    ],
)
def test_networks_without_the_split(kind, stages, sentences, hand, tmp_path):
    run = make_run(tmp_path / kind, **RECIPES[kind])
    explanation = explain(run.path, hand)
    assert [*explanation.heatmaps] == stages
    assert explanation.occlusion is None and len(explanation.landmarks) == 3
    assert bool(explanation.peaks) == (kind == "unet")
    assert explanation.unit == "px" and explanation.novelty is None
    assert [layer.maps.shape[0] for layer in explanation.features][:1] == [
        {"unet": 32, "votes": 16}[kind]
    ]
    text = " ".join(part.text for part in parts_of(explanation))
    for sentence in (*sentences, "not calibrated", "no millimetres"):
        assert sentence in text


def test_a_volume_is_drawn_on_three_planes(tmp_path):
    import SimpleITK as sitk

    volume = np.random.default_rng(1).normal(size=(8, 16, 12)).astype(np.float32)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((2.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "volume.nii"))
    run = make_run(tmp_path / "run", **RECIPES["volume"])
    explanation = explain(run.path, tmp_path / "volume.nii", ["b <i>"])
    assert explanation.result.points_px.shape == (3, 3)
    parts = {part.title: part for part in parts_of(explanation)}
    captions = [p.caption for p in parts["Heatmaps"].pictures]
    planes = [f"b <i>, plane {plane}" for plane in ("xy", "xz", "yz")]
    assert captions == ["All landmarks", *planes]
    drawings = [p.drawing for p in parts["Heatmaps"].pictures[1:]]
    # Three planes through the peak, z upwards.
    product = explanation.heatmaps["product"][..., 1]
    z, y, x = np.unravel_index(product.argmax(), product.shape)
    planes = product[z], product[::-1, y], product[::-1, :, x]
    for drawing, plane in zip(drawings, planes, strict=True):
        opacity = drawing.axes[-1].images[1].get_array()[..., 3]
        np.testing.assert_allclose(opacity, np.abs(plane) / np.abs(plane).max())
    images = parts["From the file to the grid"].pictures[0].drawing
    assert len(images.axes) == 9
    assert len(parts["From the peak to the point"].pictures[0].drawing.axes) == 4


def test_the_calibrated_preset_names_novelty_and_radii(hand):
    explanation = explain("synthetic_hand", hand, ["thumb tip"])
    calibration = explanation.locator.calibration
    novelty = calibration.novelty(
        explanation.grid_points[None].astype("float32"), explanation.result.score[None]
    )
    relative = float(np.asarray(novelty)[0]) / calibration.limit
    assert explanation.novelty == pytest.approx(relative) and relative > 1.0
    assert not explanation.result.trusted
    *_, last = parts_of(explanation)
    assert f"is {explanation.novelty:.2f}" in last.text and "not trusted" in last.text
    assert "90 % radius, px" in last.content and "present" in last.content


def test_an_ensemble_has_mean_heatmaps(hand, tmp_path):
    from scn_keras.models import LandmarkEnsemble

    run = make_run(tmp_path / "run", network=Network(**SCN))
    model = run.load_model()
    run.save_model(LandmarkEnsemble([model, model]))
    explanation = explain(run.path, hand, ["a"])
    assert [*explanation.heatmaps] == ["heatmaps"]
    text = " ".join(part.text for part in parts_of(explanation))
    assert "ensemble" in text


def test_what_cannot_be_explained(tmp_path, hand, explained):
    _, run = explained
    with pytest.raises(ValueError, match="no landmark of this name. Expected one of a"):
        explain(run.path, hand, ["d"])
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="requires the layers of the network"):
        explain(tmp_path, hand)
    (tmp_path / "no.png").write_bytes(hand.read_bytes()[:40])
    with pytest.raises(ValueError, match="no.png"):
        explain(run.path, tmp_path / "no.png")
