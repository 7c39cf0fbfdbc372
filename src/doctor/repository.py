"""The state of git, DVC's cache, and what is locked by whom."""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
from dvc.config import Config

from src.core import git
from src.doctor.finding import Finding
from src.storage import resume

RWLOCK, LOCK = Path(".dvc") / "tmp" / "rwlock", Path(".dvc") / "tmp" / "lock"


def state() -> Iterator[Finding]:
    """The commit, and what is special about the repository.

    Raises:
        UserError: git refuses it, or there is none.
    """
    top, inside = git.place()
    commit = git.output("rev-parse", "--short", "HEAD").decode().strip()
    if not commit:
        yield Finding("git", "no commit yet: git add --all && git commit", fault=True)
        return
    changed = git.output("status", "--porcelain", "--untracked-files=all").decode(errors="replace").splitlines()
    branch = git.output("symbolic-ref", "--quiet", "--short", "HEAD").decode().strip()
    said = [f"commit {commit}", f"on {branch}" if branch else "detached: commits that are made here are on no branch"]
    said += [f"{len(changed)} files differ from the commit"] if changed else []
    said += [f"the project is the folder {inside} of {top}"] if inside != Path() else []
    yield Finding("git", ", ".join(said))
    if git.output("rev-parse", "--is-shallow-repository").strip() == b"true":
        line = "the clone is shallow, so that no experiment could be brought back to it: git fetch --unshallow"
        yield Finding("git", line, fault=True)


@cache
def dvc_doctor() -> "subprocess.CompletedProcess[str]":
    """What `dvc doctor` says; it tries every kind of link."""
    command = [sys.executable, "-m", "dvc", "doctor"]
    return subprocess.run(command, capture_output=True, text=True, env=git.environment())


def link() -> str:
    """How DVC puts files of its cache into the workspace: reflink, hardlink, symlink or copy; empty if unknown."""
    found = re.search(r"^Cache types: ([a-z, ]+)$", dvc_doctor().stdout, re.M)
    possible = [*found[1].split(", "), "copy"] if found else []
    wanted = Config(str(Path(".dvc").absolute()), validate=False)["cache"].get("type", ["reflink", "copy"])
    return next((kind for kind in ([wanted] if isinstance(wanted, str) else wanted) if kind in possible), "")


def of_dvc() -> Iterator[Finding]:
    """How DVC's cache is linked to the workspace, and the kinds of remotes."""
    done = dvc_doctor()
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        yield Finding("cache", f"`dvc doctor` fails: {lines[0]}", fault=True)
        return
    links = {"": "links are not known before the first run", "copy": "copies, which take the room twice"}
    yield Finding("cache", links.get(link(), f"links of the kind {link()}, which take no room"))
    remotes = re.search(r"^Remotes: (.*)$", done.stdout, re.M)
    yield Finding("remote", "none" if remotes is None or remotes[1] == "None" else remotes[1])


def locks() -> Iterator[Finding]:
    """What is locked, and by which process."""
    found = [*_of_dvc(), *_of_stages()]
    yield from found or [Finding("locks", "none")]


def _of_dvc() -> Iterator[Finding]:
    """DVC's lock of the whole repository, and its locks of single paths."""
    if LOCK.exists() and is_held(LOCK):
        yield Finding("locks", f"the repository, by {_holders(LOCK)}; wait until it ends")
    try:
        entries = json.loads(RWLOCK.read_text(encoding="utf-8")) if RWLOCK.exists() else {}
        writers = list(entries.get("write", {}).items())
        readers = [(path, info) for path, infos in entries.get("read", {}).items() for info in infos]
        held = {(info["pid"], info["cmd"]): path for path, info in (*readers, *writers) if info}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        yield Finding("locks", f"{RWLOCK} is damaged, and DVC would stop at it: rm {RWLOCK}", fault=True)
        return
    for (pid, command), path in held.items():
        if not psutil.pid_exists(pid):
            yield Finding("locks", f"{Path(path).name}, by `{command}` (pid {pid}), which was killed; DVC removes it")
        elif "dvc" in _command(pid):
            yield Finding("locks", f"{Path(path).name}, by `{command}` (pid {pid}), which runs; wait until it ends")
        else:
            line = f"{Path(path).name}, by `{command}`, which was killed; pid {pid} is another program now: rm {RWLOCK}"
            yield Finding("locks", line, fault=True)


def _of_stages() -> Iterator[Finding]:
    """The locks of stages that save their state."""
    for lock in sorted(resume.root().glob("*/lock")):
        name = lock.parent.name
        if is_held(lock):
            yield Finding("locks", f"{name}, by {_holders(lock)}; another run of this stage would save no state")
        else:
            yield Finding("locks", f"{name} was interrupted; the same command resumes it, `make forget` forgets it")


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file."""
    file = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _holders(lock: Path) -> str:
    """The processes that have a file open, as far as they may be looked at."""
    path, found = str(lock.resolve()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(file.path == path for file in process.open_files()):
                found.append(f"`{' '.join(process.cmdline())[:60]}` (pid {process.pid})")
    return ", ".join(found) or "a process of another user or machine"


def _command(pid: int) -> str:
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""
