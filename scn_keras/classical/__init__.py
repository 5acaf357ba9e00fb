"""Classical methods of landmark localisation, with NumPy and scikit-learn."""

from scn_keras.classical.active_shape_model import ActiveShapeModel as ActiveShapeModel
from scn_keras.classical.box_differences import BoxDifferences as BoxDifferences
from scn_keras.classical.box_differences import box_means as box_means
from scn_keras.classical.donner_candidates import DonnerCandidates as DonnerCandidates
from scn_keras.classical.ebner_forest import EbnerForest as EbnerForest
from scn_keras.classical.lindner_forest import LindnerForest as LindnerForest
from scn_keras.classical.offset_forest import OffsetForest as OffsetForest
from scn_keras.classical.offset_forest import (
    require_scikit_learn as require_scikit_learn,
)
from scn_keras.classical.shape_model import ShapeModel as ShapeModel
from scn_keras.classical.stern_forest import SternForest as SternForest
