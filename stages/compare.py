"""All arms on the same test images: a table, the differences with their intervals, and the report's own bar chart."""

from dataclasses import asdict
from typing import Any

import numpy as np

from src import compare, files, plots, seeds
from src.errors import UserError
from src.params import Settings
from stages import run


def read_arms(settings: Settings) -> tuple[dict[str, np.ndarray], dict[str, str], np.ndarray]:
    """The logits of every arm by its name in the metrics, the names for people, and the labels they share."""
    resnet = files.read_arrays(files.RESNET_PREDICTIONS)
    arms, titles = {"resnet": resnet["logits"]}, {"resnet": f"{settings.finetune.arch}, fine-tuned"}
    for name in settings.frozen.readouts:
        key = f"convnext_{name}"
        convnext = files.read_arrays(files.CONVNEXT_PREDICTIONS / f"{name}.npz")
        if not np.array_equal(convnext["index"], resnet["index"]):
            raise UserError(f"{key} and resnet were tested on different images; run `dvc repro -f`")
        arms[key] = convnext["logits"]
        titles[key] = f"{settings.frozen.arch}, frozen, {name.replace('_', ' ')}"
    return arms, titles, resnet["labels"]


def main(settings: Settings) -> None:
    arms, titles, labels = read_arms(settings)
    classes = files.read_json(files.SUBSET / "classes.json")
    confidence, base = settings.compare.confidence, settings.compare.base_classes
    found = compare.accuracies(arms, labels, confidence=confidence)
    basic = compare.accuracies(*compare.first_classes(arms, labels, base), confidence=confidence)
    seed = seeds.derive(settings.seed, "bootstrap")
    ahead = compare.lead(arms, labels, confidence=confidence, resamples=settings.compare.resamples, seed=seed)
    report: dict[str, Any] = {"n": len(labels), "resnet_lead": {name: asdict(value) for name, value in ahead.items()}}
    report["base_classes"] = {name: value.value for name, value in basic.items()}
    report["accuracy"] = [{"arm": name, "title": titles[name], **asdict(value)} for name, value in found.items()]
    files.write_json(files.COMPARE_METRICS, {"compare": report})

    named, basic = ({titles[name]: value for name, value in part.items()} for part in (found, basic))
    for name, part in (("arms", named), ("base_classes", basic)):
        rows = [(arm, value.value) for arm, value in part.items()]
        files.write_table(files.COMPARE_PLOTS / f"{name}.csv", ("arm", "accuracy"), rows)
    count = len(classes)
    title = f"{count} classes, {len(labels):,} test images"
    base_title = f"trained on {count} classes, tested on the first {base} alone"
    recall = {titles[name]: compare.recall(logits, labels) for name, logits in arms.items()}
    files.write_figure(files.COMPARE_PLOTS / "arms.png", plots.accuracies(named, title, 1 / count))
    files.write_figure(files.COMPARE_PLOTS / "base_classes.png", plots.accuracies(basic, base_title, 1 / count))
    files.write_figure(files.COMPARE_PLOTS / "per_class.png", plots.per_class(recall, classes, title))
    print(compare.render(named, {titles[name]: value for name, value in ahead.items()}, len(labels), confidence))


if __name__ == "__main__":
    run(main)
