"""What TFDS knows of the class of a builder."""

import inspect
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered


def forget_earlier_definition(cls: type[Any]) -> None:
    """Lets a class be defined again, as a cell or a file that is run twice does.

    TFDS refuses this outside notebooks.
    """
    for classes in (
        registered._DATASET_REGISTRY,
        registered._ABSTRACT_DATASET_REGISTRY,
    ):
        for name, known in list(classes.items()):
            if (known.__module__, known.__qualname__) == (
                cls.__module__,
                cls.__qualname__,
            ):
                del classes[name]


def set_code_path(cls: type[Any]) -> None:
    """Sets the file of a builder, in whose folder README.md and CITATIONS.bib are.

    TFDS infers it from the name of the module, and would not find these files in an
    editable install, where datasets/ is linked.
    """
    try:
        code_path = tfds.core.Path(inspect.getfile(cls))
    except (OSError, TypeError):  # a class in a notebook, which TFDS supports
        return
    cls.code_path = code_path
    cls.pkg_dir_path = code_path.parent
