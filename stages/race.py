"""Time to the accuracy that the plain recipe ends with, by this project: not a stage.

    dvc repro download weights
    python -m stages.race --classes 2 5 10 --seeds 0 1 2 3 4

Images, image size, the share held out and the starting weights (those of `resnet`) are those of params.yaml. Three ways
are run one after the other under every seed: the plain recipe; the report's recipe by this project, which should be as
accurate; and the fast recipe until it has reached the plain one's accuracy on validation images. Writes
metrics/race.json.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from src import files, race, runtime, seeds, subsets
from src.classes import choose
from src.finetuning import new_model
from src.images import view
from src.params import Settings
from src.race import Course
from stages import run


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.race", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 5, 10], help="each K, for the first K classes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", type=int, help="of all classes together, so that every K takes as long; else all")
    return parser.parse_args(words)


def courses(settings: Settings, classes: int, wanted: Sequence[int], images_in_all: int | None) -> Iterator[Course]:
    """One course for each seed."""
    names = files.read_json(files.RAW / "classes.json")
    chosen = choose(classes, names)
    images, labels = (
        {split: files.read_array(files.RAW / f"{split}_{kind}.npy") for split in ("train", "test")}
        for kind in ("images", "labels")
    )
    _, origin = files.read_tensors(files.RESNET_WEIGHTS)
    for seed in wanted:
        subset = subsets.subset(
            labels["train"],
            labels["test"],
            chosen,
            [names[label] for label in chosen],
            rng=seeds.generator(seed, "split"),
            val_fraction=settings.prepare.val_fraction,
            per_class=images_in_all // classes if images_in_all else settings.prepare.per_class,
        )
        seen = view(origin["arch"], settings.image_size)
        accelerator = runtime.start(settings.device, settings.precision)
        yield Course(images["train"], images["test"], subset, seen, seed, accelerator)


def main(settings: Settings, words: Sequence[str]) -> None:
    arguments = parse(words)
    weights = files.read_tensors(files.RESNET_WEIGHTS)
    report = {}
    for classes in arguments.classes:
        finishes = []
        for course in courses(settings, classes, arguments.seeds, arguments.images):
            finishes.append(race.run(partial(new_model, weights, classes, course.seed, course.view.size), course))
            print(race.line(f"{classes} classes, seed {course.seed}", finishes[-1]), flush=True)
        report[f"{classes} classes"] = race.summary(finishes)
    files.write_json(
        files.RACE_METRICS,
        {
            "race": report,
            "recipes": [{"plain": race.PLAIN, "fast": race.FAST}],
            "environment": runtime.environment(runtime.start(settings.device, settings.precision)),
        },
    )
    print(f"{files.RACE_METRICS}")


if __name__ == "__main__":
    run(lambda settings: main(settings, sys.argv[1:]))
