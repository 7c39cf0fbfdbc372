"""How long an experiment will take on this machine, from a few timed steps of its own networks.

It counts what the networks do: embedding, the search, every training with what is measured after each epoch, and the
test images. Reading images, fitting read-outs and drawing come on top.
"""

from collections.abc import Sequence

import humanize
from accelerate import Accelerator

from src.bench.throughput import EMBEDDING, TRAINING
from src.bench.workload import Workload
from src.core import design
from src.core.errors import UserError
from src.data import classes as known
from src.device import runtime
from src.nets import inference
from src.settings.backbones import every
from src.settings.settings import Settings, load
from src.settings.work import Work, expected, work
from src.storage import paths

STEPS = 3  # timed, after as many that are not

# Images of a class for training and testing, of data sets that need not be read for it.
SIZES = {"cifar10": (5000, 1000), "cifar100": (500, 100), "cifar100_coarse": (2500, 500), "digits": (144, 36)}


def sizes(settings: Settings) -> tuple[int, int]:
    """Training images of a class, and test images of a class.

    Raises:
        UserError: a folder has no images.
    """
    if settings.dataset in SIZES:
        return SIZES[settings.dataset]
    root = paths.from_root(settings.folder or ".")
    names = known.class_names("folder", root)
    counts = [sum(1 for path in (root / part).rglob("*") if path.is_file()) for part in ("train", "test", "val")]
    if not counts[0]:
        raise UserError(f"folder = {settings.folder}: no image in train/")
    return counts[0] // len(names), (counts[1] or counts[2]) // len(names)


def seconds(settings: Settings, arch: str, work: Work, parts: set[str], accelerator: Accelerator) -> float:
    """The time of one backbone's share, from the pace of `STEPS` batches.

    Args:
        parts: `frozen`, `finetuned`, or both.
    """
    pace: dict[str, float] = {}
    embedded = inference.batch_size(settings.image_size, accelerator.device)
    for kind, ways, size in (("train", TRAINING, settings.finetune.batch_size), ("embed", EMBEDDING, embedded)):
        way = ways["this"](Workload(arch, settings.image_size, size, settings.finetune.at(arch), accelerator))
        way(STEPS)
        pace[kind] = way(STEPS) / (STEPS * size)
    total = work.embed * pace["embed"] if "frozen" in parts else 0.0
    if "finetuned" in parts:
        train, watch = (getattr(work.search, part) + getattr(work.finetune, part) for part in ("train", "watch"))
        total += train * pace["train"] + (watch + work.test) * pace["embed"]
    return total


def about(seconds: float) -> str:
    """A duration in minutes and hours: `about 1 hour and 5 minutes`."""
    return f"about {humanize.precisedelta(max(60.0, seconds), minimum_unit='minutes', format='%.0f')}"


def main(words: Sequence[str]) -> None:
    """Time a few steps of each backbone, and print how long the experiment of params.yaml will take here.

    Raises:
        UserError: there are arguments, or a setting is wrong.
    """
    if words:
        raise UserError(f"{words[0]}: `python -m src.bench estimate` has no options; it reads params.yaml")
    settings = load()
    per_backbone, total = work(settings, expected(settings, *sizes(settings))), 0.0
    accelerator = runtime.start(settings.device, settings.precision)
    for role, backbone in every(settings.backbones, settings.resnet, settings.convnext).items():
        question = {cell.split(".")[1] for cell in design.QUESTION if cell.startswith(f"{role}.")}
        parts = {"frozen", "finetuned"} if settings.controls else question
        needed = seconds(settings, backbone.arch, per_backbone, parts, accelerator)
        total += needed
        print(f"{backbone.name}, {' and '.join(sorted(parts))}: {about(needed)}", flush=True)
    count = len(settings.seeds)
    print(
        f"networks of {count} seed{'s' * (count > 1)} on this machine: {about(total)}; reading, fitting and drawing "
        "come on top; what DVC has in its cache, and images that were embedded before, take no time"
    )
