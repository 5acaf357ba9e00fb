import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.inference.calibration import Calibration
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.result_table import coverage
from scn_keras.training.recipe import Recipe

# Of a landmark, how often it was off is for the results; these say what to look at.
_WORST = 3


def model_card(
    metadata: Mapping[str, Any],
    recipe: Recipe,
    schema: LandmarkSchema,
    calibration: Calibration | None = None,
) -> str:
    """Writes the model card of a preset, in Markdown, from what its files hold.

    Args:
        metadata: What `metadata.json` holds, see `make_preset`.
        recipe: `Recipe` of the preset.
        schema: `LandmarkSchema`.
        calibration: `Calibration` of the run, `None` for a card that says nothing of
            it.
    """
    name = metadata["name"]
    axes = "volumes" if len(recipe.grid) == 3 else "2D images"
    half = metadata["half_precision"]
    parts = [
        f"# {name}",
        f"{len(schema)} landmarks in {axes}: a preset of scn-keras "
        f"{metadata['scn_keras_version']}. {recipe.network.kind}, "
        f"{metadata['parameter_count']:,} parameters, {metadata['size_mb']} MB in half "
        "precision.",
        f"**Terms of use.** {metadata['license']}",
        "## Use",
        f"""```
{_commands(name)}
```

```python
model = scn_keras.models.from_preset("{name}")
```

In place of the name, the path of this folder.""",
        "## Results",
        *_results(metadata["results"]),
        f"These are from before its weights went into half precision, which moves the "
        f"points of the {half['n_images']} images of `{half['split']}` by "
        f"{half['mean_px']:.2g} px of the images in the mean, {half['max_px']:.2g} px "
        f"at most. They are {half['error_px']:.2g} px off in the mean.",
        *(["## Uncertainty", _uncertainty(calibration)] if calibration else []),
        "## Training",
        _training(metadata, recipe, "recipe.json"),
        "## Limits",
        _limits(metadata, recipe),
        "## Landmarks",
        "; ".join(schema.names) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def export_card(
    metadata: Mapping[str, Any],
    recipe: Recipe,
    schema: LandmarkSchema,
    calibration: Calibration | None,
    inference: str,
) -> str:
    """Writes the model card of an exported model, in Markdown.

    Args:
        metadata: What `about_run.about` returned, with `name`, `version`, `format`,
            `precision`, `scn_keras_version` and, for reduced precision, `accuracy`.
        recipe, schema, calibration: Of the run.
        inference: Str, how points come about: `Run.inference`.
    """
    axes = "volumes" if len(recipe.grid) == 3 else "2D images"
    results = _results(metadata["results"]) if metadata["results"] else []
    parts = [
        f"# {metadata['name']}, version {metadata['version']}",
        f"{len(schema)} landmarks in {axes}, exported by scn-keras "
        f"{metadata['scn_keras_version']} as {metadata['format']} in "
        f"{metadata['precision']}. {recipe.network.kind}, {inference}. What goes in "
        "and what comes out is in `export.json`.",
        *([f"**Terms of use.** {metadata['license']}"] if metadata["license"] else []),
        "## Results",
        *(results or ["It has not been evaluated: how good it is is not known."]),
        *_precision(metadata),
        "## Uncertainty",
        _uncertainty(calibration),
        "## Training",
        _training(metadata, recipe, "export.json"),
        "## Limits",
        _limits(metadata, recipe),
        "## Landmarks",
        "; ".join(schema.names) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _precision(metadata):
    lost = metadata["accuracy"]
    if lost is None:
        return []
    unit = lost["unit"]
    return [
        "## Precision",
        f"The results are of the model in float32. In {metadata['precision']}, on the "
        f"{lost['n_images']} images of `{lost['split']}`, the mean point error is "
        f"{lost['error']:.3f} {unit} in place of {lost['float32_error']:.3f} {unit}: "
        f"{lost['error'] - lost['float32_error']:+.3f} {unit}. Points move by "
        f"{lost['moved']:.3f} {unit} in the mean, {lost['moved_max']:.3f} {unit} at "
        "most.",
    ]


def _uncertainty(calibration):
    if calibration is None:
        return (
            "It was not calibrated (`scn-keras calibrate`): `radius90_mm` is NaN, "
            "`present` says no more than that the score is above 0, and `trusted` is "
            "always false, since nothing vouches for any image."
        )
    rows = "\n".join(
        f"| {key} | {_text(value)} |" for key, value in calibration.protocol.items()
    )
    return (
        "`radius90_mm` holds nine in ten true points of images like those below; "
        "`trusted` tells whether an image is like them. Calibrated on:\n\n"
        f"| | |\n|---|---|\n{rows}"
    )


def _commands(name):
    commands = [
        f"predict {name} FILE...",
        f"export {name} DIR",
        f"train RECIPE --from {name}",
    ]
    return "\n".join(f"scn-keras {command}" for command in commands)


def _results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    tables = []
    for unit in ("mm", "px"):
        of_unit = [r for r in results if r["protocol"].get("unit", "mm") == unit]
        if not of_unit:
            continue
        radii = list(of_unit[0]["sdr_percent"])
        header = [
            *("split", "truth", "images", "mean point error (95 %)", "median", "p99"),
            *(f"within {radius} {unit}" for radius in radii),
        ]
        rows = [header, ["---"] * len(header)]
        for result in of_unit:
            low, high = result["ci95"][f"mre_{unit}"]
            percentiles = result[f"percentiles_{unit}"]
            rows.append(
                [
                    result["protocol"]["split"],
                    result["protocol"]["truth"] or "the points",
                    str(result["n_images"]),
                    f"{result[f'mre_{unit}']:.2f} {unit} ({low:.2f} to {high:.2f})",
                    f"{result[f'median_{unit}']:.2f} {unit}",
                    f"{percentiles['p99']:.2f} {unit}",
                    *(f"{result['sdr_percent'][radius]:.1f} %" for radius in radii),
                ]
            )
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        sure = [coverage(r) for r in of_unit if "coverage90_percent" in r]
        tables += [table, _worst(of_unit[0], unit), *sure, _protocol(of_unit)]
    return tables


def _worst(result, unit):
    measured = [one for one in result["per_landmark"] if one["n"]]
    worst = sorted(measured, key=lambda one: -one[f"mre_{unit}"])[:_WORST]
    named = "; ".join(f"{one['name']} {one[f'mre_{unit}']:.2f} {unit}" for one in worst)
    return f"The largest mean errors in `{result['protocol']['split']}`: {named}."


def _protocol(results):
    """What is the same for all results; the table has the rest."""
    first = results[0]["protocol"]
    shared = {
        key: value
        for key, value in first.items()
        if all(result["protocol"].get(key) == value for result in results)
        and value is not None
    }
    rows = "\n".join(f"| {key} | {_text(value)} |" for key, value in shared.items())
    return f"The protocol of all of these numbers:\n\n| | |\n|---|---|\n{rows}"


def _training(metadata, recipe, file):
    environment = metadata["environment"]
    backend = environment["backend"]
    versions = environment["versions"]
    held_out = f"{100 * recipe.validation:.0f} % of them held out"
    if recipe.fold is not None:
        held_out = "part {} of {} of them, from 0, held out".format(*recipe.fold)
    lines = [
        f"- data: `{recipe.dataset}`, split `{recipe.train_split}`, {held_out}",
        f"- {recipe.steps} steps of {recipe.batch_size} images, seed {recipe.seed}",
        f"- on {backend} {versions.get(backend, '')}, Keras {versions['keras']}, "
        f"scn-keras {versions['scn-keras']}, Python {environment['python']}, "
        f"{environment['system']}",
    ]
    if recipe.observer is not None:
        lines.insert(1, f"- on the points of: {recipe.observer}")
    if recipe.start is not None:
        lines.insert(0, f"- started from the weights of `{recipe.start}`")
    if metadata["seconds"] is not None:
        minutes = metadata["seconds"] / 60
        lines.append(f"- {minutes:.0f} minutes by the clock")
    command = f"The whole recipe is in `{file}`."
    if metadata["command"] is not None:
        command = f"```\n{shlex.join(metadata['command'])}\n```\n\n{command}"
    return "\n".join(lines) + f"\n\n{command}"


def _limits(metadata, recipe):
    axes = " x ".join(map(str, recipe.grid))
    lines = [
        *filter(None, [metadata["limits"]]),
        "This is a result of research, not a medical device. It is not for diagnosis.",
        "On images of another kind than those that it was trained on, it gives points "
        "all the same.",
        f"It sees an image on a grid of {axes}, and finds every landmark in every "
        "image; the score, from 0 to 1, tells what a heatmap says of its own point, "
        "not how likely the point is right.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _text(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
