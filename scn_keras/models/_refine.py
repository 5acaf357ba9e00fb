from keras import ops


def refine(local, image, peaks):
    """Refines the peaks of the global stage with `LocalRefinement`.

    The score is the product of both stages' scores, because a sub-image around a wrong
    peak may contain a structure similar to the landmark.
    """
    refined = local(image, ops.stop_gradient(peaks["points"]), training=False)
    return {**refined, "score": peaks["score"] * refined["score"]}
