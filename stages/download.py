"""Bring the images of any dataset into two arrays of images and two of labels, and find images that are in both."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from src.data import classes, duplicates, folders, sources
from src.data.survey import plain_classes, repeats, survey
from src.settings.settings import Settings
from src.storage import files, paths, raw
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
            split.write(raw.images_path(name), state.part(name))
            files.write_array(raw.labels_path(name), [split.labels], split.labels.shape, "int64")
            print(f"{name}: {len(split.labels):,} images of {split.shape[1]} x {split.shape[0]} pixels")
        names = inputs["listing"]["train"] if "listing" in inputs else classes.class_names(settings.dataset, root)
        files.write_json(raw.CLASSES, list(names))
    train, test = (survey(raw.images_path(split)) for split in folders.SPLITS)
    named = namer(settings, inputs)
    found = duplicates.find(settings.dataset, train.digests, test.digests, named)
    files.write_json(raw.DUPLICATES, found)
    raw.write_sums()
    for line in found["said"]:
        print(f"{line}; prepare.without_duplicates=true leaves the training images out")
    for name, looked_at in zip(folders.SPLITS, (train, test), strict=True):
        labels = splits[name].labels
        for line in (
            *plain_classes(name, looked_at.one_colour, labels, list(names)),
            *repeats(name, looked_at.digests, labels, named),
        ):
            print(line)


def namer(settings: Settings, inputs: dict) -> Callable[[str, int], str]:
    """The name of the image of a split at a position: its file below the folder, or `train[7]`."""
    if settings.dataset != "folder":
        return lambda split, position: f"{split}[{position}]"
    root = paths.from_root(settings.folder or ".")

    @cache
    def listed(split: str) -> list[str]:
        return [path.relative_to(root).as_posix() for path in folders.paths(root, inputs["listing"], split)]

    return lambda split, position: listed(split)[position]


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
