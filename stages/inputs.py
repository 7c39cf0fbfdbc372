"""Fingerprint the inputs outside of the repository: image folders and files of weights. Check the settings.

This stage runs at every `dvc repro`, before all others. It notices files that changed without DVC's knowledge, and
refuses bad settings before any good output is removed. It imports nothing heavy, except for architectures that do not
take images of every size, and for versions of weights.
"""

from pathlib import Path

from src.core import git
from src.core.errors import UserError
from src.data import classes, folders
from src.nets import weights, zoo
from src.settings.backbones import every, setting
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def given(setting: str, path: str, *parts: str) -> Path:
    """A path of the settings, which must not lead to what the pipeline makes itself; nor must parts of the folder.

    Args:
        setting: for people, with its value.
    """
    try:
        found = paths.from_root(path)
    except UserError as error:
        raise UserError(f"{setting}: {error}") from None
    paths.require_outside(setting, found, *(found / part for part in parts))
    return found


def image_folder(settings: Settings) -> Path:
    """The root of the images of the dataset `folder`, of which splits and classes may be links; `.` for others."""
    if settings.folder is None or settings.dataset != "folder":
        return Path()
    setting = f"folder = {settings.folder}"
    root = given(setting, settings.folder, "train", "test", "val")
    within = [path for split in folders.SPLITS for path in folders.split_folder(root, split).glob("*/")]
    paths.require_outside(setting, *(path for path in within if path.is_symlink()))
    return root


def main(settings: Settings) -> None:
    git.require_readable()
    root = image_folder(settings)
    names = classes.class_names(settings.dataset, root)
    chosen = classes.choose(settings.classes, names, settings.subset_seed, classes.superclasses(settings.dataset))
    base, count = settings.compare.base_classes, len(chosen)
    if base > count:
        raise UserError(f"compare.base_classes = {base}: the subset has {count} classes; allowed are 2 to {count}")
    backbones = every(settings.backbones, settings.resnet, settings.convnext)
    for backbone in backbones.values():
        zoo.require_size(backbone.arch, settings.image_size)
    corrupted = settings.robustness.corrupted
    if settings.robustness.enabled and corrupted:
        folder = given(f"robustness.corrupted = {corrupted}", corrupted)
        if not folder.is_dir():
            raise UserError(f"robustness.corrupted = {corrupted}: there is no such folder; null corrupts here")
    hashes = {}
    for name, each in backbones.items():
        path = given(setting(name, each), each.weights) if weights.is_file(each.weights) else None
        hashes[name] = weights.fingerprint(setting(name, each), each.arch, each.weights, path)
    files.write_json(paths.WEIGHT_INPUTS, hashes)
    images: dict = {"dataset": settings.dataset}
    if settings.dataset == "folder":
        listing, signatures = folders.scan(root)
        digest = folders.digest(root, listing, signatures, paths.downloads() / "folder.json")
        images |= {"sha256": digest, "listing": listing}
    files.write_json(paths.IMAGE_INPUTS, images)


if __name__ == "__main__":
    run(main)
