"""Metrics on points, in the unit of the points; missing landmarks do not count.

The classes are Keras metrics over all landmarks or, with `landmark=i`, over one
landmark. `scn_keras.metrics.on_arrays` has the same metrics as functions of NumPy
arrays. Both use the same formulas.
"""

from scn_keras.metrics import on_arrays as on_arrays
from scn_keras.metrics.identification_rate import (
    IdentificationRate as IdentificationRate,
)
from scn_keras.metrics.image_point_error import ImagePointError as ImagePointError
from scn_keras.metrics.outlier_count import OutlierCount as OutlierCount
from scn_keras.metrics.point_error import PointError as PointError
from scn_keras.metrics.point_error_deviation import (
    PointErrorDeviation as PointErrorDeviation,
)
from scn_keras.metrics.point_error_percentile import (
    PointErrorPercentile as PointErrorPercentile,
)
from scn_keras.metrics.presence_precision import (
    PresencePrecision as PresencePrecision,
)
from scn_keras.metrics.presence_recall import PresenceRecall as PresenceRecall
from scn_keras.metrics.success_detection_rate import (
    SuccessDetectionRate as SuccessDetectionRate,
)
