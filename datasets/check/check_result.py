import dataclasses
from pathlib import Path

from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.landmark_schema import LandmarkSchema


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """All findings on a folder of source files.

    Args:
        folder: Path, the checked folder.
        dataset: Str, the name of the builder whose layout the folder has.
        schema: `LandmarkSchema`; None if the folder could not be read at all.
        splits: Dict of the names of splits to their numbers of cases.
        findings: Tuple of `Finding`, errors first.
        not_tested: Tuple of str, a sentence for each check that was not possible, for
            example with so few images.
        samples: Tuple of `View`, some images with their points, with findings or not.
    """

    folder: Path
    dataset: str
    schema: LandmarkSchema | None
    splits: dict[str, int]
    findings: tuple[Finding, ...]
    not_tested: tuple[str, ...] = ()
    samples: tuple[View, ...] = ()

    @property
    def errors(self) -> int:
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def notes(self) -> int:
        return sum(finding.severity == NOTE for finding in self.findings)

    @property
    def summary(self) -> str:
        """One sentence with the numbers of errors, notes and cases."""
        splits = [f"{name or 'no split'} {n}" for name, n in self.splits.items()]
        cases = _count(sum(self.splits.values()), "case")
        findings = f"{_count(self.errors, 'error')} and {_count(self.notes, 'note')}"
        return (
            f"{findings} in {cases}"
            f"{' of ' + self.dataset if self.dataset else ''}"
            f"{' (' + ', '.join(splits) + ')' if len(splits) > 1 else ''}."
        )

    def to_dict(self) -> dict[str, object]:
        """Returns the result as numbers, strings and lists for JSON."""
        return {
            "folder": str(self.folder),
            "dataset": self.dataset,
            "splits": dict(self.splits),
            "errors": self.errors,
            "notes": self.notes,
            "not_tested": list(self.not_tested),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
