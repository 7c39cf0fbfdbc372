"""Fingerprint the inputs outside of the repository: image folders and files of weights. Check the settings.

This stage runs at every `dvc repro`, before all others. It notices files that changed without DVC's knowledge, and
refuses bad settings before any good output is removed. It imports nothing heavy, except for architectures that do not
take images of every size, and for versions of weights.
"""

from src.core.errors import UserError
from src.data import classes, folders
from src.nets import weights, zoo
from src.settings.backbones import every, setting
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings) -> None:
    root = paths.from_root(settings.folder or ".")
    names = classes.class_names(settings.dataset, root)
    chosen = classes.choose(settings.classes, names, settings.subset_seed, classes.superclasses(settings.dataset))
    base, count = settings.compare.base_classes, len(chosen)
    if base > count:
        raise UserError(f"compare.base_classes = {base}: the subset has {count} classes; allowed are 2 to {count}")
    backbones = every(settings.backbones, settings.resnet, settings.convnext)
    for backbone in backbones.values():
        zoo.require_size(backbone.arch, settings.image_size)
    corrupted = settings.robustness.corrupted
    if settings.robustness.enabled and corrupted and not paths.from_root(corrupted).is_dir():
        raise UserError(f"robustness.corrupted = {corrupted}: there is no such folder; null corrupts here")
    hashes = {
        name: weights.fingerprint(setting(name, each), each.arch, each.weights, paths.from_root(each.weights))
        for name, each in backbones.items()
    }
    files.write_json(paths.WEIGHT_INPUTS, hashes)
    images: dict = {"dataset": settings.dataset}
    if settings.dataset == "folder":
        listing, signatures = folders.scan(root)
        digest = folders.digest(root, listing, signatures, paths.downloads() / "folder.json")
        images |= {"sha256": digest, "listing": listing}
    files.write_json(paths.IMAGE_INPUTS, images)


if __name__ == "__main__":
    run(main)
