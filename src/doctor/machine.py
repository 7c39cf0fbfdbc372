"""Versions, the device and the room on the disk."""

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import humanize
from packaging.requirements import Requirement

from src.bench import estimate
from src.core import design
from src.device import runtime
from src.doctor.finding import Finding
from src.nets import models
from src.nets.architectures import LITE
from src.settings.backbones import Backbone, every
from src.settings.settings import Settings
from src.settings.work import expected
from src.storage import paths, rows

SHOWN = ("torch", "torchvision", "dvc")
FLOAT = 4  # bytes
# Pixels of an image, of data sets that need not be read for it.
PIXELS = {"cifar10": 32**2, "cifar100": 32**2, "cifar100_coarse": 32**2, "digits": 8**2}
# What a training saves beside its weights: the best ones so far, and two moments of each.
STATE = 4


def versions(requirements: Path = Path("requirements.txt")) -> Iterator[Finding]:
    """Python and the packages, which must be those that are required."""
    found = [f"python {platform.python_version()}"]
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    for required in (Requirement(line) for line in lines if line and not line.startswith("-")):
        try:
            installed = version(required.name)
        except PackageNotFoundError:
            installed = "none"
        if required.name in SHOWN:
            found.append(f"{required.name} {installed}")
        if installed == "none" or not required.specifier.contains(installed, prereleases=True):
            line = f"{required.name} {installed} is installed, required is {required}; pip install -r {requirements}"
            yield Finding("versions", line, fault=True)
    yield Finding("versions", ", ".join(found))


def device(settings: Settings) -> Iterator[Finding]:
    """The device of the settings, and whether it has instructions for their precision.

    Raises:
        UserError: it is not there, or a variable of the environment stands against it.
    """
    machine = runtime.machine(runtime.start(settings.device, settings.precision))
    kind, precision = str(machine["device"]), machine["precision"]
    unused = kind == "cpu" and settings.device == "auto" and shutil.which("nvidia-smi") is not None
    line = f"{kind}, {machine['processor']}, {machine['threads']} threads"
    if unused:
        line += f"; torch {version('torch')} cannot use the NVIDIA GPU that is here: update its driver, or install"
        line += " torch for the CUDA version that nvidia-smi prints"
    yield Finding("device", line, fault=unused)
    bf16 = "of unknown speed" if kind == "mps" else "fast" if runtime.has_bf16(kind) else "slow"
    fast = bf16 if precision == "bf16" else "fast"
    other = "" if precision == "bf16" else f"; bf16 would be {bf16}"
    yield Finding("precision", f"{precision} of training, which is {fast} here{other}")


def disk(settings: Settings, link: str) -> Iterator[Finding]:
    """The room where data and DVC's cache lie, against what a run writes.

    Args:
        link: how DVC puts files of its cache into the workspace; as copies, all takes the room twice.
    """
    here = paths.DATA
    needed, there = needs(settings), sum(size(folder) for folder in paths.WRITTEN)
    more = max(0, needed * (2 if link in ("copy", "") else 1) - there)
    for folder in {_disk(path): path for path in (rows.folder().parent, here)}.values():
        free = shutil.disk_usage(_existing(folder)).free
        line = f"{_shown(free)} are free for {folder}, and a run of params.yaml needs up to about {_shown(more)} more"
        if free < more:
            line += "; make room, or put DVC's cache on another disk: dvc cache dir --local <folder>"
        yield Finding("disk", line, fault=free < more)


def needs(settings: Settings) -> int:
    """About how many bytes a run writes: images, weights, checkpoints and the state of a training, features."""
    train, test = estimate.sizes(settings)
    classes = settings.classes if isinstance(settings.classes, int) else len(settings.classes)
    pixels = PIXELS.get(settings.dataset, settings.download.max_side**2)
    written = classes * (train + test) * pixels * 3
    embedded = expected(settings, train, test).embed
    for role, backbone in every(settings.backbones, settings.resnet, settings.convnext).items():
        written += _needs_of(settings, role, backbone, embedded)
    return written


def _needs_of(settings: Settings, role: str, backbone: Backbone, embedded: int) -> int:
    """What the stages of one backbone write."""
    model = models.build(backbone.arch, 1000, 0, settings.image_size)
    weights = models.parameters(model) * FLOAT
    alone = backbone.weights == "random" or backbone.arch in LITE
    written = weights if alone else 2 * weights  # as they were fetched, and as they are kept
    if settings.controls or f"{role}.finetuned" in design.QUESTION:
        written += weights * (STATE + len(settings.seeds) * len(settings.finetune.methods))
    if settings.controls or f"{role}.frozen" in design.QUESTION:
        written += 2 * embedded * models.feature_width(model) * FLOAT  # for the experiment, and for all others
    return written


def size(folder: Path) -> int:
    """The bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _disk(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _shown(size: int) -> str:
    return humanize.naturalsize(size, binary=False, format="%.1f")
