"""One line as a stage begins: which of all stages it is, its share of the work, and about how long the rest will take.

The work is counted in images, see `settings.work`. The pace is that of the search, or else of a training or embedding,
by the records in this workspace, those of this run or of the last one. Without any, the line has the number of the
stage alone. The first record decides, so that the share never falls from one stage to the next.
"""

import json
import os
from collections.abc import Iterator, Mapping

from src.core.design import QUESTION, ROLES
from src.settings.settings import Settings
from src.settings.work import Images, Passes, Work, work
from src.storage import paths
from stages import pipeline

# Seconds that a stage takes besides its images, by its module: starting, timing, drawing and what DVC does around it,
# rounded from metrics/profile.json. Of the others it is one.
FIXED = {"tune": 4.0, "finetune": 4.0, "embed": 3.0, "evaluate": 8.0, "compare": 3.0}
STEP = 3  # forward passes that take as long as a step of training


def say(stage: str | None, settings: Settings) -> None:
    """Print the line, unless nobody watches: `CI=true`."""
    if stage and os.environ.get("CI", "").lower() not in ("1", "true"):
        print(line(stage, settings), flush=True)


def line(stage: str, settings: Settings) -> str:
    """`stage 5 of 16, 12 % of the work is done, about 2 minutes left`."""
    import humanize  # which `inputs`, at every `dvc repro`, has no use for

    commands = {name: entry["cmd"] for name, entry in pipeline.pipeline()["stages"].items()}
    before = list(commands).index(stage)
    text = f"stage {before + 1} of {len(commands)}"
    paces = {role: pace for role in ROLES if (pace := next(paces_of(role), 0.0))}
    images = read_images(settings) if paces else None
    if images is None:
        return text
    todo = work(settings, images)
    parts = [seconds(command, settings, todo, paces) for command in commands.values()]
    left = humanize.precisedelta(max(1.0, sum(parts[before:])), minimum_unit=unit(sum(parts[before:])), format="%.0f")
    more = ", not counting robustness" if settings.robustness.enabled else ""
    return f"{text}, {sum(parts[:before]) / sum(parts):.0%} of the work is done, about {left} left{more}"


def unit(seconds: float) -> str:
    """That of a duration for people."""
    return "seconds" if seconds < 60 else "minutes"


def seconds(command: str, settings: Settings, todo: Work, paces: Mapping[str, float]) -> float:
    """How long the stage with a command takes.

    Args:
        todo: the work of one backbone.
        paces: seconds of one image's forward pass, by role.
    """
    _, _, module, *words = command.split()
    kind, role = module.removeprefix("stages."), words[0] if words else ""
    column = words[1] if words[1:] else {"finetune": "finetuned", "embed": "frozen"}.get(kind)
    if column and not settings.controls and f"{role}.{column}" not in QUESTION:
        return 1.0
    search, finetune = passes(todo.search), passes(todo.finetune)
    images = {
        "tune": search * (len(ROLES) if settings.controls else 1),
        "finetune": finetune,
        "embed": todo.embed,
        "evaluate": todo.test if column == "finetuned" else 0,
        "backbones": further() * (search + finetune + todo.embed + todo.test),
    }
    pace = paces.get(role) or sum(paces.values()) / len(paces)
    return FIXED.get(kind, 1.0) + images.get(kind, 0) * pace


def passes(part: Passes) -> int:
    """Trainings as forward passes."""
    return STEP * part.train + part.watch


def further() -> int:
    """How many backbones there are beside the two roles."""
    return sum(1 for _ in (paths.DATA / "weights" / paths.FURTHER).glob("*.safetensors"))


def read_images(settings: Settings) -> Images | None:
    """The images of the experiment; None before they were chosen."""
    import numpy as np  # which the first stages do not need

    try:
        subsets = [dict(np.load(paths.subset(seed))) for seed in settings.seeds]
    except (OSError, ValueError):
        return None
    train, val, test = (len(subsets[0][f"{part}_index"]) for part in ("train", "val", "test"))
    read = np.unique(np.concatenate([subset[f"{part}_index"] for subset in subsets for part in ("train", "val")]))
    return Images(train, val, test, len(read) + test)


def paces_of(role: str) -> Iterator[float]:
    """The seconds of one image's forward pass, by every record of a backbone that is here."""
    for name in ("tune", f"finetune_{role}", f"embed_{role}"):
        try:
            record = json.loads(paths.record(name).read_bytes())
        except (OSError, ValueError):  # the stage did not run yet, or was killed
            continue
        trainings = [record.get("backbones", {}).get(role)]
        trainings += [training for methods in record.get("seeds", {}).values() for training in methods.values()]
        for training in filter(None, trainings):
            yield training["train_seconds"] / (STEP * training["images"])
        if per_second := record.get("images_per_second"):
            yield 1 / per_second
