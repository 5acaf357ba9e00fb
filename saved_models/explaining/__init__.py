"""Pages that explain a prediction stage by stage, and drawings of networks."""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.saved_models.explaining.explanation import Explanation as Explanation
    from scn_keras.saved_models.explaining.explanation import explain as explain
    from scn_keras.saved_models.explaining.occlusion import Occlusion as Occlusion
    from scn_keras.saved_models.explaining.occlusion import occlude as occlude
    from scn_keras.saved_models.explaining.page import (
        write_explanation as write_explanation,
    )

# Most of these import TensorFlow.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Explanation": "explanation",
        "Occlusion": "occlusion",
        "explain": "explanation",
        "occlude": "occlusion",
        "write_explanation": "page",
    },
)
