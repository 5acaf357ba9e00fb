"""A local server that speaks the REST dialect of TF Serving, with a page."""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.saved_models.server.served_model import ServedModel as ServedModel
    from scn_keras.saved_models.server.served_model import (
        ServerBusyError as ServerBusyError,
    )
    from scn_keras.saved_models.server.server import create_app as create_app
    from scn_keras.saved_models.server.server import serve as serve

# These import TensorFlow and starlette.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ServedModel": "served_model",
        "ServerBusyError": "served_model",
        "create_app": "server",
        "serve": "server",
    },
)
