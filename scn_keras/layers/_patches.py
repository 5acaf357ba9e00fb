"""Functions shared by the layers on patches, see `PatchCenters` and `PatchVote`."""

from keras import ops


def patch_centers(sizes, patch_size):
    """Returns the centres of patches `(1, *sizes, D)` in pixels, columns x, y(, z)."""
    rank = len(sizes)
    columns = []
    for axis in reversed(range(rank)):  # arrays run (z,) y, x
        index = ops.cast(ops.arange(sizes[axis]), "float32")
        shape = [1] * rank
        shape[axis] = sizes[axis]
        center = patch_size * index + 0.5 * (patch_size - 1)
        columns.append(ops.broadcast_to(ops.reshape(center, shape), sizes))
    return ops.stack(columns, axis=-1)[None]


def check_votes(layer, votes_shape):
    """Raises an error unless votes are `(batch, *patches, landmarks, 1 + D)`."""
    rank = len(votes_shape) - 3
    if not 1 <= rank <= 3 or votes_shape[-1] not in (None, 1 + rank):
        raise ValueError(
            f"Layer `{layer.name}` expects votes of shape (batch, *patches, landmarks, "
            "1 + D), where D is the number of patch axes, 1 to 3. The last axis has "
            "the logit of the landmark's presence and D displacements. "
            f"Received: shape={tuple(votes_shape)}"
        )
