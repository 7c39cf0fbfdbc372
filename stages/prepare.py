"""Choose the subset under every seed: images and new labels for training, validation and testing."""

from src.core import seeds
from src.data.classes import choose, superclasses
from src.prepare.subset import choose_images
from src.settings.settings import Settings
from src.storage import files, paths, raw
from stages import run


def main(settings: Settings) -> None:
    names = raw.classes()
    chosen = choose(settings.classes, names, settings.subset_seed, superclasses(settings.dataset))
    classes = [names[label] for label in chosen]
    labels = [raw.labels(split) for split in ("train", "test")]
    drop = settings.prepare.without_duplicates
    without = raw.duplicates()["train"] if drop else ()
    for seed in settings.seeds:
        rng = seeds.generator(seed, "split")
        arrays = choose_images(labels[0], labels[1], chosen, classes, settings.prepare, rng, without)
        files.write_arrays(paths.subset(seed), **arrays)
    files.write_json(paths.CLASSES, classes)
    train, val, test = (len(arrays[f"{part}_index"]) for part in ("train", "val", "test"))
    print(f"{len(classes)} classes: {train:,} training, {val:,} validation, {test:,} test images")


if __name__ == "__main__":
    run(main)
