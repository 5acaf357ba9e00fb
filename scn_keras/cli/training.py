"""The commands `scn-keras train` and `scn-keras crossval`."""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from scn_keras.cli._catalog import known_recipe, published_result
from scn_keras.cli._command import command_function
from scn_keras.cli._next_command import next_command
from scn_keras.cli._options import DATA_DIR, FOLDER, settings_option

if TYPE_CHECKING:
    from scn_keras.training.recipe import Recipe
    from scn_keras.training.run import Run


# With fewer, even an easy set is hardly learnt.
_FEW_STEPS = 100


@click.command()
@click.argument("recipe", callback=known_recipe)
@click.option(
    "--out", type=FOLDER, help="Folder of the run.  [default: runs/NAME of the recipe]"
)
@settings_option(
    "Change a setting of the recipe: --set network.filters=64. VALUE is a Python "
    "literal; the keys are listed in docs/recipes.md. May be repeated.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Short form of --set steps=STEPS. With --resume, more steps than those of a "
    "finished run continue it in another folder.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Use the number of steps that fit into this time, start-up included; the "
    "speed is measured at the start.",
)
@click.option(
    "--from",
    "start",
    metavar="PRESET|RUN",
    help="Start from the weights of a preset (a name or a folder) or of a run, also if "
    "its landmarks are different.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --out, or start it if there is none. `train --resume "
    "RUN` continues the run in that folder with its own recipe and data.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write curves and pictures of points for TensorBoard to the run's folder.",
)
@click.option(
    "--film",
    metavar="LANDMARK",
    help="Film the heatmaps of this landmark, or of `all`, over the steps of the "
    "training: on the first held-out image, or training image if none is held out, in "
    "film.webp of the run.",
)
@DATA_DIR
@click.option(
    "--arrays",
    type=FOLDER,
    help="Train on the arrays that `scn-keras datasets arrays` stored in this folder "
    "instead.",
)
@command_function
def train(
    recipe: str,
    out: pathlib.Path | None,
    settings: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    start: str | None,
    resume: bool,
    tensorboard: bool,
    film: str | None,
    data_dir: pathlib.Path | None,
    arrays: pathlib.Path | None,
) -> None:
    """Train a model by a RECIPE, or resume a run.

    RECIPE is a name of `scn-keras recipes`, a Python file that defines recipe(), or a
    run, the recipe of which is used. An interrupted run that is continued with --resume
    gives the same result as an uninterrupted one.

    \b
      scn-keras train synthetic_hand --out runs/hands
      scn-keras train --resume runs/hands                 after an interruption
      scn-keras train --resume runs/hands --steps 9000    after the end
      scn-keras train runs/hands --from runs/hands --out runs/hands2
                              from its weights, on the data set as it is now

    With --resume and more --steps than those of a finished run, the training continues
    in a new run, RUN_STEPS unless --out is given. Its learning rate is that of the
    schedule of all steps, from the step that was reached.
    """
    from scn_keras.training.fit import fit
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.run import Run

    if steps is not None and minutes is not None:
        raise click.UsageError("Give --steps or --minutes, not both.")
    if data_dir is not None and arrays is not None:
        raise click.UsageError("Give --data-dir or --arrays, not both.")
    existing = None
    if resume and (pathlib.Path(recipe) / "recipe.json").is_file():
        existing = Run(recipe)
        resolved = existing.recipe.override(settings)
        if data_dir is None and arrays is None:
            recorded = {name: pathlib.Path(p) for name, p in existing.data.items() if p}
            data_dir, arrays = recorded.get("data_dir"), recorded.get("arrays")
    else:
        resolved = load_recipe(recipe).override(settings)
    if start is not None:
        resolved = dataclasses.replace(resolved, start=start)
    path = out or pathlib.Path("runs") / resolved.name
    if existing is None and resume and (path / "recipe.json").is_file():
        existing = Run(path)
    if minutes is not None:
        if existing is not None:
            # A new measurement would give another number of steps, thus another recipe.
            measured = existing.recipe
        else:
            from scn_keras.training.experiments.budget import recipe_within

            measured = recipe_within(minutes, resolved, data_dir, arrays)
            before = "" if measured.coarse is None else f"{measured.coarse.steps} and "
            fit_into = (
                "step fits" if measured.steps == 1 and not before else "steps fit"
            )
            click.echo(f"{before}{measured.steps} {fit_into} into {minutes:g} minutes.")
            if measured.steps < _FEW_STEPS:
                click.echo(
                    "A model learns little in so few steps. Give more --minutes, or "
                    "make a step faster with a smaller image_to_grid.grid. The recipe "
                    f"has {resolved.steps} steps."
                )
        resolved = resolved.override([f"steps={measured.steps}"])
        if measured.coarse is not None:
            resolved = resolved.override([f"coarse.steps={measured.coarse.steps}"])
    if steps is not None:
        resolved = resolved.override([f"steps={steps}"])
    if existing is not None:
        path = _resumed_path(existing, resolved, out)
    if published := published_result(recipe):
        click.echo(published)
    try:
        run = fit(resolved, path, data_dir, resume, tensorboard, arrays, film=film)
    except KeyboardInterrupt:
        _exit_interrupted(next_command(["train", "--resume", path], resolved), path)
    click.echo(f"Trained: {run.model_path}")
    click.echo(next_command(["evaluate", run.path], resolved, data_dir))


