"""Choose the subset: images and new labels for training, validation and testing."""

from src.core import seeds
from src.data.classes import choose, superclasses
from src.prepare.subset import choose_images
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings) -> None:
    names = files.read_json(paths.RAW / "classes.json")
    chosen = choose(settings.classes, names, settings.subset_seed, superclasses(settings.dataset))
    classes = [names[label] for label in chosen]
    arrays = choose_images(
        files.read_array(paths.RAW / "train_labels.npy"),
        files.read_array(paths.RAW / "test_labels.npy"),
        chosen,
        classes,
        settings.prepare,
        seeds.generator(settings.seed, "split"),
    )
    files.write_arrays(paths.SUBSET / "subset.npz", **arrays)
    files.write_json(paths.SUBSET / "classes.json", classes)
    train, val, test = (len(arrays[f"{part}_index"]) for part in ("train", "val", "test"))
    print(f"{len(classes)} classes: {train:,} training, {val:,} validation, {test:,} test images")


if __name__ == "__main__":
    run(main)
