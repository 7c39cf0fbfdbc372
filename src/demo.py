"""Run the whole pipeline in a few minutes without a network, `make demo`.

The dataset is scikit-learn's digits. EfficientNet-Lite0 is the legacy backbone and EfficientNet-Lite2 the modern one,
whose ImageNet weights are Python packages. It runs in a repository of its own, .demo, so that the settings, lock file
and experiments of this one stay as they are.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from src.core import git
from src.mend import mend
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.storage import paths

DEMO = Path(".demo")
SOURCES = (
    "src",
    "stages",
    "dvc.yaml",
    "data/dvc.yaml",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "plots/.gitignore",
)
SETTINGS = {
    "dataset": "digits",
    "prepare": {"per_class": 40},
    "resnet": {"arch": "efficientnet_lite0"},
    "convnext": {"arch": "efficientnet_lite2"},
    "finetune": {
        "epochs": 3,
        "batch_size": 32,  # 360 images make few steps of 64
        "schedule": "one_cycle",
        "augment": False,  # a mirrored digit is not a digit
    },
    "tune": {"configurations": 3},
    # No zero_shot, because ImageNet has no category of digits.
    "frozen": {"readouts": ["linear", "knn", "centroid", "random_head"]},
}


def shell(*command: str) -> None:
    """Run a command in the demo's repository; end with one line if it fails."""
    try:
        subprocess.run(command, cwd=DEMO, check=True, env=git.environment())
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {' '.join(command)}: {error}; delete {DEMO} and try again")


def commit(message: str) -> None:
    """Commit everything, as an author of the demo's own, since git may not be configured."""
    who = ("user.name=demo", "user.email=demo@localhost", "commit.gpgsign=false", "core.hooksPath=/dev/null")
    options = [word for setting in who for word in ("-c", setting)]
    shell("git", "add", "--all")
    shell("git", *options, "commit", "-q", "--allow-empty", "-m", message)


def main() -> None:
    """Copy the code to .demo, run the pipeline there, commit the results and print where they are."""
    for name in SOURCES:
        target = DEMO / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(name, target)
    settings = Settings.model_validate(filled(SETTINGS)).model_dump()
    (DEMO / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    if not (DEMO / ".dvc").exists():
        shell("git", "init", "-q")
        shell("dvc", "init", "-q")
    shutil.copytree(".dvc/plots", DEMO / ".dvc/plots", dirs_exist_ok=True)
    shutil.copy(".dvc/config", DEMO / ".dvc/config")
    for line in mend(DEMO):
        print(line, flush=True)
    commit("settings of the demonstration")
    shell("dvc", "repro")
    commit("its results")
    print(f"\nThe results on one page: {DEMO / paths.REPORT}")
    print("Figures:", *sorted((DEMO / paths.pictures(paths.plots("compare"))).glob("*.png")), sep="\n  ")
    print(f"It is a repository of its own; to go on: . .venv/bin/activate; cd {DEMO}; dvc exp run -S classes=5")


if __name__ == "__main__":
    main()
