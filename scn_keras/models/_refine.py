from keras import ops


def refine(local, image, peaks):
    """Looks again around peaks, with `LocalRefinement`.

    The score is the product of both: of what the first look did not see, a sub-image
    may hold something like it.
    """
    found = local(image, ops.stop_gradient(peaks["points"]), training=False)
    return {**found, "score": peaks["score"] * found["score"]}
