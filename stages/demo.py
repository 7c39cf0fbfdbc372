"""The whole pipeline in a minute or two, without a network: not a stage, but a way to run all of them.

It works in a repository of its own, .demo, so that the settings, the lock file and the experiments of this one stay as
they are: scikit-learn's digits, EfficientNet-Lite0 fine-tuned against EfficientNet-Lite2 frozen, both with ImageNet
weights that came with their packages.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from src import files
from src.params import Settings

DEMO = Path(".demo")
SOURCES = (
    "src",
    "stages",
    "dvc.yaml",
    ".dvcignore",
    ".gitignore",
    "data/dvc.yaml",
    "data/.gitignore",
    "plots/.gitignore",
)
SETTINGS = {
    "dataset": "digits",
    "image_size": 64,  # at 32 pixels most of EfficientNet-Lite2's features are zero on these images
    # A mirrored digit is another sign, and 1,294 images make few steps of 64.
    "finetune": {
        "arch": "efficientnet_lite0",
        "epochs": 3,
        "batch_size": 32,
        "schedule": "one_cycle",
        "augment": False,
    },
    "frozen": {"arch": "efficientnet_lite2"},
}


def shell(*command: str) -> None:
    try:
        subprocess.run(command, cwd=DEMO, check=True, env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"})
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {' '.join(command)}: {error}; delete {DEMO} and try again")


def commit(message: str) -> None:
    who = ("user.name=demo", "user.email=demo@localhost", "commit.gpgsign=false")
    settings = [word for setting in who for word in ("-c", setting)]
    shell("git", "add", "--all")
    shell("git", *settings, "commit", "-q", "--allow-empty", "-m", message)


def main() -> None:
    for name in SOURCES:
        target = DEMO / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(name, target)
    (DEMO / "params.yaml").write_text(yaml.safe_dump(Settings.model_validate(SETTINGS).model_dump(), sort_keys=False))
    if not (DEMO / ".dvc").exists():
        shell("git", "init", "-q")
        shell("dvc", "init", "-q")
        shell("dvc", "config", "core.analytics", "false")
    commit("settings of the demonstration")
    shell("dvc", "repro")
    commit("its results")
    report = json.loads((DEMO / files.COMPARE_METRICS).read_text())["compare"]
    print(f"\n{len(report['accuracy'])} arms on {report['n']} test images:")
    for row in report["accuracy"]:
        print(f"  {row['title']:<42} accuracy {row['value']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]")
    print("Pictures:", *sorted((DEMO / files.PLOTS).rglob("*.png")), sep="\n  ")
    print(f"It is a repository of its own; to go on there: cd {DEMO} && dvc exp run -S classes=5 && dvc plots diff")


if __name__ == "__main__":
    main()
