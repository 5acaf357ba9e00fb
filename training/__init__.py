"""Recipes, their training into runs, and the evaluation of runs."""

if __name__ == "training":
    raise ModuleNotFoundError(
        "No module named 'training': the folder of that name in a checkout of "
        "scn-keras is imported as scn_keras.training.",
        name="training",
    )
