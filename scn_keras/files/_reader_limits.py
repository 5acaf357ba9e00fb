"""Limits of memory and of time on the process that reads files.

They hold in that process alone. Elsewhere, these functions do nothing.
"""

import resource
from pathlib import Path

# Beyond what the process has when a file is opened. The libraries need less than a
# tenth of it for headers.
_BASE_BYTES = 3 * 2**28
_BASE_SECONDS = 8
# The file as bytes, decoded, converted and copied. The slowest decoders, of JPEG 2000
# and of JPEG Lossless, give more than 10 MB a second.
_COPIES, _BYTES_PER_SECOND = 4, 2**22

_active = False


def begin_limits() -> None:
    """Sets the limits for the next file."""
    global _active
    _active = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    _set_soft(resource.RLIMIT_AS, memory_in_use() + _BASE_BYTES)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + _BASE_SECONDS
    _set_soft(resource.RLIMIT_CPU, int(seconds) + 1)


def allow_bytes(count: int) -> None:
    """Raises the limits for data of an admitted size.

    Args:
        count: Int, the size in bytes of the pixels, or of the file.
    """
    if not _active or count <= 0:
        return
    for kind, more in (
        (resource.RLIMIT_AS, _COPIES * count),
        (resource.RLIMIT_CPU, count // _BYTES_PER_SECOND),
    ):
        soft, _ = resource.getrlimit(kind)
        _set_soft(kind, soft + more)


def memory_in_use() -> int:
    """Returns the size in bytes of the address space of this process."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _set_soft(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, hard))
