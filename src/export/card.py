"""The model card, README.md with its head of YAML, and config.json: the layout of the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.core import design
from src.export import sources
from src.export.network import Exported
from src.export.programs import Check
from src.nets import models
from src.predict.arm import Arm
from src.records.evaluate import Evaluation
from src.report import format, page
from src.settings.settings import Settings
from src.storage import files, paths

TEMPLATES = Path(__file__).with_name("templates")
WORST = 20  # classes in the table at most


@dataclass(frozen=True)
class Made:
    """What a folder is made of.

    Args:
        side: of the images that the programs take, in pixels.
        checks: of all that the folder holds.
    """

    arm: Arm
    exported: Exported
    settings: Settings
    side: int
    checks: list[Check]

    @property
    def name(self) -> str:
        """What people may call the repository on the hub: `resnet18-cifar10-10`."""
        return f"{design.short_name(self.exported.arch)}-{self.settings.dataset}-{len(self.arm.classes)}"


def config(exported: Exported, arm: Arm) -> dict[str, Any]:
    """The content of config.json, as timm reads it; of other libraries' networks, for people."""
    size, model = exported.view.size, exported.model
    fixed = bool(getattr(model, "pretrained_cfg", {}).get("fixed_input_size", False))
    return {
        "architecture": exported.timm_name or exported.arch,
        "num_classes": len(arm.classes),
        "num_features": models.feature_width(model),
        "label_names": arm.classes,
        **({"model_args": {"img_size": size}} if fixed else {}),
        "pretrained_cfg": {
            "tag": arm.name.replace(".", "_"),
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": fixed,
            "interpolation": exported.view.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(exported.view.mean),
            "std": list(exported.view.std),
            "num_classes": len(arm.classes),
            "classifier": models.head_name(model),
        },
    }


def render(made: Made) -> str:
    """The text of README.md."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - it is Markdown; `text` escapes what comes from outside
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= format.FILTERS | {"text": text}
    body = environment.get_template("card.md").render(variables(made))
    return f"---\n{yaml.safe_dump(head(made), sort_keys=False, allow_unicode=True)}---\n{body}"


def text(value: object) -> str:
    """A name in Markdown, also in a table: on one line, without marks."""
    escaped = format.cut(value, 80).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in escaped)


def head(made: Made) -> dict[str, Any]:
    """The metadata that the hub reads."""
    arm, exported = made.arm, made.exported
    quality, data = arm.quality(), sources.dataset(made.settings)
    licence = sources.weights(exported.arch, exported.weights, weights_hash(arm)).licence
    metrics = [("accuracy", quality.accuracy.value), ("f1", evaluation(arm).macro_f1)]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": data.name, "type": data.hub or made.settings.dataset, "split": "test"},
        "metrics": [{"type": name, "value": round(value, 4)} for name, value in metrics],
    }
    return {
        **licence,
        "library_name": sources.library(exported),
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", *([sources.library(exported)] if exported.timm_name else []), "onnx"],
        **({"datasets": [data.hub]} if data.hub else {}),
        "metrics": [name for name, _ in metrics],
        "model-index": [{"name": made.name, "results": [result]}],
    }


def evaluation(arm: Arm) -> Evaluation:
    """That of the arm's only seed."""
    (found,) = arm.evaluations.values()
    return found


def weights_hash(arm: Arm) -> str | None:
    """The SHA-256 of the file that the backbone's weights came from, if the settings name a file."""
    return files.read_json(paths.WEIGHT_INPUTS).get(design.split(arm.name)[0])


def variables(made: Made) -> dict[str, Any]:
    """Those of the template."""
    arm, exported, settings = made.arm, made.exported, made.settings
    (seed,) = arm.seeds
    subset = files.read_arrays(paths.subset(seed))
    found = evaluation(arm)
    worst = sorted(found.per_class, key=lambda row: row.recall)[:WORST]
    by_name = {row.arm: row for row in arm.comparison.arms}
    return {
        "made": made,
        "arm": arm,
        "seed": seed,
        "exported": exported,
        "evaluation": found,
        "quality": arm.quality(),
        "all_seeds": by_name.get(arm.name),
        "temperature": arm.temperatures[0],
        "worst": worst,
        "data": sources.dataset(settings),
        "origin": sources.weights(exported.arch, exported.weights, weights_hash(arm)),
        "images": {part: len(subset[f"{part}_labels"]) for part in ("train", "val", "test")},
        "recipe": recipe(made),
        "loading": sources.loading(exported, len(arm.classes)),
        "level": f"{100 * arm.comparison.confidence:g}",
        "command": page.command(shareable(settings)),
        "machine": {name: value for name, value in found.environment.items() if name != "commit"},
        "commit": found.environment.get("commit"),
    }


def recipe(made: Made) -> str:
    """How the network was adapted, in words."""
    found, header = evaluation(made.arm), made.exported.header
    if not header:
        strength = "" if found.c is None else f", C = {found.c:g}, chosen on validation images"
        return f"The backbone was not trained. The read-out is {design.split(made.arm.name)[1]}{strength}."
    values = ", ".join(f"{name} {_plain(value)}" for name, value in header["recipe"].items() if value is not None)
    return f"Method {header['method']}, the weights of epoch {header['epoch']}; {values}."


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def shareable(settings: Settings) -> dict[str, Any]:
    """The settings without places on this machine: of files and folders only the names."""
    values = settings.model_dump()
    if values["folder"]:
        values["folder"] = "path/to/images"
    for role in design.ROLES:
        values[role]["weights"] = sources.plain_file(values[role]["weights"])
    return values
