import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import ERROR, Finding
from scn_keras.landmark_schema import LandmarkSchema

SPELLING = "spelling of labels"


def normal_form(label: str) -> str:
    """Returns a label without differences of spelling.

    Labels that differ in case, spaces, hyphens, underscores, dots, forms of Unicode,
    leading zeros, a decimal `.0` or a plural s have the same form.

    Args:
        label: Str.

    Example:

    >>> normal_form("Upper  Incisors"), normal_form("upper_incisor")
    ('upperincisor', 'upperincisor')
    >>> normal_form("07"), normal_form("7.0")
    ('7', '7')
    """
    text = unicodedata.normalize("NFKC", label).casefold().strip()
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    # Between digits a separator has a meaning: L1-2 is not L12.
    text = re.sub(r"(?<=\d)[\s_.\-]+(?=\d)", ".", text)
    text = re.sub(r"[\s_\-]+|(?<!\d)\.|\.(?!\d)", "", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    return re.sub(r"(?<=[^\W\d]{3})s$", "", text)


def find_label_variants(cases: Sequence[Case], schema: LandmarkSchema) -> list[Finding]:
    """Finds labels that differ only in their spelling from file to file.

    Labels that occur together in one file are different landmarks.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema` of the set.
    """
    counts: Counter[str] = Counter()
    together: set[tuple[str, str]] = set()
    forms: dict[str, dict[str, None]] = {}
    for name in schema.names:
        forms.setdefault(normal_form(name), {})[name] = None
    for case in cases:
        in_case: dict[str, list[str]] = {}
        for label in dict.fromkeys(case.labels):
            form = normal_form(label)
            forms.setdefault(form, {})[label] = None
            in_case.setdefault(form, []).append(label)
            counts[label] += 1
        for labels in in_case.values():
            together.update((a, b) for a in labels for b in labels if a != b)
    variants = []
    for spellings in forms.values():
        used = sorted((n for n in spellings if counts[n]), key=lambda n: -counts[n])
        names = [n for n in spellings if n in schema.names] or used[:1]
        # A name of the settings that no file has is spelt otherwise in the files.
        group = list(dict.fromkeys([*used, *names]))
        if len(group) > 1 and not any((a, b) in together for a in group for b in group):
            variants.append(tuple(group))
    if not variants:
        return []
    rare = {label for group in variants for label in group[1:]}
    named = [case for case in cases if rare & set(case.labels)]
    texts = [
        " and ".join(f"{label!r} ({counts[label]})" for label in group)
        for group in variants
    ]
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return [
        Finding(
            ERROR,
            SPELLING,
            "Labels of the same landmark are spelt differently from file to file.",
            f"{'; '.join(texts[:5])}{more}, with the numbers of files. Give each "
            "landmark one label.",
            tuple(case.id for case in named),
            tuple(dict.fromkeys(str(p) for case in named for p in case.points_paths)),
            tuple(dict.fromkeys(label for group in variants for label in group)),
        )
    ]
