import numpy as np
import tensorflow as tf

from scn_keras.geometry import affine_from_spacing, apply_affine
from scn_keras.inference import ImageToGrid, decode
from scn_keras.losses import HeatmapSquaredError
from scn_keras.training.build import build_model, make_optimizer
from scn_keras.training.input import pipeline
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Optimizer

# Half a minute on one core.
RECIPE = Recipe(
    name="overfit",
    dataset="cephalogram",
    image_to_grid=ImageToGrid(grid=(160, 128)),
    network=Network(
        filters=16, dropout=0.0, spatial_kernel_size=5, heatmap_initializer=1e-2
    ),
    optimizer=Optimizer(learning_rate=3e-3, warmup=0.0),
    augmentation=None,
    batch_size=2,
    steps=350,
)


def read_sample(folder, film):
    path = folder / "RawImage" / "TrainingData" / f"{film}.jpg"
    points = np.loadtxt(
        folder / "AnnotationsByMD" / "400_senior" / f"{film}.txt",
        delimiter=",",
        max_rows=19,
        dtype="float32",
    )
    return {
        "image": decode.decode_image(tf.io.read_file(str(path))),
        "points": points,
        "affine": affine_from_spacing((0.1, 0.1)).astype("float32"),
    }


def test_a_batch_of_two_radiographs_is_overfitted(shared_data):
    """From the bytes of two files to points, less than a grid pixel off, all 38."""
    samples = [
        read_sample(shared_data / "cephalogram", film) for film in ("001", "002")
    ]
    data = tf.data.Dataset.from_tensor_slices(
        {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    )
    (image, y), *others = pipeline.evaluation_batches(data, RECIPE)
    assert not others and image.shape == (2, 160, 128, 1)
    for n, sample in enumerate(samples):
        in_millimetres = apply_affine(y["affine"][n], y["points"][n])
        np.testing.assert_allclose(in_millimetres, 0.1 * sample["points"], atol=1e-3)

    model = build_model(RECIPE, 19)
    model.compile(
        make_optimizer(RECIPE), HeatmapSquaredError(RECIPE.loss), jit_compile=False
    )
    batches = tf.data.Dataset.from_tensors((image, y)).repeat(RECIPE.steps)
    model.fit(batches, shuffle=False, verbose=0)
    found = model.localizer.predict(image, verbose=0)
    distance = np.linalg.norm(found["points"] - y["points"], axis=-1)
    assert distance.max() < 1.0
    assert distance.mean() < 0.5
    assert found["score"].min() > 0.5
