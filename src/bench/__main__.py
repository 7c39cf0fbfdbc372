"""Measure speed: `python -m src.bench throughput`, `race` or `profile`, with `--help`; `estimate` an experiment."""

from src.bench import estimate, profile, throughput, time_to_accuracy
from src.core.commands import run

if __name__ == "__main__":
    run(
        "src.bench",
        throughput=throughput.main,
        race=time_to_accuracy.main,
        profile=profile.main,
        estimate=estimate.main,
    )
