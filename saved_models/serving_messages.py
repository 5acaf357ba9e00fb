"""The messages of TF Serving's PredictionService that `Predict` needs.

The package tensorflow-serving-api requires TensorFlow, which a client does not need.
The messages are built here from the numbers of their fields, in a descriptor pool of
their own, so that both can be loaded in one process. Tests compare them with the
originals.
https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis
"""

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PREDICT = "/tensorflow.serving.PredictionService/Predict"

# Message: {field: (number, type)}. `*` marks repeated fields; types that are messages
# begin with a capital letter.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
    },
    # On the wire, a map is a repeated field of entries.
    "Entry": {"key": (1, "string"), "value": (2, "Tensor")},
    "Version": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "*Entry")},
    "PredictResponse": {"outputs": (1, "*Entry")},
    # A warm-up file holds records of this message.
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}
# The numbers of tensorflow.DataType, with the field that holds values of the type.
_TYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    7: (np.dtype(object), "string_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(bool), "bool_val"),
}
_NUMBERS = {dtype: number for number, (dtype, _) in _TYPES.items()}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="predict.proto", package="scn_keras", syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number)
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind[0].isupper():
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".scn_keras.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"scn_keras.{name}")
        )
        for name in _MESSAGES
    }


_CLASSES = _build()
PredictRequest: Any = _CLASSES["PredictRequest"]
PredictResponse: Any = _CLASSES["PredictResponse"]
PredictionLog: Any = _CLASSES["PredictionLog"]


def set_tensor(tensor: Any, array: np.ndarray) -> None:
    """Writes an array into a Tensor message.

    Args:
        tensor: Tensor message, empty.
        array: Array, of dtype `object` for bytes.
    """
    tensor.dtype = _NUMBERS[array.dtype]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.string_val.extend(array.ravel())
    else:
        tensor.tensor_content = array.tobytes()


def get_tensor(tensor: Any) -> np.ndarray:
    """Returns the array of a Tensor message.

    Args:
        tensor: Tensor message.

    Raises:
        RuntimeError: If no model of scn-keras has outputs of its type.
    """
    if tensor.dtype not in _TYPES:
        raise RuntimeError(
            "The server sent a tensor of a type that no model of scn-keras has. "
            f"Received: DataType {tensor.dtype}"
        )
    dtype, field = _TYPES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = np.array([*getattr(tensor, field)], dtype)
    size = int(np.prod(shape))
    if 0 < len(values) < size:  # the last value is repeated
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    return values.reshape(shape)
