"""What the experiment reads from outside the repository, fingerprinted: image folders and files of weights.

It runs at every `dvc repro`, before everything else: it notices files that changed behind DVC's back, and refuses bad
settings before any good output is removed. So it imports nothing heavy, but where an architecture is named that does
not take images of every size.
"""

from src.core.errors import UserError
from src.data import classes, folders
from src.nets import weights, zoo
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
    for arch in (settings.resnet.arch, settings.convnext.arch):
        zoo.require_size(arch, settings.image_size)
    corrupted = settings.robustness.corrupted
    if settings.robustness.enabled and corrupted and not paths.from_root(corrupted).is_dir():
        raise UserError(f"robustness.corrupted = {corrupted}: there is no such folder; null corrupts here")
    named = {"resnet": settings.resnet.weights, "convnext": settings.convnext.weights}
    prints = {role: weights.fingerprint(role, given, paths.from_root(given)) for role, given in named.items()}
    files.write_json(paths.WEIGHT_INPUTS, prints)
    images: dict = {"dataset": settings.dataset}
    if settings.dataset == "folder":
        listing, signatures = folders.scan(root)
        digest = folders.digest(root, listing, signatures, paths.downloads() / "folder.json")
        images |= {"sha256": digest, "listing": listing}
    files.write_json(paths.IMAGE_INPUTS, images)


if __name__ == "__main__":
    run(main)
