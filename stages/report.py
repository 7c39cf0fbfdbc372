"""The report page: the verdict, the tables, the pictures and the mistakes in one file that needs no network."""

from src import files, report
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    compared = files.read_json(files.COMPARE_METRICS)["compare"]
    first, second = report.question(compared)
    predictions = (
        files.read_arrays(files.RESNET_PREDICTIONS / f"{first}.npz"),
        files.read_arrays(files.CONVNEXT_PREDICTIONS / f"{second}.npz"),
    )
    shown = ["reliability"] + ["by_frequency"] * ("by_frequency" in compared)
    found = report.context(
        settings=settings.model_dump(),
        compared=compared,
        cells=[
            files.read_json(files.RESNET_METRICS),
            files.read_json(files.RESNET_FROZEN_METRICS),
            files.read_json(files.CONVNEXT_FINETUNED_METRICS),
            files.read_json(files.CONVNEXT_METRICS),
        ],
        tuned=files.read_json(files.TUNE_METRICS),
        classes=files.read_json(files.SUBSET / "classes.json"),
        predictions=predictions,
        raw=files.read_array(files.RAW / "test_images.npy"),
        pictures={name: files.read_bytes(files.COMPARE_PLOTS / f"{name}.png") for name in shown},
        robustness=files.read_json(files.ROBUSTNESS_METRICS).get("robustness"),
    )
    files.write_text(files.REPORT, report.render(found))
    print(f"{files.REPORT}: open it in a browser")


if __name__ == "__main__":
    run(main)
