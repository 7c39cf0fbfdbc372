"""The images as two arrays of bytes and two of labels, whatever they came as."""

from src import classes, datasets, files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    inputs = files.read_json(files.IMAGE_INPUTS)
    root = files.from_root(settings.folder or ".")
    if settings.dataset == "folder":
        splits = datasets.folder(root, inputs["listing"], max_side=settings.download.max_side)
    elif settings.dataset == "digits":
        splits = datasets.digits()
    else:
        splits = datasets.cifar(settings.dataset, files.downloads())
    for name, split in splits.items():
        shape = (len(split.labels), *split.shape, 3)
        files.write_array(files.RAW / f"{name}_images.npy", split.images, shape, "uint8")
        files.write_array(files.RAW / f"{name}_labels.npy", [split.labels], split.labels.shape, "int64")
        print(f"{name}: {len(split.labels):,} images of {split.shape[1]} x {split.shape[0]} pixels")
    files.write_json(files.RAW / "classes.json", classes.class_names(settings.dataset, root))


if __name__ == "__main__":
    run(main)
