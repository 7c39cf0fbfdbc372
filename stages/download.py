"""Bring the images of any dataset into two arrays of images and two of labels."""

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
    with decoding_state(settings) as state:
        for name, split in splits.items():
            split.write(paths.RAW / f"{name}_images.npy", state.part(name))
            files.write_array(paths.RAW / f"{name}_labels.npy", [split.labels], split.labels.shape, "int64")
            print(f"{name}: {len(split.labels):,} images of {split.shape[1]} x {split.shape[0]} pixels")
        names = inputs["listing"]["train"] if "listing" in inputs else classes.class_names(settings.dataset, root)
        files.write_json(paths.RAW / "classes.json", list(names))


def decoding_state(settings: Settings) -> AbstractContextManager[StateFile]:
    """The state of decoding a folder of images; disabled for other datasets, which are read at once."""
    if settings.dataset != "folder":
        return nullcontext(StateFile())
    from src.data import decode

    # The list of images is not part of the key: `resume.fill_rows` compares the decoded ones, and if one was replaced,
    # only those before it are kept.
    return saved_state("download", settings, decode.machine(), apart=[str(paths.IMAGE_INPUTS)])


if __name__ == "__main__":
    run(main)
