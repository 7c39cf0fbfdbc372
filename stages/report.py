"""The report page: the verdict, the tables, the figures and the mistakes in one file that needs no network."""

from pathlib import Path

from src.core import design
from src.core.design import CELLS
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.records.robustness import RobustnessResults
from src.records.tune import SearchSummaries
from src.report import page, tested
from src.settings.settings import Settings
from src.storage import files, paths, raw
from stages import run


def main(settings: Settings) -> None:
    comparison = files.read_record(paths.record("compare"), Comparison)
    first, second = comparison.primary.weights
    tuned = files.read_record(paths.record("tune"), SearchSummaries)
    folder = paths.pictures(paths.plots("compare"))
    figures = [name for name in ("reliability", "by_frequency", "budget") if (folder / f"{name}.png").exists()]
    results = page.Results(
        comparison=comparison,
        cells={cell: files.read_record(paths.record(paths.cell_name(cell)), Evaluations) for cell in CELLS},
        tuned=tuned,
        robustness=files.read_optional_record(paths.record("robustness"), RobustnessResults),
        classes=files.read_json(paths.CLASSES),
        predictions=(files.read_arrays(predictions(settings, first)), files.read_arrays(predictions(settings, second))),
        raw=raw.images("test"),
        figures={name: files.read_bytes(folder / f"{name}.png") for name in figures},
        duplicates=raw.duplicates()["said"],
        tested=tested.count_tested(paths.from_root(".")),
    )
    files.write_text(paths.REPORT, page.render(page.context(settings, results)))
    print(f"{paths.REPORT}: open it in a browser")


def predictions(settings: Settings, arm: str) -> Path:
    """The file of an arm's predictions under the first seed."""
    folder = paths.of_seed(paths.predictions(design.cell(arm)), settings.seeds[0])
    return folder / f"{design.split(arm)[1]}.npz"


if __name__ == "__main__":
    run(main)
