"""Model cards of presets and exported models, in Markdown."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.inference.calibration import Calibration
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.result_table import coverage
from scn_keras.training.recipe import Recipe

# The number of landmarks with the largest mean errors that are listed.
_LISTED_LANDMARKS = 3


def model_card(
    metadata: Mapping[str, Any],
    recipe: Recipe,
    schema: LandmarkSchema,
    calibration: Calibration | None = None,
) -> str:
    """Returns the model card of a preset.

    Args:
        metadata: Dict, the content of `metadata.json`, see `make_preset`.
        recipe: `Recipe` of the preset.
        schema: `LandmarkSchema`.
        calibration: `Calibration` of the preset; `None` for a card without a section
            on uncertainty.

    Returns:
        Str, Markdown.
    """
    name = metadata["name"]
    half = metadata["half_precision"]
    parts = [
        f"# {name}",
        f"{len(schema)} landmarks in {_images(recipe)}: a preset of scn-keras "
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

The path of this folder can be given instead of the name.""",
        "## Results",
        *_results(metadata["results"]),
        "These results were measured in single precision. In half precision, the "
        f"points of the {half['n_images']} images of `{half['split']}` move by "
        f"{half['mean_px']:.2g} px on average and {half['max_px']:.2g} px at most, in "
        f"pixels of the images; their mean point error is {half['error_px']:.2g} px.",
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
    """Returns the model card of an exported model.

    Args:
        metadata: Dict, the result of `provenance` with `name`, `version`, `format`,
            `precision`, `scn_keras_version` and `accuracy`, which is `None` for
            float32.
        recipe: `Recipe` of the run.
        schema: `LandmarkSchema` of the run.
        calibration: `Calibration` of the run, or `None`.
        inference: Str, a description of the inference, see `Run.inference`.

    Returns:
        Str, Markdown.
    """
    results = _results(metadata["results"]) if metadata["results"] else []
    parts = [
        f"# {metadata['name']}, version {metadata['version']}",
        f"{len(schema)} landmarks in {_images(recipe)}, exported by scn-keras "
        f"{metadata['scn_keras_version']} as {metadata['format']} in "
        f"{metadata['precision']}. {recipe.network.kind}, {inference}. Inputs and "
        "outputs are listed in `export.json`.",
        *([f"**Terms of use.** {metadata['license']}"] if metadata["license"] else []),
        "## Results",
        *(results or ["The model has not been evaluated: its accuracy is unknown."]),
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


def _images(recipe: Recipe) -> str:
    return "volumes" if len(recipe.grid) == 3 else "2D images"


def _precision(metadata: Mapping[str, Any]) -> list[str]:
    lost = metadata["accuracy"]
    if lost is None:
        return []
    unit = lost["unit"]
    error = "the mean point error is unknown, because these images have no points"
    if lost["error"] is not None:
        error = (
            f"the mean point error is {lost['error']:.3f} {unit} instead of "
            f"{lost['float32_error']:.3f} {unit}: "
            f"{lost['error'] - lost['float32_error']:+.3f} {unit}"
        )
    return [
        "## Precision",
        f"The results above were measured in float32. In {metadata['precision']}, on "
        f"the {lost['n_images']} images of `{lost['split']}`, {error}. Points move by "
        f"{lost['moved']:.3f} {unit} on average and {lost['moved_max']:.3f} {unit} at "
        "most.",
    ]


def _uncertainty(calibration: Calibration | None) -> str:
    if calibration is None:
        return (
            "The model was not calibrated (`scn-keras calibrate`): `radius90_mm` is "
            "NaN, `present` is true for every score above 0, and `trusted` is false "
            "for every image."
        )
    return (
        "`radius90_mm` is the radius that contains nine in ten true points in images "
        "like those below; `trusted` tells whether an image is like them. Calibrated "
        f"on {calibration_source(calibration.protocol)}:"
        f"\n\n{_two_columns(calibration.protocol)}"
    )


def _two_columns(entries: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {key} | {_text(value)} |"
        for key, value in entries.items()
        if value is not None
    )
    return f"| | |\n|---|---|\n{rows}"


def _commands(name: str) -> str:
    commands = [
        f"predict {name} FILE...",
        f"export {name} DIR",
        f"train RECIPE --from {name}",
    ]
    return "\n".join(f"scn-keras {command}" for command in commands)


def _results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of the results in each unit, and the paragraphs below it."""
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
        coverages = [coverage(r) for r in of_unit if "coverage90_percent" in r]
        tables += [
            table,
            _largest_errors(of_unit[0], unit),
            *coverages,
            _protocol(of_unit),
        ]
    return tables


def _largest_errors(result: Mapping[str, Any], unit: str) -> str:
    measured = [landmark for landmark in result["per_landmark"] if landmark["n"]]
    measured.sort(key=lambda landmark: -landmark[f"mre_{unit}"])
    listed = "; ".join(
        f"{landmark['name']} {landmark[f'mre_{unit}']:.2f} {unit}"
        for landmark in measured[:_LISTED_LANDMARKS]
    )
    return f"The largest mean errors in `{result['protocol']['split']}`: {listed}."


def _protocol(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns the entries of the protocol that are the same for all results."""
    first = results[0]["protocol"]
    shared = {
        key: value
        for key, value in first.items()
        if all(result["protocol"].get(key) == value for result in results)
    }
    return f"The protocol of these results:\n\n{_two_columns(shared)}"


def _training(metadata: Mapping[str, Any], recipe: Recipe, file: str) -> str:
    environment = metadata["environment"]
    backend = environment["backend"]
    versions = environment["versions"]
    held_out = f"{100 * recipe.validation:.0f} % of it held out"
    if recipe.fold is not None:
        held_out = "part {} of {}, counted from 0, held out".format(*recipe.fold)
    lines = [
        f"- data: `{recipe.dataset}`, split `{recipe.train_split}`, {held_out}",
        f"- {recipe.steps} steps of {recipe.batch_size} images, seed {recipe.seed}",
        f"- on {backend} {versions.get(backend, '')}, Keras {versions['keras']}, "
        f"scn-keras {versions['scn-keras']}, Python {environment['python']}, "
        f"{environment['system']}",
    ]
    if recipe.observer is not None:
        lines.insert(1, f"- points of the observer: {recipe.observer}")
    if recipe.start is not None:
        lines.insert(0, f"- started from the weights of `{recipe.start}`")
    if metadata["seconds"] is not None:
        minutes = metadata["seconds"] / 60
        lines.append(f"- duration: {minutes:.0f} minutes")
    reference = f"The whole recipe is in `{file}`."
    if metadata["command"] is not None:
        command = shlex.join(metadata["command"])
        reference = f"```\n{command}\n```\n\n{reference}"
    return "\n".join(lines) + f"\n\n{reference}"


def _limits(metadata: Mapping[str, Any], recipe: Recipe) -> str:
    grid = " x ".join(map(str, recipe.grid))
    lines = [
        *filter(None, [metadata["limits"]]),
        "Research software, not a medical device: not for diagnosis.",
        "The model gives points for every image, also for images that are unlike its "
        "training images.",
        f"Images are resampled to a grid of {grid}. Every landmark is located in every "
        "image; the score, from 0 to 1, rates a point by its heatmap and is not the "
        "probability that the point is right.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
