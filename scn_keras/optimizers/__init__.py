"""An optimiser for products of heatmaps, and a schedule."""

from scn_keras.optimizers.normalized_gradient import (
    NormalizedGradient as NormalizedGradient,
)
from scn_keras.optimizers.scaled_schedule import ScaledSchedule as ScaledSchedule
