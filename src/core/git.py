"""Git as this project asks it: about the repository of the present folder, whatever the environment says of others."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from src.core.errors import UserError

# Each names another repository than that of the present folder, as git does in its hooks, and DVC in its stages.
ELSEWHERE = (
    *("DVC_ROOT", "SWEEP_ROOT", "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
)


def environment() -> dict[str, str]:
    """The environment of programs that work on the repository of the folder in which they are started.

    The `dvc` and `python` of this process's environment come first in PATH.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    return variables | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', os.defpath)}"}


def output(*words: str, folder: Path = Path(), given: bytes = b"") -> bytes:
    """What git prints; nothing where there is no git, no repository or no commit.

    Raises:
        UserError: git refuses to look at the repository.
    """
    in_english = environment() | {"LC_ALL": "C"}
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], input=given, capture_output=True, env=in_english)  # noqa: S607
    except OSError:
        return b""
    require_owner(done.stderr.decode(errors="replace"))
    return done.stdout if done.returncode == 0 else b""


def require_owner(said: str) -> None:
    """Require that git, as it `said`, did not refuse a repository for its owner.

    Raises:
        UserError: it has the command that mends it, as git gives it.
    """
    if "dubious ownership" in said:
        command = re.search(r"git config .*safe\.directory.*", said)
        mended = command[0] if command else "git config --global --add safe.directory <its path>"
        raise UserError(f"git refuses this repository, as it belongs to another user; if you trust it: {mended}")


def require_readable() -> None:
    """Require that git looks at the repository of the present folder, if there is one.

    Raises:
        UserError: it refuses to.
    """
    output("rev-parse", "--git-dir")


def clone(folder: Path) -> Path:
    """Clone the repository of the present folder; the project's folder in the clone.

    Raises:
        UserError: there is no repository, or it cannot be cloned.
    """
    top, inside = place()
    done = subprocess.run(["git", "clone", "-q", str(top), str(folder)], env=environment(), stderr=subprocess.PIPE)  # noqa: S607
    if done.returncode:
        raise UserError(f"the repository cannot be cloned: {' '.join(done.stderr.decode(errors='replace').split())}")
    return folder / inside


def place() -> tuple[Path, Path]:
    """The root of the repository, and the folder of the project in it: `.` where they are the same.

    Raises:
        UserError: there is no git, or no repository.
    """
    if shutil.which("git") is None:
        raise UserError("git is not installed here; install it")
    lines = output("rev-parse", "--show-toplevel", "--show-prefix").decode(errors="surrogateescape").split("\n")
    if len(lines) < 2:
        raise UserError("there is no git repository here; run `git init`, and commit")
    return Path(lines[0]), Path(lines[1])
