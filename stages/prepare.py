"""The subset: which images, under which new labels, for training, validation and testing."""

from src import files, seeds, subsets
from src.classes import choose, superclasses
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    names = files.read_json(files.RAW / "classes.json")
    chosen = choose(settings.classes, names, settings.subset_seed, superclasses(settings.dataset))
    classes = [names[label] for label in chosen]
    subset = subsets.subset(
        files.read_array(files.RAW / "train_labels.npy"),
        files.read_array(files.RAW / "test_labels.npy"),
        chosen,
        classes,
        rng=seeds.generator(settings.seed, "split"),
        **settings.prepare.model_dump(),
    )
    files.write_arrays(files.SUBSET / "subset.npz", **subset)
    files.write_json(files.SUBSET / "classes.json", classes)
    train, val, test = (len(subset[f"{part}_index"]) for part in ("train", "val", "test"))
    print(f"{len(classes)} classes: {train:,} training, {val:,} validation, {test:,} test images")


if __name__ == "__main__":
    run(main)
