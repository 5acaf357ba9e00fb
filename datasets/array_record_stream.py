import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tensorflow_datasets.core import file_adapters

if TYPE_CHECKING:
    import tensorflow as tf


class ArrayRecordStream(file_adapters.ArrayRecordFileAdapter):
    """Lets TFDS stream `array_record` files, which it reads by random access only.

    Of the one function that TFDS leaves out for this format, `make_tf_data`, all of
    `tfds.load` is made: splits, slices, shuffling, decoders, known sizes. It is put in
    its place when a builder of this package is imported, and then also serves readers
    that know a prepared set by its files alone, as `tfds.builder_from_directory`.
    """

    SUPPORTS_TF_DATA = True

    @classmethod
    def make_tf_data(
        cls, filename: Any, buffer_size: int | None = None
    ) -> "tf.data.Dataset":
        """Streams the records of one file, serialised examples, in their order.

        Args:
            filename: Str, path or scalar string tensor.
            buffer_size: Ignored: records are read one by one.
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
