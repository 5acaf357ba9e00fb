import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import SpatialConfiguration
from scn_keras.models import with_spatial_configuration
from tests.contract import dtype_policy

GUIDE = Path(__file__).parents[2] / "docs/guides/extending/feature_extractor.md"


def trunk(spatial=(8, 12), filters=4):
    image = keras.Input((*spatial, 2), name="picture")
    return keras.Model(image, keras.layers.Conv2D(filters, 3, padding="same")(image))


def small_configuration(**options):
    return SpatialConfiguration(
        filters=4,
        kernel_size=3,
        factor=4,
        name="spatial_configuration",
        heatmap_initializer=1.0,
        **options,
    )


@pytest.mark.skipif(not GUIDE.is_file(), reason="The tests run without the docs.")
@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="It compiles MobileNet for half a minute."
)
def test_the_guide():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert names["found"].shape == (4, 5, 2)
    first, last = names["history"].history["loss"]
    assert np.isfinite(first) and last < first
    assert np.all(np.isfinite(names["history_3d"].history["loss"]))
    moved = names["network"].get_layer("spatial_configuration").head.bias
    assert np.any(ops.convert_to_numpy(moved) != 0.0)


def test_heatmaps_are_the_product_of_the_inner_ones(tmp_path):
    network = with_spatial_configuration(
        trunk(), 3, small_configuration(), 5, "tanh", 1.0, name="mine"
    )
    assert network.name == "mine" and network.output_shape == (None, 8, 12, 3)
    image = np.random.default_rng(0).normal(size=(1, 8, 12, 2)).astype("float32")
    names = ("local_appearance", "spatial_configuration", "heatmaps")
    inner = [network.get_layer(name).output for name in names]
    local, spatial, heatmaps = map(
        ops.convert_to_numpy, keras.Model(network.input, inner)(image)
    )
    assert 0.5 < np.abs(local).max() <= 1.0  # tanh
    np.testing.assert_allclose(heatmaps, local * spatial, rtol=1e-6)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(image)), heatmaps)


def test_layers_and_weights_are_those_of_the_extractor():
    features = trunk()
    network = with_spatial_configuration(features, 3, small_configuration())
    assert all(any(w is v for v in network.weights) for w in features.weights)
    head = network.get_layer("local_appearance")
    assert head.kernel.shape == (1, 1, 4, 3)
    assert ops.convert_to_numpy(head.kernel).std() < 2e-4


def test_the_default_configuration():
    network = with_spatial_configuration(trunk((16, 16)), 2)
    configuration = network.get_layer("spatial_configuration")
    assert configuration.get_config() == {
        **SpatialConfiguration(name="spatial_configuration").get_config()
    }


def test_heatmaps_are_float32_under_a_bfloat16_policy():
    with dtype_policy("mixed_bfloat16"):
        network = with_spatial_configuration(trunk(), 3, small_configuration())
    heatmaps = network(np.ones((1, 8, 12, 2), "float32"))
    assert keras.backend.standardize_dtype(heatmaps.dtype) == "float32"
    assert network.get_layer("local_appearance").compute_dtype == "float32"
    assert network.layers[1].compute_dtype == "bfloat16"


def test_what_makes_no_features_is_refused():
    image = keras.Input((8, 8, 1))
    flat = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    two = keras.Model(image, [image, image])
    for features in (flat, two):
        with pytest.raises(ValueError, match="one output of shape"):
            with_spatial_configuration(features, 3)
    with pytest.raises(ValueError, match="`activation`.*'relu'"):
        with_spatial_configuration(trunk(), 3, activation="relu")
