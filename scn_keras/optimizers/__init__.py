"""Optimisers, some of which change the gradients for another one, and a schedule."""

from scn_keras.optimizers.moving_average_clip import (
    MovingAverageClip as MovingAverageClip,
)
from scn_keras.optimizers.nesterov_momentum import NesterovMomentum as NesterovMomentum
from scn_keras.optimizers.normalized_gradient import (
    NormalizedGradient as NormalizedGradient,
)
from scn_keras.optimizers.scaled_schedule import ScaledSchedule as ScaledSchedule
