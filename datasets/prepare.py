import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scn_keras.datasets._good_cases import good_cases, only_cases
from scn_keras.datasets._source_state import source_changes, store_source_state
from scn_keras.datasets._subsets import in_order
from scn_keras.datasets.builders import builder_class
from scn_keras.datasets.case import Case
from scn_keras.datasets.dataset_folder_error import DatasetFolderError

if TYPE_CHECKING:
    from scn_keras.datasets.deals.prepared_deals import PreparedDeals
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


_SKIP = "Correct these files, or leave them out with --skip-bad (left_out=[])."


def prepare(
    name: "str | type[LandmarkBuilder]",
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
    left_out: list[str] | None = None,
) -> "LandmarkBuilder":
    """Converts source files into a data set for `tfds.load` and `tfds.data_source`.

    All files are checked before anything is written. The data set is written to a
    temporary folder and moved when it is complete, so that an error or an interruption
    leaves no partial data set: the temporary folder is removed, at the latest by the
    next call, and with `overwrite` the old data set is kept until then. Linux and macOS
    only.

    Args:
        name: Str, see `scn_keras.datasets.builder_class`, or a subclass of
            `LandmarkBuilder`.
        data_dir: Str or path, the folder of prepared data sets. Defaults to the
            environment variable `TFDS_DATA_DIR`, then to `~/tensorflow_datasets`.
        manual_dir: Str or path, the folder of source files, for data sets that have
            one. Defaults to `downloads/manual` in `data_dir`, as in TFDS.
        config: Str, for data sets with several configurations.
        overwrite: Bool, whether to prepare an existing data set again.
        report: Callable, called with lines of text on the progress.
        left_out: List of str. Images that cannot be read are left out, and a sentence
            on each problem is appended and stored with the set. None to refuse a
            folder with problems, since a training set without some of its images is
            easily overlooked.

    Returns:
        The builder, ready for `as_dataset`.

    Raises:
        DatasetFolderError: If the folder has problems, with a list of all of them.
        ValueError: If there is no such data set or configuration, a folder is given
            for a data set that reads none, another class has prepared a set of the
            same name, or the set is prepared already from other files than those in
            `manual_dir`, and `overwrite` is not set.

    Example:

    ```python
    from scn_keras.datasets import prepare

    builder = prepare("cephalogram", manual_dir="~/cephalograms")
    train = builder.as_dataset(split="train")
    ```
    """
    cls = builder_class(name) if isinstance(name, str) else name
    if data_dir is not None:
        data_dir = Path(data_dir).expanduser().absolute()
    builder = cls(data_dir=data_dir, config=config)
    target = Path(builder.data_dir)
    if not overwrite and builder.is_prepared():
        if manual_dir is not None:
            _require_unchanged(cls, builder, config, Path(manual_dir).expanduser())
        report(f"{_summary(builder)}: prepared already, in {target}")
        return builder

    from scn_keras.datasets.deals.prepared_deals import PreparedDeals

    folder = _source_folder(builder, manual_dir)
    deals = PreparedDeals(cls(data_dir=data_dir, config=config), folder)
    deals.give(builder)
    cases = None if folder is None else _checked(builder, folder, left_out, report)

    root = Path(builder.data_dir_root)
    with _working_folder(root, builder.name, report) as working:
        # Another process may have prepared it while this one was waiting.
        if overwrite or not builder.is_prepared():
            fresh = _build(cls, working, config, folder, deals, cases, left_out)
            deals.store(fresh)
            _move(working, Path(fresh.data_dir), root, target)
    builder = cls(data_dir=root, config=config)
    for line in *deals.publish(builder), f"{_summary(builder)}: prepared in {target}":
        report(line)
    return builder


def _checked(
    builder: "LandmarkBuilder",
    folder: Path,
    left_out: list[str] | None,
    report: Callable[[str], None],
) -> list[Case] | None:
    """Checks a folder; returns the cases to store if some are left out."""
    hint = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not folder.is_dir():
        problems = ["The folder does not exist."]
        raise DatasetFolderError(builder.name, folder, problems, hint)
    known = builder.folder_problems(folder)
    if not known:
        for note in builder.folder_notes(folder):
            report(note)
        return None
    cases, problems, are_of_files = good_cases(builder, folder, known)
    if not are_of_files:
        raise DatasetFolderError(builder.name, folder, problems, hint)
    if left_out is None:
        hint = f"{_SKIP}\n{(hint or '').strip()}"
        raise DatasetFolderError(builder.name, folder, problems, hint)
    left_out += problems
    return cases


