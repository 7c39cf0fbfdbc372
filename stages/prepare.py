"""The subset: which images, under which new labels, for training, validation and testing."""

from src.core import seeds
from src.data.classes import choose, superclasses
from src.prepare import subset as prepare_subset
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings) -> None:
    names = files.read_json(paths.RAW / "classes.json")
    chosen = choose(settings.classes, names, settings.subset_seed, superclasses(settings.dataset))
    classes = [names[label] for label in chosen]
    subset = prepare_subset.subset(
        files.read_array(paths.RAW / "train_labels.npy"),
        files.read_array(paths.RAW / "test_labels.npy"),
        chosen,
        classes,
        rng=seeds.generator(settings.seed, "split"),
        **settings.prepare.model_dump(),
    )
    files.write_arrays(paths.SUBSET / "subset.npz", **subset)
    files.write_json(paths.SUBSET / "classes.json", classes)
    train, val, test = (len(subset[f"{part}_index"]) for part in ("train", "val", "test"))
    print(f"{len(classes)} classes: {train:,} training, {val:,} validation, {test:,} test images")


if __name__ == "__main__":
    run(main)
