import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.registry_file import (
    FILE,
    deals_by_patient,
    read_deals,
    write_deals,
)


class DealRegistry:
    """The deals that are recorded in one or several folders.

    All folders get the same deals. One that does not exist or cannot be written is
    passed over. Two processes at once wait for each other.

    Args:
        folders: Sequence of paths, the first of which has precedence: that of the
            source files, and that of the prepared set.

    Example:

    ```python
    registry = DealRegistry([folder, builder.data_dir])
    deal = registry.change("validation", settings, deal_new_patients)
    ```
    """

    def __init__(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        self.folders = tuple(dict.fromkeys(Path(f).absolute() for f in folders))

    def deals(self) -> tuple[Deal, ...]:
        """Returns the deals of all folders, each once.

        Raises:
            ValueError: If a file is damaged.
        """
        return merged_deals(*(read_deals(folder / FILE) for folder in self.folders))

    def find(self, kind: str, **settings: Any) -> Deal | None:
        """Returns the deal of a kind with the given settings, if there is one."""
        key = Deal(kind, settings).key
        return next((deal for deal in self.deals() if deal.key == key), None)

    def change(
        self, kind: str, settings: dict[str, Any], change: Callable[[Deal], Deal]
    ) -> Deal:
        """Changes one deal and writes it, if it is another then.

        Args:
            kind: Str, see `Deal`.
            settings: Dict, see `Deal`.
            change: Callable from the recorded deal, without patients if there is none,
                to the new one.

        Returns:
            The new deal.
        """
        with self._lock():
            deals = {deal.key: deal for deal in self.deals()}
            old = Deal(kind, settings)
            old = deals.get(old.key, old)
            new = deals[old.key] = change(old)
            self._write(tuple(deals.values()))
        return new

    def add(self, deals: Sequence[Deal], by_patient: bool = False) -> list[Path]:
        """Writes deals beside those that are recorded, which they replace.

        Args:
            deals: Sequence of `Deal`.
            by_patient: Bool, see `deals_by_patient`.

        Returns:
            List of the files that have them now.
        """
        with self._lock():
            all_deals = {deal.key: deal for deal in self.deals()}
            all_deals |= {deal.key: deal for deal in deals}
            return self._write(tuple(all_deals.values()), by_patient)

    def _write(self, deals: tuple[Deal, ...], by_patient: bool = False) -> list[Path]:
        written = []
        for folder in self.folders:
            path = folder / FILE
            with contextlib.suppress(OSError):
                kept = by_patient or deals_by_patient(path)
                if not path.is_file() or by_patient or read_deals(path) != deals:
                    write_deals(path, deals, kept)
                written.append(path)
        return written

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Waits for other processes that change one of the registries."""
        try:
            import fcntl
        except ImportError:  # Windows, where data sets are not prepared
            yield
            return
        with contextlib.ExitStack() as stack:
            for folder in sorted(self.folders):
                # Some network file systems have no locks.
                with contextlib.suppress(OSError):
                    # The folder itself is locked, so that no lock file is left behind.
                    lock = os.open(folder, os.O_RDONLY)
                    stack.callback(os.close, lock)
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def merged_deals(*several: Sequence[Deal]) -> tuple[Deal, ...]:
    """Returns the deals of several registries, of which the first has precedence."""
    merged: dict[Any, Deal] = {}
    for deals in several:
        for deal in deals:
            known = merged.get(deal.key)
            merged[deal.key] = deal if known is None else known.merged(deal)
    return tuple(merged.values())
