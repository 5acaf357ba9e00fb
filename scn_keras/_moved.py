"""Old import paths of modules that have moved, which still work with a warning."""

import importlib
import importlib.abc
import importlib.machinery
import types
import warnings
from collections.abc import Sequence
from typing import Any

# The path of a module in version 0.1 and its present path, below `scn_keras`.
MOVED = {
    "datasets.check.misplaced": "datasets.check.outlying_points",
    "datasets.check.placement": "datasets.check.coordinate_conventions",
    "datasets.projections": "pictures.projections",
    "saved_models.about_run": "saved_models.publishing.provenance",
    "saved_models.export": "saved_models.exporting.export",
    "saved_models.graph_locator": "saved_models.exporting.graph",
    "saved_models.grid_model": "saved_models.exporting.grid_model",
    "saved_models.grpc_transport": "saved_models.client.grpc_transport",
    "saved_models.image_source": "saved_models.predicting.image_source",
    "saved_models.locate_bytes": "saved_models.exporting.minimal_client",
    "saved_models.make_preset": "saved_models.publishing.make_preset",
    "saved_models.model_card": "saved_models.publishing.model_card",
    "saved_models.page_answers": "saved_models.server.page_answers",
    "saved_models.parity": "saved_models.exporting.parity",
    "saved_models.precision": "saved_models.exporting.precision",
    "saved_models.predict": "saved_models.predicting.predict",
    "saved_models.prediction": "saved_models.predicting.prediction",
    "saved_models.prediction_error": "saved_models.client.prediction_error",
    "saved_models.prediction_files": "saved_models.predicting.prediction_files",
    "saved_models.rest_transport": "saved_models.client.rest_transport",
    "saved_models.run_saved_model": "saved_models.exporting.run_saved_model",
    "saved_models.served_model": "saved_models.server.served_model",
    "saved_models.serving_files": "saved_models.exporting.tf_serving",
    "saved_models.transport": "saved_models.client.transport",
    "training.array_folder": "training.input.array_folder",
    "training.array_source": "training.input.array_source",
    "training.budget": "training.experiments.budget",
    "training.calibrate": "training.experiments.calibrate",
    "training.calibration": "inference.calibration",
    "training.compare": "training.evaluation.compare",
    "training.contact_sheet": "training.report.contact_sheet",
    "training.crossval": "training.experiments.crossval",
    "training.data": "training.input.prepared_sets",
    "training.ensemble": "training.experiments.ensemble",
    "training.evaluate": "training.evaluation.evaluate",
    "training.expected_error": "inference.located_image",
    "training.folder_split": "training.evaluation.folder_split",
    "training.inference": "inference.locator",
    "training.located_image": "inference.located_image",
    "training.on_grid": "training.input.on_grid",
    "training.overlay": "pictures.overlay",
    "training.pipeline": "training.input.pipeline",
    "training.placement": "inference.coarse_to_fine",
    "training.points_table": "training.evaluation.points_table",
    "training.prepare_arrays": "training.input.prepare_arrays",
    "training.prepared_split": "training.evaluation.prepared_split",
    "training.preprocessing": "inference.resample",
    "training.result_table": "training.evaluation.result_table",
    "training.selection": "training.input.selection",
    "training.source": "training.input.source",
    "training.statistics": "training.evaluation.statistics",
    "training.stored_source": "training.input.stored_source",
}

# Further modules with parts of an old module.
_ALSO = {
    "training.data": ("training.input.stored_source",),
    "training.inference": ("_moved_inference", "inference.test_time_augmentation"),
    "training.overlay": (
        "pictures.figure_files",
        "pictures.heatmap_figure",
        "pictures.style",
    ),
    "training.preprocessing": ("inference.decode",),
    "training.source": ("training.fit",),
}


class MovedModuleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of `MOVED` by their old paths."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "scn_keras" or name not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        package, _, name = spec.name.partition(".")
        path = f"{package}.{MOVED[name]}"
        warnings.warn(
            f"{spec.name} has moved: import {path}", FutureWarning, stacklevel=2
        )
        further = tuple(f"{package}.{also}" for also in _ALSO.get(name, ()))
        return _Alias(spec.name, importlib.import_module(path), further)

    def exec_module(self, module: types.ModuleType) -> None:
        """Does nothing, because the module of the alias has been executed."""


class _Alias(types.ModuleType):
    """A module under another name, with the names of further modules."""

    def __init__(
        self, name: str, module: types.ModuleType, further: Sequence[str] = ()
    ) -> None:
        super().__init__(name, module.__doc__)
        self._module = module
        self._further = further

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._module, name):
            for module in map(importlib.import_module, self._further):
                if hasattr(module, name):
                    return getattr(module, name)
        return getattr(self._module, name)

    def __dir__(self) -> list[str]:
        return dir(self._module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Importing `scn_keras.saved_models.export` by its old path replaces the
        # function of that name by this alias.
        return getattr(self._module, self.__name__.rpartition(".")[2])(*args, **kwargs)
