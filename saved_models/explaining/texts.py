"""The sentences of an explanation, for readers to whom the method is new."""

import html

import numpy as np

from scn_keras.inference.calibration_source import calibration_source
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.models import LandmarkEnsemble
from scn_keras.saved_models.explaining.evidence_figures import shifts
from scn_keras.saved_models.explaining.explanation import Explanation

_NORMALIZATIONS = {
    "range": "The range of the pixel type is mapped to -1 to 1.",
    "percentile": "The 1st percentile of grey values is mapped to -1, the 99th to 1.",
    "grid_percentile": "Two percentiles of grey values on the grid, with the padding, "
    "are mapped to -1 and 1; other values are not clipped.",
    "window": "Two stored values, such as Hounsfield units, are mapped to -1 and 1.",
}
_METHODS = {
    "gaussian_fit": "A Gaussian, orange, is fitted by least squares to the {n} in "
    "the blue window around the largest pixel. Its centre is the point, and its "
    "covariance describes the width of the peak.",
    "log_parabola": "A parabola is fitted along each axis to the logarithms of the "
    "largest pixel and its neighbours, which is exact for a Gaussian, orange.",
    "dark": "The logarithm around the largest pixel is expanded to second order, "
    "which is exact for a Gaussian, orange.",
    "parabola": "A parabola is fitted along each axis to the largest pixel and its "
    "neighbours. The Gaussian, orange, has the curvature of the peak.",
    "argmax": "The point is the largest pixel. The Gaussian, orange, has the "
    "curvature of the peak.",
    "centroid": "The point is the mean position of the {n} in the blue window around "
    "the largest pixel, weighted by their values.",
    "soft_argmax": "The point is the mean position of the pixels, weighted by a "
    "softmax of their values{window}.",
}


def images_text(explanation: Explanation) -> str:
    """Returns how the image becomes the input of the network."""
    to_grid: ImageToGrid = explanation.locator.image_to_grid
    steps = " × ".join(map(str, explanation.reduction))
    if set(explanation.reduction) == {1}:
        reduced = "all of its pixels are kept"
    else:
        reduced = f"of each {steps} pixels one is kept"
    if explanation.locator.coarse_to_fine is not None:
        placed = (
            "The grid, dashed, is placed, turned and scaled by the points of a coarse "
            "network, so that all images have the same pose and size."
        )
    elif to_grid.grid_spacing is not None and explanation.result.calibrated:
        size = " × ".join(f"{s:g}" for s in to_grid.grid_spacing)
        placed = f"The grid, dashed, has pixels of {size} mm around the image's centre."
    else:
        placed = "The whole image is fitted into the grid, dashed, without distortion."
    text = (
        "The image is smoothed in proportion to its reduction, so that no fine "
        f"pattern is mistaken for a coarse one, and {reduced}. {placed} The reduced "
        "image is interpolated linearly at the pixels of the grid, once. "
        f"{_NORMALIZATIONS[to_grid.normalization]} This is all that the network "
        "receives."
    )
    if explanation.locator.views is not None:
        count = len(explanation.locator.views)
        text += (
            f" The points are means over {count} views of the image (test-time "
            "augmentation); the stages below are those of the first view."
        )
    return text


def heatmaps_text(explanation: Explanation) -> str:
    """Returns what the heatmaps of the network are."""
    names = list(explanation.heatmaps)
    if len(names) > 1:
        return (
            "For each landmark, the network computes two heatmaps. Local appearance is "
            "accurate but ambiguous: it responds at all places that look like the "
            "landmark. Spatial configuration is unambiguous but coarse: it responds "
            "where the landmark can be, given the responses of the others. Their "
            "product, the output, is large only where both agree. With all landmarks "
            "in one picture, each pixel has the colour of the landmark with the "
            "strongest response. The product of two negative values is positive."
        )
    if "presence" in names:
        return (
            "This network predicts votes of image patches instead of heatmaps: the "
            "probability that a landmark lies in a patch, shown here, and its "
            "displacement from the centre of the patch. The point is the mean of the "
            "positions that the patches vote for, weighted by these probabilities. "
            "There is no local appearance, spatial configuration or peak to show."
        )
    if isinstance(explanation.model, LandmarkEnsemble):
        return (
            f"This model is an ensemble of {len(explanation.model.members)} networks. "
            "Its heatmaps are the means of theirs. The network and the features above "
            "are those of its first member."
        )
    return (
        "This network computes one heatmap for each landmark directly, without the "
        "split into local appearance and spatial configuration. It must learn from "
        "examples where a landmark can be, together with what it looks like."
    )


