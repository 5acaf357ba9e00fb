"""Data sets of images with landmarks, as TFDS builders.

Importing this package loads neither TensorFlow nor TFDS. A builder registers itself
with TFDS when its own package is imported, or by `builder_class`:

```python
import scn_keras.datasets.cephalogram
import tensorflow_datasets as tfds

train = tfds.load("cephalogram", split="train")
```

`prepare` writes a data set to disk first.
"""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if __name__ == "datasets":
    raise ModuleNotFoundError(
        "No module named 'datasets': the folder of that name in a checkout of "
        "scn-keras is imported as scn_keras.datasets.",
        name="datasets",
    )

from scn_keras.datasets._subsets import has_split as has_split
from scn_keras.datasets.builders import builder_class as builder_class
from scn_keras.datasets.builders import builder_names as builder_names
from scn_keras.datasets.case import Case as Case
from scn_keras.datasets.dataset_folder_error import (
    DatasetFolderError as DatasetFolderError,
)
from scn_keras.datasets.prepare import prepare as prepare

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import (
        LandmarkBuilder as LandmarkBuilder,
    )

# Imports TFDS.
__getattr__, __dir__ = lazy_names(__name__, {"LandmarkBuilder": "landmark_builder"})
