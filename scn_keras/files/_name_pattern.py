import re
from pathlib import Path

from scn_keras.files._reader_process import in_reader_process


@in_reader_process
def search_names(path: Path, pattern: str, names: list[str]) -> list[str | None]:
    """Returns the first group, or the whole match, of a regular expression in names.

    Some expressions, such as `(a+)+$`, take years for a name of thirty letters.

    Args:
        path: Path, the file with the pattern.
        pattern: Str, a regular expression.
        names: List of str.

    Returns:
        List of str; None for names that do not match.

    Raises:
        ValueError: If it takes longer than the limit of `_reader_limits`.
    """
    compiled = re.compile(pattern)
    group = min(compiled.groups, 1)
    found = (compiled.search(name) for name in names)
    return [match[group] if match else None for match in found]
