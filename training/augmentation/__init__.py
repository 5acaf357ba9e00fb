"""Random changes of images and points in training."""

from scn_keras.training.augmentation.augmentation import Augmentation as Augmentation
from scn_keras.training.augmentation.augmentation import swap_pairs as swap_pairs
