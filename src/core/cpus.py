"""The number of CPUs."""

import os


def cores() -> int:
    """The number of CPUs that this process may use; on macOS, which has no such limit, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
