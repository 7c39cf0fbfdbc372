"""The CPUs that this process may use."""

import os


def cores() -> int:
    """Their number; on macOS, which does not limit a process to some of them, all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
