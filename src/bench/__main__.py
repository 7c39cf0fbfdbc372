"""Measure speed: `python -m src.bench throughput`, `... race`, each with `--help`; and `... estimate` an experiment."""

from src.bench import estimate, growth, throughput, time_to_accuracy
from src.core.commands import run

if __name__ == "__main__":
    run("src.bench", throughput=throughput.main, race=time_to_accuracy.main, estimate=estimate.main, growth=growth.main)
