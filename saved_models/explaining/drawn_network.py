"""The network of a recipe or a model, for a drawing."""

import pathlib
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import keras

from scn_keras.models import preset_names, preset_path
from scn_keras.training.build import build_network
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipes import load_recipe, recipe_names
from scn_keras.training.run import Run


class DrawnNetwork(NamedTuple):
    """A network with what its drawing needs.

    Attributes:
        network: Functional Keras model, without trained weights.
        grid: Tuple of int, the sizes of its images in array order.
        title: Str.
    """

    network: keras.Model
    grid: tuple[int, ...]
    title: str


def network_to_draw(
    name: str,
    settings: Sequence[str] = (),
    landmarks: int | None = None,
    coarse: bool = False,
) -> DrawnNetwork:
    """Builds the network of a recipe, a run, a preset or a model file.

    Args:
        name: Str, a recipe (name or Python file), the folder of a run, a `.keras` file
            of a run, or a preset (name or folder). If a recipe and a preset have the
            same name, it is the recipe.
        settings: Sequence of `key=value`, see `Recipe.override`. Only for recipes.
        landmarks: Int, the number of landmarks; `None` for that of the data set of the
            recipe or of the model.
        coarse: Bool, whether to return the network of the coarse stage.

    Raises:
        FileNotFoundError: If there is nothing of this name.
        ValueError: If the recipe has no network, no coarse stage or a data set whose
            number of landmarks is only known from its files.
    """
    path = pathlib.Path(name)
    is_recipe = name.endswith(".py") or (name in recipe_names() and not path.exists())
    if is_recipe:
        recipe = load_recipe(name).override(settings)
        count = landmarks or _landmarks_of(recipe, name)
    else:
        if name not in preset_names() and not path.exists():
            raise FileNotFoundError(
                f"There is no recipe, run, preset or file {name!r}. `scn-keras "
                "recipes` and `scn-keras presets` list the names."
            )
        if settings or landmarks is not None:
            raise ValueError(
                "Settings and a number of landmarks are for recipes; a model has its "
                f"own. Received: {name}"
            )
        recipe, count = _of_model(preset_path(name))
    stage = "the coarse stage of " if coarse else ""
    if coarse:
        if recipe.coarse is None:
            raise ValueError(f"The recipe of {name} has no coarse stage.")
        recipe = recipe.coarse
    if not recipe.uses_network:
        raise ValueError(
            f"There is no network to draw: {name} has another method. Received: "
            f"method={recipe.method!r}"
        )
    network = build_network(recipe, count)
    is_model_file = path.is_file() and not is_recipe
    label = path.absolute().parent.name if is_model_file else path.stem
    title = f"{type(network).__name__} of {stage}{label}, {count} landmarks"
    if type(network).__module__.startswith("keras."):  # a functional model
        title = title.replace(type(network).__name__, recipe.network.kind, 1)
    return DrawnNetwork(network, recipe.window or recipe.grid, title)


def _of_model(path: pathlib.Path) -> tuple[Recipe, int]:
    if not path.is_file():
        run = Run(path)
        return run.recipe, len(run.schema)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.from_file(path, folder)
        return run.recipe, len(run.schema)


def _landmarks_of(recipe: Recipe, name: str) -> int:
    from scn_keras.datasets import builder_class

    if count := len(builder_class(recipe.dataset.partition("/")[0]).SCHEMA):
        return count
    if name in preset_names():  # trained by this recipe
        return len(Run(preset_path(name)).schema)
    raise ValueError(
        f"The number of landmarks of the data set {recipe.dataset!r} depends on its "
        "files. Give it with --landmarks N."
    )
