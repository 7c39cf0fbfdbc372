"""The images as two arrays of bytes and two of labels, whatever they came as."""

from contextlib import AbstractContextManager, nullcontext

from src.data import classes, sources
from src.settings.settings import Settings
from src.storage import files, paths
from src.storage.resume import StateFile
from stages import run, saved_state


def main(settings: Settings) -> None:
    inputs = files.read_json(paths.IMAGE_INPUTS)
    root = paths.from_root(settings.folder or ".")
    if settings.dataset == "folder":
        splits = sources.folder(root, inputs["listing"], max_side=settings.download.max_side)
    elif settings.dataset == "digits":
        splits = sources.digits()
    else:
        splits = sources.cifar(settings.dataset, paths.downloads())
    with kept(settings) as place:
        for name, split in splits.items():
            split.write(paths.RAW / f"{name}_images.npy", place.part(name))
            files.write_array(paths.RAW / f"{name}_labels.npy", [split.labels], split.labels.shape, "int64")
            print(f"{name}: {len(split.labels):,} images of {split.shape[1]} x {split.shape[0]} pixels")
        names = inputs["listing"]["train"] if "listing" in inputs else classes.class_names(settings.dataset, root)
        files.write_json(paths.RAW / "classes.json", list(names))


def kept(settings: Settings) -> AbstractContextManager[StateFile]:
    """Where the decoded images of a folder are kept until all are there. Other datasets are there at once."""
    if settings.dataset != "folder":
        return nullcontext(StateFile())
    from src.data import decode

    # Of the images `rows.fill` compares those that were decoded: one that is replaced costs what comes after it alone.
    return saved_state("download", settings, decode.machine(), apart=[str(paths.IMAGE_INPUTS)])


if __name__ == "__main__":
    run(main)
