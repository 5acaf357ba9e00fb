import keras
import numpy as np

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel
from scn_keras.training._fitted_peak import with_trial_peak
from scn_keras.training.build import build_model
from scn_keras.training.latest_model import latest_model
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

_TARGET = "target"


def start_from(
    model: LandmarkModel, recipe: Recipe, schema: LandmarkSchema, source: Run
) -> str:
    """Copies the weights of a trained model to a new one, also for other landmarks.

    The weights of a layer are copied if they have the same shapes apart from the number
    of landmarks. The weights of a landmark, which are its channels in the layers before
    and after heatmaps and its sigma, are matched by name. Landmarks that the source
    does not have keep their initial weights.

    Args:
        model: `LandmarkModel`, built by `recipe` for `schema`; it is modified.
        recipe: `Recipe`.
        schema: `LandmarkSchema` of the new model.
        source: `Run` or preset. Of an unfinished run, the last checkpoint is used.

    Returns:
        A summary of the copied and the newly initialised layers and landmarks.

    Raises:
        ValueError: If the source has a network of another kind, is an ensemble, or has
            no layer with matching shapes; or if the network is not trained
            (`local.frozen`) and differs from that of the source.
    """
    old, new = source.recipe.network, recipe.network
    axes = len(source.recipe.grid), len(recipe.grid)
    trained, note = latest_model(source)
    if old.kind != new.kind or axes[0] != axes[1]:
        raise ValueError(
            "A training can start from a network of the same kind only. Received: "
            f"{old.kind} of {axes[0]} axes in {source.path}, {new.kind} of {axes[1]} "
            "axes in the recipe"
        )
    if not isinstance(trained, LandmarkModel):
        raise ValueError(
            "A training cannot start from an ensemble. Start from one of its members. "
            f"Received: start={str(source.path)!r}"
        )
    names = source.schema.names
    known = [name for name in schema.names if name in names]
    ours = [schema.names.index(name) for name in known]
    theirs = [names.index(name) for name in known]
    # Some weights of a loaded model have other paths than those of a built model.
    rebuilt = _rebuilt(source.recipe, len(names))
    rebuilt.set_weights(trained.get_weights())
    # The shapes of a model with one more landmark show which axes are landmarks.
    larger = _layers(_rebuilt(recipe, len(schema) + 1))
    layers, given = _layers(model), _layers(rebuilt)
    initialised = []
    for name, weights in layers.items():
        values = []
        for weight, value, wide in zip(
            weights, given.get(name, ()), larger[name], strict=False
        ):
            shape = np.array(weight.shape)
            # The number of entries per landmark along each axis.
            by_landmark = np.array(wide.shape) - shape
            expected = shape + (len(names) - len(schema)) * by_landmark
            if np.array_equal(value.shape, expected):
                values.append(_merge(weight, value, by_landmark, ours, theirs))
        if len(values) == len(weights):
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)
        else:
            initialised.append(name)
    if not set(layers) - {*initialised, _TARGET}:
        _raise_for_other_network(old, new, source)
    if recipe.local is not None and recipe.local.frozen:
        _require_whole_network(model, recipe, schema, source, initialised)
    summary = _summary(source, layers, initialised, schema, known)
    return summary if note is None else f"{summary}\n{note}"


def _rebuilt(recipe, landmarks):
    return build_model(with_trial_peak(recipe, landmarks), landmarks)


def _raise_for_other_network(old, new, source):
    before = old.to_dict()
    differing = [
        f"{name}={value!r} instead of {before.get(name)!r}"
        for name, value in new.to_dict().items()
        if before.get(name) != value
    ]
    raise ValueError(
        f"No layer of {source.path} has the shapes of the recipe's network. Set the "
        f"same values, or take the recipe of the run, {source.path}, as RECIPE. "
        f"Received: {', '.join(differing)}"
    )


def _require_whole_network(model, recipe, schema, source, initialised):
    """Validates that a network that is not trained is that of the source."""
    local = [weight.path.rpartition("/")[0] for weight in model.local.weights]
    received = [name for name in initialised if name not in local]
    received += [name for name in schema.names if name not in source.schema.names]
    if source.recipe.image_to_grid != recipe.image_to_grid:
        received.append("image_to_grid")
    if received:
        raise ValueError(
            "A network that is not trained (local.frozen) must have the layers, "
            f"landmarks and grid of {source.path}. "
            f"Received: {', '.join(received)} differ"
        )


def _summary(source, layers, initialised, schema, known):
    text = (
        f"Started from {source.path}: {len(layers) - len(initialised)} of "
        f"{len(layers)} layers, {len(known)} of {len(schema)} landmarks."
    )
    unknown = [name for name in schema.names if name not in known]
    for kind, names in (("layers", initialised), ("landmarks", unknown)):
        if names:
            text += f"\nNewly initialised {kind}: {', '.join(names)}."
    if source.offsets is not None:
        text += "\nThe offsets of its adaptation are not taken over."
    return text


def _layers(model):
    """Returns the weights by layer, and those of a target that is learnable."""
    layers: dict[str, list[keras.Variable]] = {}
    local = getattr(model, "local", None)
    for weight in model.network.weights + (local.weights if local else []):
        layers.setdefault(weight.path.rpartition("/")[0], []).append(weight)
    target = model.target
    # A target of a frozen network is learnable, but not trained now.
    if target.trainable_weights or getattr(target, "learnable", False):
        layers[_TARGET] = target.weights
    return layers


def _merge(weight, value, by_landmark, ours, theirs):
    """Returns the weight with the entries of common landmarks from `value`."""
    merged = np.array(keras.ops.convert_to_numpy(weight))
    value = keras.ops.convert_to_numpy(value)
    # The kernel of `OtherHeatmaps` relates all pairs of landmarks without the diagonal.
    square = sum(by_landmark > 0) == 2
    if square:
        merged, value = _with_diagonal(merged), _with_diagonal(value)

    def select(landmarks, shape):
        return np.ix_(
            *(
                [count * n + k for n in landmarks for k in range(count)]
                if count
                else range(size)
                for count, size in zip(by_landmark, shape, strict=True)
            )
        )

    merged[select(ours, merged.shape)] = value[select(theirs, value.shape)]
    if square:
        merged = merged[..., ~np.eye(merged.shape[-1], dtype=bool)]
    return merged.reshape(weight.shape)


def _with_diagonal(kernel):
    *size, landmarks = kernel.shape
    square = np.zeros((*size[:-1], landmarks, landmarks), kernel.dtype)
    square[..., ~np.eye(landmarks, dtype=bool)] = kernel.reshape(*size[:-1], -1)
    return square
