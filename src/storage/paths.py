"""The paths of all artefacts. A backbone is one of `design.ROLES`, or the short name of a further one."""

import os
from collections.abc import Iterator
from pathlib import Path

from src.core import design
from src.core.errors import UserError

DATA, METRICS, PLOTS = Path("data"), Path("metrics"), Path("plots")
RECORDS = DATA / "results"

IMAGE_INPUTS = DATA / "inputs" / "images.json"
WEIGHT_INPUTS = DATA / "inputs" / "weights.json"
RAW = DATA / "raw"
SUBSET = DATA / "subset"
BEST_PARAMS = DATA / "tuned" / "best_params.yaml"
CLASSES = SUBSET / "classes.json"
REPORT = PLOTS / "report.html"
# Outputs of stages, and the state of interrupted ones.
_FOLDERS = "inputs raw weights subset tuned checkpoints features predictions results resume"
WRITTEN = (*(DATA / name for name in _FOLDERS.split()), METRICS, PLOTS)
FURTHER = "backbones"  # the stage of backbones that are neither role, and its folder beside those of the roles


def _place(backbone: str) -> str:
    """The files of roles are outputs of stages of their own; one folder holds those of all others."""
    return backbone if backbone in design.ROLES else f"{FURTHER}/{backbone}"


def weights(backbone: str) -> Path:
    """The pretrained weights of a backbone."""
    return DATA / "weights" / f"{_place(backbone)}.safetensors"


def of_seed(folder: Path, seed: int) -> Path:
    """The part of a folder of checkpoints or predictions that belongs to one seed."""
    return folder / f"seed{seed}"


def subset(seed: int) -> Path:
    """The images of an experiment under one seed: see `prepare.subset.choose_images`."""
    return SUBSET / f"seed{seed}.npz"


def checkpoints(backbone: str) -> Path:
    """The folder of a backbone's fine-tuned weights: for each seed a folder, with one file for each method."""
    return DATA / "checkpoints" / _place(backbone)


def features(backbone: str) -> Path:
    """The folder of a frozen backbone's features."""
    return DATA / "features" / _place(backbone)


def predictions(cell: str) -> Path:
    """The folder of a cell's logits: for each seed a folder, with one file for each arm."""
    return DATA / "predictions" / cell_name(cell)


def plots(name: str) -> Path:
    """The folder of a stage's tables, which `dvc plots` draws."""
    return PLOTS / name


def pictures(tables: Path) -> Path:
    """The folder of the pictures that go with a folder of tables."""
    return tables.parent / "pictures" / tables.name


def metrics(name: str) -> Path:
    """The file of the few numbers of a stage that `dvc metrics` and `dvc exp show` list."""
    return METRICS / f"{name}.json"


def record(name: str) -> Path:
    """What a stage leaves for other stages and programs, as a record."""
    return RECORDS / f"{name}.json"


def cell_name(cell: str) -> str:
    """The name of a cell in paths: `resnet.frozen` -> `resnet_frozen`.

    The two cells of the question are named by their backbone alone: `convnext.frozen` -> `convnext`.
    """
    backbone, column = cell.split(".")
    return backbone if cell in design.QUESTION else f"{_place(backbone)}_{column}"


def home() -> Path:
    """The root of the user's project.

    Queued and temporary experiments run in a copy of it without the untracked files, of which DVC_ROOT names the
    original; elsewhere DVC_ROOT is a leftover of another project. In the clone of a sweep's task DVC_ROOT is the clone,
    and SWEEP_ROOT the user's project.
    """
    if sweep := os.environ.get("SWEEP_ROOT"):
        return Path(sweep)
    root = Path(os.environ.get("DVC_ROOT", "."))
    copies, here = (root / ".dvc" / "tmp").resolve(), Path.cwd()
    return root if root.resolve() == here or here.is_relative_to(copies) else Path()


def from_root(path: str | Path) -> Path:
    """Resolve a path of the settings; a relative one starts at `home`.

    Raises:
        UserError: it begins with `~` and the name of nobody here, or cannot be a path.
    """
    try:
        found = home() / Path(path).expanduser()
        if "://" not in str(path):  # an address may be longer than the name of a file
            found.lstat()
    except RuntimeError:
        raise UserError(f"{path}: {Path(path).parts[0]} is no user's home here; write the whole path") from None
    except (FileNotFoundError, NotADirectoryError):
        return found  # whoever reads it says so, and what it is for
    except (OSError, ValueError) as error:  # too long, not to be looked at, or with characters that no path has
        shown = repr(str(path))
        why = error.strerror if isinstance(error, OSError) else "it has characters that no path has"
        raise UserError(f"{shown if len(shown) <= 80 else shown[:77] + '...'} cannot be read: {why}") from None
    return found


def require_outside(setting: str, *paths: Path) -> None:
    """Require that paths of the settings lead into no folder that the pipeline writes itself, not even over links.

    Otherwise each run would begin with what the last one left, and what it left would be gone.

    Args:
        setting: for people, with its value: `folder = data/raw`.

    Raises:
        UserError: one does.
    """
    made: dict[tuple[int, int], Path] = {}
    for root in (Path(), home()):
        made |= {_identity(root / folder): folder for folder in WRITTEN if (root / folder).exists()}
    for path in paths:
        for step in _steps(path):
            for parent in (step, *step.parents):
                if parent.exists() and (folder := made.get(_identity(parent))):
                    raise UserError(
                        f"{setting}: it lies in {folder}/, where the pipeline writes, so that each run would begin "
                        "with what the last one left; copy it to a place of your own, and name that"
                    )


def _identity(path: Path) -> tuple[int, int]:
    """The same for every name of a file or folder."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _steps(path: Path) -> Iterator[Path]:
    """The places that a path leads to, one link of a file after the other: DVC's own may lead on, into its cache."""
    seen: set[Path] = set()
    path = path.absolute()
    while path not in seen:
        seen.add(path)
        path = path.parent.resolve() / path.name
        yield path
        if path.is_symlink():
            path = path.parent / path.readlink()


def downloads() -> Path:
    """The folder of archives and weights, downloaded or put there by hand, which all experiments share."""
    folder = from_root(DATA / "downloads")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
