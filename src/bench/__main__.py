"""Measure speed: `python -m src.bench throughput` and `python -m src.bench race`, each with `--help`."""

from src.bench import throughput, time_to_accuracy
from src.core.commands import run

if __name__ == "__main__":
    run("src.bench", throughput=throughput.main, race=time_to_accuracy.main)
