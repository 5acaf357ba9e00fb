import rich.console
from rich import box
from rich.markup import escape
from rich.table import Table

from scn_keras.datasets.check.check_result import CheckResult
from scn_keras.datasets.check.finding import ERROR
from scn_keras.files.shown_text import shown_text

_MAX_CASES = 4
_MAX_ROWS = 200


def print_result(
    result: CheckResult, console: rich.console.Console | None = None
) -> None:
    """Prints the findings as a table, checks that were not possible, and a summary.

    Args:
        result: `CheckResult`.
        console: `rich.console.Console`; None for the standard output.
    """
    console = console or rich.console.Console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("", "case", "kind"):
        table.add_column(column, overflow="fold")
    table.add_column("what was found", overflow="fold", ratio=1)
    for finding in result.findings[:_MAX_ROWS]:
        cases = ", ".join(finding.cases[:_MAX_CASES])
        if len(finding.cases) > _MAX_CASES:
            cases += f" and {len(finding.cases) - _MAX_CASES} more"
        color = "red" if finding.severity == ERROR else "cyan"
        table.add_row(
            f"[{color}]{finding.severity}",
            _text(cases),
            _text(finding.kind),
            _text(finding.message),
        )
    if result.findings:
        console.print(table)
    if (left := len(result.findings) - _MAX_ROWS) > 0:
        console.print(f"... and {left} more: --json and --out have all of them.")
    for sentence in result.not_tested:
        console.print(f"Not tested: {_text(sentence)}", highlight=False)
    console.print(_text(result.summary), highlight=False)


def _text(text: str) -> str:
    return escape(shown_text(text))
