"""What embedding all images leaves in `data/results/embed_<backbone>.json`."""

from src.core.records import Environment, Record


class Embedding(Record):
    """The cost of a frozen backbone's features.

    `parameters` are those before batch norm was folded; `macs` of one image count all taps of a kernel, `executed_macs`
    those that see pixels; `peak_memory` is in bytes.
    """

    images: int
    seconds: float
    images_per_second: float
    parameters: int
    macs: int
    executed_macs: int
    peak_memory: int
    environment: Environment