def occlusion_text(explanation: Explanation) -> str:
    """Returns what the occlusion is and its strongest effects."""
    if explanation.occlusion is None:
        if isinstance(explanation.model, LandmarkEnsemble):
            return "Not shown for an ensemble. Explain one of its members."
        return (
            "Not shown: this model has no spatial configuration that depends on the "
            "heatmaps of the landmarks alone."
        )
    distance, unit = shifts(explanation), explanation.unit
    change = explanation.occlusion.change
    return (
        "Spatial configuration reads only the local appearance heatmaps. One landmark "
        "at a time is occluded: its local appearance is set to zero at the entrance "
        "of the spatial configuration, and the heatmaps of all landmarks are computed "
        "again. A row shows on which others a landmark depends, the diagonal on "
        "itself. Most points hardly move, because no single landmark is "
        "indispensable, and because local appearance determines the exact position; a "
        "product that changes its height or its far parts still has the same peak. "
        f"The largest effects on points: {_strongest(explanation, distance, unit)}. On "
        f"heatmaps: {_strongest(explanation, 100.0 * change, '%')}."
    )


def peak_text(explanation: Explanation) -> str:
    """Returns how the points are decoded."""
    if not explanation.peaks:
        return "Not shown: the points of this model are not decoded from single peaks."
    peak = explanation.model.peak
    method, window = peak.method, peak.window
    d = len(explanation.result.affine) - 1
    pixels = f"{' × '.join([str(window)] * d)} pixels"
    inside = "" if window is None else f", in a window of {pixels}"
    text = _METHODS[method].format(n=pixels, window=inside)
    return (
        f"The position is found to a fraction of a pixel. {text} The profiles pass "
        "through the largest pixel; their unit is the height of the training target."
    )


def uncertainty_text(explanation: Explanation) -> str:
    """Returns what is known about the uncertainty of the prediction."""
    covariance = (
        "The covariance describes the width of the peak, not the error: a wide, low "
        "peak is a sign of uncertainty."
    )
    calibration = explanation.locator.calibration
    novelty = explanation.novelty
    if calibration is None or novelty is None:
        return (
            f"{covariance} This model is not calibrated, so that there are no radii "
            "and no judgement of the image. `scn-keras calibrate RUN` measures both "
            "on images that were held out of the training."
        )
    word = "trusted" if explanation.result.trusted else "not trusted"
    return (
        f"{covariance} The 90 % radius is a factor, measured on held-out images, times "
        "the width of the peak divided by the root of its score. It contains the true "
        "point with a probability of 90 %, if the image is like those of the "
        f"calibration. The novelty of this image is {novelty:.2f}, where 1 is the "
        f"limit: the image is {word}. Radii calibrated on "
        f"{calibration_source(calibration.protocol)}."
    )


def as_html(text: str) -> str:
    """Returns a text as a paragraph, with what is in backquotes as code."""
    parts = html.escape(text).split("`")
    code = [p if n % 2 == 0 else f"<code>{p}</code>" for n, p in enumerate(parts)]
    return f"<p>{''.join(code)}</p>"


def _strongest(explanation: Explanation, values: np.ndarray, unit: str) -> str:
    """Returns the three largest effects of one landmark on another."""
    names = explanation.schema.names
    others = np.nan_to_num(values, nan=0.0)
    np.fill_diagonal(others, 0.0)
    order = np.argsort(-others, axis=None, kind="stable")[:3]
    pairs = (np.unravel_index(number, others.shape) for number in order)
    return "; ".join(
        f"{names[i]} without {names[j]}, {others[i, j]:.2g} {unit}" for i, j in pairs
    )
