"""The subset: which images, under which new labels, for training, validation and testing."""

from src import files, seeds, subsets
from src.classes import choose
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    names = files.read_json(files.RAW / "classes.json")
    chosen = choose(settings.classes, names, settings.subset_seed)
    classes = [names[label] for label in chosen]
    train_index, train_labels = subsets.relabel(files.read_array(files.RAW / "train_labels.npy"), chosen)
    test_index, test_labels = subsets.relabel(files.read_array(files.RAW / "test_labels.npy"), chosen)
    subsets.require(train_labels, classes, 2, "training")
    subsets.require(test_labels, classes, 1, "test")
    rng = seeds.generator(settings.seed, "split")
    train, val = subsets.split(train_labels, rng=rng, **settings.prepare.model_dump())
    files.write_arrays(
        files.SUBSET / "subset.npz",
        train_index=train_index[train],
        train_labels=train_labels[train],
        val_index=train_index[val],
        val_labels=train_labels[val],
        test_index=test_index,
        test_labels=test_labels,
    )
    files.write_json(files.SUBSET / "classes.json", classes)
    print(f"{len(classes)} classes: {len(train):,} training, {len(val):,} validation, {len(test_index):,} test images")


if __name__ == "__main__":
    run(main)
