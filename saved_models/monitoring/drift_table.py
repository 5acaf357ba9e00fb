"""The result of `find_drift` in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
from rich import table
from rich.markup import escape

from scn_keras.files.shown_text import shown_text
from scn_keras.inference.calibration_source import radii_sentence
from scn_keras.saved_models.monitoring.drift_text import landmark_name, trusted_text


def print_drift(
    result: Mapping[str, Any],
    names: Sequence[str] = (),
    console: rich.console.Console | None = None,
) -> None:
    """Prints the verdict, its reasons, and what was compared.

    Args:
        result: Mapping, see `find_drift`.
        names: Sequence of str, the landmarks.
        console: `rich.console.Console`; `None` for the standard output.
    """
    console = console or rich.console.Console()
    console.print(_table(result, names))
    for sentence in _sentences(result):
        console.print(shown_text(sentence), markup=False, highlight=False)
    verdict = f"\n{result['verdict']}"
    console.print(verdict, style="bold", markup=False, highlight=False)
    for reason in result["reasons"]:
        console.print(f"- {shown_text(reason)}", markup=False, highlight=False)


def _sentences(result):
    reference = result["reference"]
    if source := reference["radii_calibrated_on"]:
        yield radii_sentence(source)
    if result["trusted"] is not None:
        yield f"{trusted_text(result)}."
    else:
        yield "The answers do not contain `trusted`: only scores are compared."
    if reference["kind"] == "calibration":
        yield (
            "A calibration does not contain radii of held-out images: radii are "
            "compared with those of earlier answers only (--baseline)."
        )


def _table(result, names):
    """Returns one row for each landmark, and for what images have."""
    rows: dict[Any, dict[str, Mapping[str, Any]]] = {}
    for quantity in result["quantities"]:
        landmark = quantity["landmark"]
        key = quantity["quantity"] if landmark is None else landmark
        kind = "score" if landmark is None else quantity["quantity"]
        rows.setdefault(key, {})[kind] = quantity
    has_radii = any("radius" in row for row in rows.values())
    shown = table.Table(box=None)
    shown.add_column("")
    kinds = {"score": "score", **({"radius": "radius"} if has_radii else {})}
    for kind in kinds:
        unit = f", {result['unit']}" if kind == "radius" else ""
        for title in (f"{kind}{unit}", "before", "p"):
            shown.add_column(title, justify="right")
    for key, row in rows.items():
        name = key if isinstance(key, str) else landmark_name(key, names)
        cells = [escape(shown_text(name))]
        for kind in kinds:
            cells += _cells(row.get(kind), 0.5 * result["alpha"])
        shown.add_row(*cells)
    return shown


def _cells(quantity, alpha):
    if quantity is None:
        return ["", "", ""]
    p = quantity["p"]
    style = ("[bold]", "[/bold]") if p <= alpha else ("", "")
    values = [quantity["value"], quantity["reference"]]
    digits = [f"{value:.2f}" for value in values]
    if quantity["quantity"] == "not trusted":
        digits = [f"{100.0 * value:.1f} %" for value in values]
    return [f"{style[0]}{text}{style[1]}" for text in (*digits, f"{p:.4f}")]