def _require_unchanged(
    cls: "type[LandmarkBuilder]",
    builder: "LandmarkBuilder",
    config: str | None,
    folder: Path,
) -> None:
    """Raises a ValueError if a prepared set differs from a folder."""
    from scn_keras.datasets.deals.prepared_deals import PreparedDeals

    if not folder.is_dir() or builder.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
        return
    with tempfile.TemporaryDirectory() as empty:
        try:
            current = cls(data_dir=empty, config=config, folder=folder.absolute())
        except ValueError:  # what is wrong in the folder is no change of it
            return
        PreparedDeals(builder, folder.absolute()).give(current)
        changes = source_changes(builder, current, folder.absolute())
    if changes:
        raise ValueError(
            f"{builder.info.full_name} is prepared already, from other files than are "
            f"in {folder} now. Prepare it again with --overwrite (overwrite=True), or "
            f"the folder under another name. Received: {changes}"
        )


def _summary(builder: "LandmarkBuilder") -> str:
    infos = builder.info.splits
    splits = ", ".join(
        f"{split} {infos[split].num_examples}" for split in sorted(infos, key=in_order)
    )
    return f"{builder.info.full_name} ({splits})"


def _source_folder(
    builder: "LandmarkBuilder", manual_dir: str | os.PathLike[str] | None
) -> Path | None:
    """Returns the folder of source files; None for a data set that reads none."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
        if manual_dir is not None:
            raise ValueError(
                f"The data set {builder.name!r} reads no folder of source files: "
                f"omit `manual_dir`. Received: manual_dir={os.fspath(manual_dir)}"
            )
        return None
    if manual_dir is None:
        return Path(builder.data_dir_root) / "downloads" / "manual"
    return Path(manual_dir).expanduser().absolute()


@contextlib.contextmanager
def _working_folder(
    root: Path, name: str, report: Callable[[str], None]
) -> Iterator[Path]:
    """Yields an empty folder in `root`, which is removed afterwards.

    One process at a time owns it. Existing files in it are those of a killed process.
    """
    import fcntl

    created = [p for p in (root, *root.parents) if not p.exists()]
    root.mkdir(parents=True, exist_ok=True)
    working = root / f".preparing-{name}"
    # The folder itself is locked, so that no lock file can be left behind.
    lock = os.open(root, os.O_RDONLY)
    try:
        # Some network file systems have no locks, and two processes at once are rare.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"Another process is preparing a data set in {root}: waiting.")
                fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(working, ignore_errors=True)
        try:
            working.mkdir()
            yield working
        finally:
            shutil.rmtree(working, ignore_errors=True)
    finally:
        os.close(lock)
        for path in created:  # the innermost first; only empty folders are removed
            with contextlib.suppress(OSError):
                path.rmdir()


def _build(
    cls: "type[LandmarkBuilder]",
    working: Path,
    config: str | None,
    folder: Path | None,
    deals: "PreparedDeals",
    cases: Sequence[Case] | None = None,
    left_out: Sequence[str] | None = None,
) -> "LandmarkBuilder":
    import tensorflow_datasets as tfds

    from scn_keras.datasets.identity.stored_images import stored_images

    builder = cls(data_dir=working, config=config, folder=folder)
    deals.give(builder)
    # TFDS prints the path of the working folder and "Unknown size". Its progress bars
    # are on stderr.
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if cases is not None:
            stack.enter_context(only_cases(builder, cases, left_out or ()))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=folder, try_download_gcs=False
            )
        )
    stored_images(builder)
    if folder is not None:
        described = cls(data_dir=working, config=config, folder=folder)
        deals.give(described)
        store_source_state(described, folder)
    return builder


def _move(working: Path, prepared: Path, root: Path, target: Path) -> None:
    """Moves a complete data set to its target, atomically if there is none yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name of the default configuration, for readers without the builder's code.
    for meta in working.glob("*/.config"):
        shutil.copytree(meta, root / meta.relative_to(working), dirs_exist_ok=True)
    replaced = working / "replaced"
    if target.exists():
        target.rename(replaced)
    try:
        prepared.rename(target)
    except BaseException:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
