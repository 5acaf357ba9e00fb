import dataclasses


@dataclasses.dataclass(frozen=True)
class OverlayOptions:
    """Options of `draw_overlay`.

    Args:
        title: Str, written above the image.
        radius: Float, the radius of the rings around true points, in `unit`. A
            prediction outside its ring is a miss.
        max_named: Int, the maximum number of misses that are labelled with landmark and
            distance, in descending order of distance.
        margin: Float, the visible margin around the points relative to their extent;
            `None` for the whole image.
        width: Float, the width of the figure in inches.
        unit: Str, `"mm"`, or `"px"` for radius and distances in pixels of the image.

    Example:

    >>> OverlayOptions(title="film 7", radius=4.0).unit
    'mm'
    """

    title: str = ""
    radius: float = 2.0
    max_named: int = 3
    margin: float | None = None
    width: float = 5.0
    unit: str = "mm"
