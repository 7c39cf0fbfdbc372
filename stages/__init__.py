"""The stages of dvc.yaml. Each reads the settings, loads its inputs, calls one package of `src` and saves the result.

Stages of both backbones are one module with an argument: `python -m stages.finetune resnet`.
"""

import gc
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import UserError, one_line
from src.settings.settings import Settings, load
from src.storage import files, paths
from stages import pipeline, progress

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from src.device.prefetch import Images
    from src.storage.resume import StateFile

# Python imports this package before a stage. While the million objects of PyTorch are made, it would look through those
# that are there again and again for garbage, a sixth of the time that the import takes.
gc.set_threshold(50_000, 20, 100)


def run(main: Callable[..., None], *choices: tuple[str, ...]) -> None:
    """Run a stage with the settings and the arguments of the command line.

    Args:
        choices: for each argument, the allowed values.

    Raises:
        SystemExit: an argument is not allowed, or the stage raised an error that a user can correct; with one line.
    """
    with one_line():
        words = sys.argv[1:]
        usage = " ".join(f"<{'|'.join(allowed)}>" for allowed in choices)
        if len(words) != len(choices) or any(word not in allowed for word, allowed in zip(words, choices, strict=True)):
            module = Path(sys.argv[0]).stem
            raise UserError(
                f"{' '.join(words) or 'no argument'}: allowed is `python -m stages.{module} {usage}`".strip()
            )
        settings, stage = load(), pipeline.this_stage()
        first = os.environ.get("RANK", "0") == "0"  # of several processes, the first speaks and writes for all
        end_with_dvc()
        with alone("-".join([Path(sys.argv[0]).stem, *words])):
            if first:
                progress.say(stage, settings)
            main(settings, *words)
            if first:
                pipeline.complete_plots(stage)
    gc.freeze()  # otherwise Python looks through all objects once more before it ends, which takes half a second


def end_with_dvc() -> None:
    """Let the kernel send SIGTERM when the DVC that runs this stage ends: killed alone, it would leave the stage."""
    if "DVC_STAGE" in os.environ and sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait until no other process runs this stage in this folder, such as one that its killed DVC left.

    Of the processes of `torchrun`, the first waits.
    """
    from filelock import FileLock, Timeout

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder = paths.DATA / ".running"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process still runs this stage here; waiting until it has ended", flush=True)
        lock.acquire()
    with lock:
        yield


def raw_images(device: "torch.device") -> "dict[str, Images]":
    """The images of `data/raw`, by split: once in a process, for all its seeds, trials and backbones."""
    from src.finetune.batches import on_device
    from src.storage import raw

    return on_device({split: raw.images(split) for split in ("train", "test")}, device)


def start(settings: Settings, precision: str = "") -> "Accelerator":
    """The device, precision (by default that of training) and kind of networks of a stage, as the settings say."""
    from src.device import runtime  # PyTorch takes seconds to import
    from src.nets import specialised

    specialised.enable(settings.specialised)
    return runtime.start(settings.device, precision or settings.precision, deterministic=settings.deterministic)


def saved_state(
    stage: str, settings: Settings, machine: Mapping[str, Any], apart: Collection[str] = ()
) -> "AbstractContextManager[StateFile]":
    """Where a stage saves its state and resumes, see `resume.saved_state`; disabled for several processes.

    Args:
        machine: what the result depends on besides settings and inputs, such as `runtime.machine`.
        apart: dependencies that are not part of the key, because the stage itself compares them with its state.
    """
    from src.storage import resume  # numpy and file locks, which a stage that only looks at settings does not need

    enabled = settings.resume and machine.get("processes", 1) == 1
    return resume.saved_state(f"{stage}-{key(stage, settings, machine, apart)}" if enabled else None)


def kept_end(stage: str, settings: Settings, machine: Mapping[str, Any]) -> "StateFile":
    """Where the end of a training is kept for one of more epochs; disabled unless `finetune.extendable` is on."""
    from src.storage import resume

    if not settings.finetune.extendable or machine["processes"] > 1:
        return resume.StateFile()
    any_length = settings.finetune.model_copy(update={"epochs": 1})
    name = key(stage, settings.model_copy(update={"finetune": any_length}), machine)
    return resume.StateFile(resume.root() / f"end-{stage}-{name}")


def shared_features(settings: Settings) -> Path | None:
    """The folder of the features that experiments share; None where none are to be kept."""
    from src.storage import rows

    return rows.folder() if settings.resume else None


def key(stage: str, settings: Settings, machine: Mapping[str, Any], apart: Collection[str] = ()) -> str:
    """16 hexadecimal digits for all that decides a stage's result: its deps and params in dvc.yaml, and the machine."""
    entry = pipeline.pipeline()["stages"][stage]
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode())
    values = settings.model_dump(mode="json")
    params = {name: reduce(lambda part, word: part[word], name.split("."), values) for name in entry["params"]}
    digest.update(json.dumps(params, sort_keys=True).encode())
    for name in sorted(set(entry["deps"]) - {str(path) for path in apart}):
        for path in sorted(Path(name).rglob("*")) or [Path(name)]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path} {files.sha256(path)}".encode())
    return digest.hexdigest()[:16]
