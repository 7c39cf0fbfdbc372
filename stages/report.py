"""The report page: the verdict, the tables, the pictures and the mistakes in one file that needs no network."""

from src.core.design import CELLS, QUESTION
from src.report import page
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings) -> None:
    compared = files.read_json(paths.metrics("compare"))["compare"]
    first, second = page.question(compared)
    predictions = (
        files.read_arrays(paths.predictions(QUESTION[0]) / f"{first}.npz"),
        files.read_arrays(paths.predictions(QUESTION[1]) / f"{second}.npz"),
    )
    shown = ["reliability"] + ["by_frequency"] * ("by_frequency" in compared)
    found = page.context(
        settings=settings.model_dump(),
        compared=compared,
        cells=[files.read_json(paths.metrics(paths.cell_name(cell))) for cell in CELLS],
        tuned=files.read_json(paths.metrics("tune")),
        classes=files.read_json(paths.SUBSET / "classes.json"),
        predictions=predictions,
        raw=files.read_array(paths.RAW / "test_images.npy"),
        pictures={name: files.read_bytes(paths.plots("compare") / f"{name}.png") for name in shown},
        robustness=files.read_json(paths.metrics("robustness")).get("robustness"),
    )
    files.write_text(paths.REPORT, page.render(found))
    print(f"{paths.REPORT}: open it in a browser")


if __name__ == "__main__":
    run(main)
