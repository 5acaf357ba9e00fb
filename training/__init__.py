"""Recipes, training and evaluation of runs.

The function `fit` is imported from the module of the same name:
`from scn_keras.training.fit import fit`.
"""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if __name__ == "training":
    raise ModuleNotFoundError(
        "No module named 'training': the folder of that name in a checkout of "
        "scn-keras is imported as scn_keras.training.",
        name="training",
    )

if TYPE_CHECKING:
    from scn_keras.inference.image_to_grid import ImageToGrid as ImageToGrid
    from scn_keras.training.augmentation.augmentation import (
        Augmentation as Augmentation,
    )
    from scn_keras.training.classical_method import ClassicalMethod as ClassicalMethod
    from scn_keras.training.evaluation.evaluate import evaluate as evaluate
    from scn_keras.training.experiments.ensemble import make_ensemble as make_ensemble
    from scn_keras.training.heatmap_film import HeatmapFilm as HeatmapFilm
    from scn_keras.training.input.array_folder import ArrayFolder as ArrayFolder
    from scn_keras.training.input.prepare_arrays import prepare_arrays as prepare_arrays
    from scn_keras.training.method import Method as Method
    from scn_keras.training.recipe import Recipe as Recipe
    from scn_keras.training.recipe_settings import Callback as Callback
    from scn_keras.training.recipe_settings import Network as Network
    from scn_keras.training.recipe_settings import Optimizer as Optimizer
    from scn_keras.training.recipe_settings import Refinement as Refinement
    from scn_keras.training.recipe_settings import Target as Target
    from scn_keras.training.recipes import load_recipe as load_recipe
    from scn_keras.training.recipes import recipe_names as recipe_names
    from scn_keras.training.report.page import write_report as write_report
    from scn_keras.training.run import Run as Run

# Loaded lazily, because most of these modules import Keras and some TensorFlow.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ArrayFolder": "input.array_folder",
        "Augmentation": "augmentation.augmentation",
        "Callback": "recipe_settings",
        "ClassicalMethod": "classical_method",
        "HeatmapFilm": "heatmap_film",
        "ImageToGrid": "recipe",
        "Method": "method",
        "Network": "recipe_settings",
        "Optimizer": "recipe_settings",
        "Recipe": "recipe",
        "Refinement": "recipe_settings",
        "Run": "run",
        "Target": "recipe_settings",
        "evaluate": "evaluation.evaluate",
        "load_recipe": "recipes",
        "make_ensemble": "experiments.ensemble",
        "prepare_arrays": "input.prepare_arrays",
        "recipe_names": "recipes",
        "write_report": "report.page",
    },
)
