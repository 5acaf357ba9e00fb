import keras
import numpy as np

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel
from scn_keras.training.build import build_model
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

_TARGET = "target"


def start_from(
    model: LandmarkModel, recipe: Recipe, schema: LandmarkSchema, source: Run
) -> str:
    """Gives a new model the weights of a trained one, also of other landmarks.

    A layer whose weights have the same shapes, apart from the number of landmarks,
    takes them. What belongs to a landmark, its channels of the layers that make or read
    heatmaps and its sigma, is taken by name; a landmark that the source does not know
    keeps what it starts from in the new model.

    Args:
        model: `LandmarkModel`, what `recipe` builds for `schema`; it is changed.
        recipe: `Recipe`.
        schema: `LandmarkSchema` of the new model.
        source: `Run` or preset, finished.

    Returns:
        What was taken and what starts anew, for people.

    Raises:
        ValueError: If the source has a network of another kind, or is an ensemble, or
            nothing of it fits.
    """
    old, new = source.recipe.network, recipe.network
    axes = len(source.recipe.grid), len(recipe.grid)
    trained = source.load_model()
    if old.kind != new.kind or axes[0] != axes[1]:
        raise ValueError(
            f"A training starts from a network of its own kind: {source.path} has a "
            f"{old.kind} of {axes[0]} axes, the recipe a {new.kind} of {axes[1]}."
        )
    if not isinstance(trained, LandmarkModel):
        raise ValueError(
            f"{source.path} is an ensemble of several models: start from one of the "
            "runs that it was made of."
        )
    names = source.schema.names
    known = [name for name in schema.names if name in names]
    ours = [schema.names.index(name) for name in known]
    theirs = [names.index(name) for name in known]
    # What was loaded calls some weights by other paths than what was built.
    rebuilt = build_model(source.recipe, len(names))
    rebuilt.set_weights(trained.get_weights())
    # Of a model with one landmark more, the shapes tell which axes are landmarks.
    larger = _layers(build_model(recipe, len(schema) + 1))
    layers, given = _layers(model), _layers(rebuilt)
    anew = []
    for name, weights in layers.items():
        values = []
        for weight, value, wide in zip(
            weights, given.get(name, ()), larger[name], strict=False
        ):
            shape = np.array(weight.shape)
            # How many entries of each axis belong to one landmark.
            by_landmark = np.array(wide.shape) - shape
            expected = shape + (len(names) - len(schema)) * by_landmark
            if np.array_equal(value.shape, expected):
                values.append(_merge(weight, value, by_landmark, ours, theirs))
        if len(values) == len(weights):
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)
        else:
            anew.append(name)
    if not set(layers) - {*anew, _TARGET}:
        before = old.to_dict()
        unlike = [
            f"{name} {before.get(name)} against {value}"
            for name, value in new.to_dict().items()
            if before.get(name) != value
        ]
        raise ValueError(
            f"No layer of {source.path} has the shapes of the recipe's network: "
            f"{', '.join(unlike)}."
        )
    return _summary(source, layers, anew, schema, known)


def _summary(source, layers, anew, schema, known):
    text = (
        f"Started from {source.path}: {len(layers) - len(anew)} of {len(layers)} "
        f"layers, {len(known)} of {len(schema)} landmarks."
    )
    unknown = [name for name in schema.names if name not in known]
    for what, which in (("Layers", anew), ("Landmarks", unknown)):
        if which:
            text += f"\n{what} that start anew: {', '.join(which)}."
    return text


def _layers(model):
    """The weights by layer; of the target those that are trained."""
    layers: dict[str, list[keras.Variable]] = {}
    local = getattr(model, "local", None)
    for weight in model.network.weights + (local.weights if local else []):
        layers.setdefault(weight.path.rpartition("/")[0], []).append(weight)
    if model.target.trainable_weights:
        layers[_TARGET] = model.target.trainable_weights
    return layers


def _merge(weight, value, by_landmark, ours, theirs):
    """The weight with what the landmarks in common have in `value`."""
    merged = np.array(keras.ops.convert_to_numpy(weight))
    value = keras.ops.convert_to_numpy(value)
    # The kernel of `OtherHeatmaps`, from each heatmap to each other one, leaves the
    # diagonal out.
    square = sum(by_landmark > 0) == 2
    if square:
        merged, value = _with_diagonal(merged), _with_diagonal(value)

    def select(landmarks, shape):
        return np.ix_(
            *(
                [of * n + k for n in landmarks for k in range(of)]
                if of
                else range(size)
                for of, size in zip(by_landmark, shape, strict=True)
            )
        )

    merged[select(ours, merged.shape)] = value[select(theirs, value.shape)]
    if square:
        merged = merged[..., ~np.eye(merged.shape[-1], dtype=bool)]
    return merged.reshape(weight.shape)


def _with_diagonal(kernel):
    *size, landmarks = kernel.shape
    whole = np.zeros((*size[:-1], landmarks, landmarks), kernel.dtype)
    whole[..., ~np.eye(landmarks, dtype=bool)] = kernel.reshape(*size[:-1], -1)
    return whole
