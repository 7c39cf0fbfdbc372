"""The report page: the verdict, the tables, the figures and the mistakes in one file that needs no network."""

from src.core.design import CELLS, QUESTION
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.records.robustness import RobustnessResults
from src.records.tune import SearchSummaries
from src.report import page
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings) -> None:
    comparison = files.read_record(paths.record("compare"), Comparison)
    first, second = page.question(comparison)
    tuned = files.read_record(paths.record("tune"), SearchSummaries)
    figures = ["reliability"] + ["by_frequency"] * bool(comparison.by_frequency) + ["budget"] * bool(tuned.backbones)
    results = page.Results(
        comparison=comparison,
        cells={cell: files.read_record(paths.record(paths.cell_name(cell)), Evaluations) for cell in CELLS},
        tuned=tuned,
        robustness=files.read_optional_record(paths.record("robustness"), RobustnessResults),
        classes=files.read_json(paths.CLASSES),
        predictions=(
            files.read_arrays(paths.of_seed(paths.predictions(QUESTION[0]), settings.seeds[0]) / f"{first}.npz"),
            files.read_arrays(paths.of_seed(paths.predictions(QUESTION[1]), settings.seeds[0]) / f"{second}.npz"),
        ),
        raw=files.read_array(paths.RAW / "test_images.npy"),
        figures={name: files.read_bytes(paths.plots("compare") / f"{name}.png") for name in figures},
    )
    files.write_text(paths.REPORT, page.render(page.context(settings, results)))
    print(f"{paths.REPORT}: open it in a browser")


if __name__ == "__main__":
    run(main)
