"""Measure speed: `python -m src.bench throughput`, `race`, `growth` or `profile`, with `--help`; `estimate`."""

from src.bench import estimate, growth, profile, throughput, time_to_accuracy
from src.core.commands import run

if __name__ == "__main__":
    run(
        "src.bench",
        throughput=throughput.main,
        race=time_to_accuracy.main,
        profile=profile.main,
        estimate=estimate.main,
        growth=growth.main,
    )
