import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a package that loads its names when used.

    The package imports them under `TYPE_CHECKING` as well, for static analysers.

    Args:
        package: Str, the package's `__name__`.
        modules: Mapping of public names to the modules, below the package, that define
            them. No module or subpackage may have the name of a public name.

    Example:

    ```python
    __getattr__, __dir__ = lazy_names(__name__, {"Client": "client.client"})
    ```
    """

    def get_attribute(name: str) -> Any:
        if name in modules:
            module = importlib.import_module(f"{package}.{modules[name]}")
            return getattr(module, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def list_attributes() -> list[str]:
        loaded = vars(importlib.import_module(package))
        return sorted({*loaded, *modules})

    return get_attribute, list_attributes
