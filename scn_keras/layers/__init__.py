"""Keras layers for landmark heatmaps and patch votes, in 1D to 3D, on every backend."""

from scn_keras.layers.convolution_block import ConvolutionBlock as ConvolutionBlock
from scn_keras.layers.gaussian_heatmap import GaussianHeatmap as GaussianHeatmap
from scn_keras.layers.heatmap_peak import HeatmapPeak as HeatmapPeak
from scn_keras.layers.heatmap_product import HeatmapProduct as HeatmapProduct
from scn_keras.layers.local_appearance import LocalAppearance as LocalAppearance
from scn_keras.layers.local_refinement import LocalRefinement as LocalRefinement
from scn_keras.layers.log_displacement import LogDisplacement as LogDisplacement
from scn_keras.layers.patch_centers import PatchCenters as PatchCenters
from scn_keras.layers.patch_target import PatchTarget as PatchTarget
from scn_keras.layers.patch_vote import PatchVote as PatchVote
from scn_keras.layers.pictorial_structures import (
    PictorialStructures as PictorialStructures,
)
from scn_keras.layers.pyramid_refinement import PyramidRefinement as PyramidRefinement
from scn_keras.layers.spatial_configuration import (
    SpatialConfiguration as SpatialConfiguration,
)
from scn_keras.layers.unet import UNet as UNet
from scn_keras.layers.upsample import Upsample as Upsample
