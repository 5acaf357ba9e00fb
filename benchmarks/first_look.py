"""What a run that looks twice finds at its first look alone: a run without the second.

    python -m benchmarks.first_look RUN OUT

OUT is a run that is evaluated as any; its weights are RUN's.
"""

import argparse
import dataclasses
import pathlib

from scn_keras.training.build import build_model
from scn_keras.training.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    if run.recipe.local is None:
        parser.error(f"{run.path} looks at an image once.")
    name = f"{run.recipe.name}_first_look"
    network = run.recipe.network.replaced(dtype="float32")
    recipe = dataclasses.replace(run.recipe, name=name, local=None, network=network)
    alone = Run.create(arguments.out, recipe, run.schema)
    trained, model = run.load_model(), build_model(recipe, len(run.schema))
    model.network.set_weights(trained.network.get_weights())
    model.target.set_weights(trained.target.get_weights())
    alone.save_model(model)


if __name__ == "__main__":
    main()
