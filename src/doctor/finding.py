"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line about a `subject`. A fault is something that keeps a run from its end; the line says what to do."""

    subject: str
    line: str
    fault: bool = False
