"""The images as two arrays of bytes and two of labels, whatever they came as."""

from contextlib import AbstractContextManager, nullcontext

from src import classes, datasets, files, resuming
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
    with kept(settings) as place:
        for name, split in splits.items():
            split.write(files.RAW / f"{name}_images.npy", place.part(name))
            files.write_array(files.RAW / f"{name}_labels.npy", [split.labels], split.labels.shape, "int64")
            print(f"{name}: {len(split.labels):,} images of {split.shape[1]} x {split.shape[0]} pixels")
        names = inputs["listing"]["train"] if "listing" in inputs else classes.class_names(settings.dataset, root)
        files.write_json(files.RAW / "classes.json", list(names))


def kept(settings: Settings) -> AbstractContextManager[resuming.Place]:
    """Where the decoded images of a folder are kept until all are there. Other datasets are there at once."""
    if settings.dataset != "folder":
        return nullcontext(resuming.Place())
    from src import decoding

    # Of the images `rows.fill` compares those that were decoded: one that is replaced costs what comes after it alone.
    return resuming.place("download", settings, decoding.machine(), apart=[str(files.IMAGE_INPUTS)])


if __name__ == "__main__":
    run(main)
