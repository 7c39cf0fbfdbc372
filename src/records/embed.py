"""What embedding all images leaves in `data/results/embed_<backbone>.json`."""

from src.core.records import Environment, Record


class Embedding(Record):
    """The cost of a frozen backbone's features: `macs` are those of one image, `peak_memory` is in bytes."""

    images: int
    seconds: float
    images_per_second: float
    parameters: int
    macs: int
    peak_memory: int
    environment: Environment
