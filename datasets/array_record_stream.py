import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tensorflow_datasets.core import file_adapters

if TYPE_CHECKING:
    import tensorflow as tf


class ArrayRecordStream(file_adapters.ArrayRecordFileAdapter):
    """Streams `array_record` files in TFDS, which supports random access only.

    TFDS implements `tfds.load`, with splits, slices, shuffling and decoders, on top of
    `make_tf_data`, which it lacks for this format. Importing a builder of this package
    registers this class with TFDS, also for `tfds.builder_from_directory` and other
    readers without the builder's code.
    """

    SUPPORTS_TF_DATA = True

    @classmethod
    def make_tf_data(
        cls, filename: Any, buffer_size: int | None = None
    ) -> "tf.data.Dataset":
        """Returns the records of one file, serialised examples, in order.

        Args:
            filename: Str, path or scalar string tensor.
            buffer_size: Ignored, since records are read one by one.
        """
        del buffer_size
        import tensorflow as tf

        return tf.data.Dataset.from_generator(
            _records,
            args=(filename if tf.is_tensor(filename) else os.fspath(filename),),
            output_signature=tf.TensorSpec((), tf.string),
        )


def _records(filename: bytes) -> Iterator[bytes]:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    with ArrayRecordDataSource([filename.decode()]) as source:
        for number in range(len(source)):
            yield source[number]


file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.ARRAY_RECORD] = (
    ArrayRecordStream
)
