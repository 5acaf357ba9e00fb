import re
from typing import NamedTuple

_VERBS = ("predict", "classify", "regress")
_MODEL = re.compile(
    r"/v1/models(?:/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/(?P<metadata>metadata)|:(?P<verb>predict|classify|regress))?)?",
    re.IGNORECASE | re.ASCII,
)


class RestAddress(NamedTuple):
    """What a request to TF Serving's REST API asks for.

    Attributes:
        action: Str: `"status"`, `"metadata"`, `"predict"`, `"classify"` or `"regress"`.
        model: Str, the name of a model; empty if the address has none.
        version: Str, digits, or `None`.
        label: Str, the label of a version, or `None`.
    """

    action: str
    model: str
    version: str | None
    label: str | None

    @classmethod
    def parse(cls, method: str, path: str) -> "RestAddress | None":
        """Returns the parts of an address, `None` if it is none of the API.

        Args:
            method: Str, of HTTP.
            path: Str, decoded; its letters may be of either case, names excepted.

        Example:

        >>> RestAddress.parse("POST", "/v1/models/hands/versions/2:predict")
        RestAddress(action='predict', model='hands', version='2', label=None)
        """
        match = _MODEL.fullmatch(path)
        if match is None:
            return None
        action = (match["verb"] or match["metadata"] or "status").lower()
        if method != ("POST" if action in _VERBS else "GET"):
            return None
        return cls(action, match["model"] or "", match["version"], match["label"])
