"""Metrics on points, in the unit of the points; missing landmarks do not count."""

from scn_keras.metrics.point_error import PointError as PointError
from scn_keras.metrics.success_detection_rate import (
    SuccessDetectionRate as SuccessDetectionRate,
)
