"""Lists the measurements."""

import pkgutil

import benchmarks

for module in pkgutil.iter_modules(benchmarks.__path__):
    if not module.name.startswith("_"):
        print(f"python -m benchmarks.{module.name} --help")