def _resumed_path(
    existing: "Run", recipe: "Recipe", out: pathlib.Path | None
) -> pathlib.Path:
    """Returns the folder of a resumed run, a new one for a continuation."""
    from scn_keras.training.continuation import continue_run, is_continuation

    if not is_continuation(existing, recipe):
        return existing.path
    path = out
    if path is None or path.resolve() == existing.path.resolve():
        path = existing.path.with_name(f"{existing.path.name}_{recipe.steps}")
    if not (path / "recipe.json").is_file():
        continue_run(existing, recipe.steps, path)
        click.echo(
            f"{existing.path} is finished. It continues from step "
            f"{existing.recipe.steps} in {path}."
        )
    return path


def _exit_interrupted(command: str, path: pathlib.Path) -> NoReturn:
    """Exits as a program that Ctrl-C has ended, and names the command to continue."""
    click.echo(err=True)
    if (path / "recipe.json").is_file():
        click.echo(f"Interrupted. {command}", err=True)
    else:
        click.echo("Interrupted before the training started.", err=True)
    sys.exit(130)


@click.command()
@click.argument("recipe", callback=known_recipe)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Number of folds into which the patients are divided.",
)
@click.option(
    "--out",
    type=FOLDER,
    help="Folder of the runs.  [default: runs/NAME_FOLDSfold, NAME of the recipe]",
)
@settings_option()
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the runs in --out, or start them if there are none.",
)
@DATA_DIR
@command_function
def crossval(
    recipe: str,
    folds: int,
    out: pathlib.Path | None,
    settings: tuple[str, ...],
    resume: bool,
    data_dir: pathlib.Path | None,
) -> None:
    """Cross-validate a RECIPE on its training images.

    For each fold of the patients, a model is trained on the other folds and evaluated
    on the images of that fold. The runs can be combined into an ensemble afterwards.
    """
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.experiments.crossval import crossval as cross_validate
    from scn_keras.training.recipes import load_recipe
    from scn_keras.training.report.page import write_report
    from scn_keras.training.run import Run

    resolved = load_recipe(recipe).override(settings)
    path = out or pathlib.Path("runs") / f"{resolved.name}_{folds}fold"
    try:
        results = cross_validate(resolved, folds, path, data_dir, resume)
    except KeyboardInterrupt:
        arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
        command = next_command([*arguments, "--resume"], resolved)
        _exit_interrupted(command, path / "fold0")
    print_results(results)
    report = write_report(Run(path / "all"), data_dir=data_dir)
    click.echo(f"Report: {report}")
    runs = [path / f"fold{k}" for k in range(folds)]
    click.echo(next_command(["ensemble", f"{path}_ensemble", *runs], resolved))
