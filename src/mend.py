"""Mend files that a killed DVC, or one on a full disk, left half written: `make mend`.

DVC empties `dvc.lock`, `params.yaml` (for `-S`) and its own notes in `.dvc/tmp` before it writes them again. What is
whole in them is kept, and the rest comes from the last commit. What that lacks, DVC's cache of runs has.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from zc.lockfile import LockError, LockFile  # DVC's own lock

from src.core import git
from src.core.errors import one_line
from src.storage import files

LOCKS = (Path("dvc.lock"), Path("data/dvc.lock"))
PARAMS = Path("params.yaml")
HEADER = "schema: '2.0'\nstages:\n"
ENTRY = re.compile(r"^(?= {2}\S)", re.MULTILINE)  # where a stage of a lock begins, as DVC indents it
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a lock has a thousand lines
WAITS = ("rwlock", "exps/rwlock")  # of .dvc/tmp: who reads or writes which path, as JSON
NOTES = (*WAITS, "exps/run/**/*.json", "exps/celery/broker/*/*.msg")  # all that is JSON there
# What git notes when DVC detaches HEAD: it stays at its commit, which is named in full.
DETACHED = re.compile(
    r"^(?P<commit>\w{40}) (?P=commit) .* (?P<time>\d+) \S+\tcheckout: moving from (?P<branch>\S+) to (?P=commit)$"
)
SETTLED = 2.0  # seconds after which nobody is still writing a note


def mend(root: Path) -> Iterator[str]:
    """Mend the files of a repository; a line for each that was half written, none if all are whole.

    While another DVC is at work there, nothing is touched.

    Args:
        root: where `dvc.yaml` lies.
    """
    scratch = _scratch(root)
    if scratch is None:
        return
    scratch.mkdir(exist_ok=True)
    try:
        held = LockFile(str(scratch / "lock"))
    except LockError:
        return
    try:
        for path in (*LOCKS, PARAMS):
            if (root / path).exists():
                yield from _mend_text(root, path, scratch)
        yield from _mend_notes(scratch)
        yield from _mend_git(root)
    finally:
        held.close()


def _scratch(root: Path) -> Path | None:
    """DVC's folder of temporary files; None if nobody initialised DVC here."""
    found = (folder / ".dvc" for folder in (root.resolve(), *root.resolve().parents) if (folder / ".dvc").is_dir())
    folder = next(found, None)
    return None if folder is None else folder / "tmp"


def _mend_text(root: Path, path: Path, scratch: Path) -> Iterator[str]:
    """Mend a lock or the settings; what was there is kept in .dvc/tmp/torn."""
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    mended = (mended_params if path == PARAMS else mended_lock)(text, committed(root, path))
    if mended is None:
        return
    torn = scratch / "torn" / path
    torn.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / path, torn)
    if mended[0]:
        files.write_text(root / path, mended[0])
    else:
        (root / path).unlink()
    yield f"{path} was half written; mended: {mended[1]} (as it was: {torn.relative_to(scratch.parents[1])})"


def committed(root: Path, path: Path) -> str:
    """The text of a file in the last commit; empty if it is in none."""
    return _git(root, "show", f"HEAD:./{path}")


def _git(root: Path, *words: str) -> str:
    """What git says; nothing if it fails."""
    return git.output(*words, folder=root).decode(errors="replace")


def mended_lock(text: str, before: str) -> tuple[str, str] | None:
    """A lock without the entry that was cut off, then the stages that it lacks and the commit has; and what was done.

    Args:
        before: the lock of the last commit.

    Returns:
        None if nothing was cut off, or if something else is wrong with it, such as a conflict of two branches.
    """
    entries, others = _entries(text.rstrip(" ")), _entries(before)
    last = list(entries)[-1] if entries else ""
    inside = text.endswith(" ")  # in the first spaces of a line, which may be one of the same stage or of the next
    cut = _is_cut(entries.get(last, ""), others.get(last, ""), inside)
    if not HEADER.startswith(text[: len(HEADER)]) or not (cut or inside):
        return None
    if cut:
        entries.pop(last, "")
    if "<<<<<<<" in text or any(_stage(entry) is None for entry in entries.values()):
        return None
    back = {name: entry for name, entry in others.items() if name not in entries}
    parts = [*entries.values(), *back.values()]
    return HEADER * bool(parts) + "".join(parts), f"{len(entries)} stages kept, {len(back)} taken from the last commit"


def _entries(text: str) -> dict[str, str]:
    """The text of each stage of a lock by its name, as far as it goes."""
    _, _, body = text.partition("\nstages:\n")
    return {part.partition(":")[0].strip(): part for part in ENTRY.split(body) if part}


def _stage(entry: str) -> dict[str, Any] | None:
    """What the entry of a stage says; None if it is not a whole one."""
    try:
        (stage,) = yaml.load(entry, SafeLoader).values()  # noqa: S506 - it is a safe one
        whole = isinstance(stage["cmd"], str) and stage["outs"] and all(out["md5"] for out in stage["outs"])
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, KeyError):
        return None
    return stage if whole else None


def _is_cut(entry: str, before: str, inside: bool) -> bool:
    """Whether a stage's entry ends within a line, or has the first of the lines of the commit's entry alone.

    Args:
        inside: more may have followed, so it is whole only if it has all lines of the commit's.
    """
    keys, others = ([line.partition(":")[0] for line in text.splitlines()] for text in (entry, before))
    short = keys == others[: len(keys)] and len(keys) < len(others)
    return not entry.endswith("\n") or _stage(entry) is None or (keys != others if inside else short)


def mended_params(text: str, before: str) -> tuple[str, str] | None:
    """The settings as far as they are whole, then the lines of the last commit; and where these begin.

    Args:
        before: params.yaml of the last commit.

    Returns:
        None if its last setting is there, or if the settings are not those of the commit in their order.
    """
    lines, last = text.splitlines(keepends=True), (before.splitlines() or [""])[-1]
    if lines and not lines[-1].endswith("\n") and lines[-1] != last:
        lines.pop()
    if not last or any(line.partition(":")[0].rstrip() == last.partition(":")[0] for line in lines):
        return None
    settings, (values, count) = YAML().load(before), _as_far_as_it_goes(lines)
    names, there = _names(settings), _names(values)
    if there != names[: len(there)]:
        return None
    section, _, key = names[len(there)].partition(".")
    inside = key and any(name.startswith(f"{section}.") for name in there)
    begins = settings[section].lc.key(key)[0] if inside else settings.lc.key(section)[0]
    mended = "".join([*lines[:count], *before.splitlines(keepends=True)[begins:]])
    return mended, f"{names[len(there)]} and all below as in the last commit"


def _as_far_as_it_goes(lines: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The settings in as many of the first lines as are whole, and the number of these lines."""
    parser = YAML(typ="safe")  # as DVC reads it
    for end in range(len(lines), 0, -1):
        with suppress(YAMLError):
            values = parser.load("".join(lines[:end])) or {}
            item, name = lines[end - 1].lstrip().startswith("- "), lines[end - 1].partition("#")[0].rstrip()
            if isinstance(values, dict) and not item and not name.endswith(":"):  # more of a list may have followed
                return values, end
    return {}, 0


def _names(settings: Mapping[str, Any]) -> list[str]:
    """The settings in their order, those of sections by their dotted names."""
    return [
        f"{name}.{part}".rstrip(".")
        for name, value in settings.items()
        for part in (value if isinstance(value, Mapping) else [""])
    ]


def _mend_notes(scratch: Path) -> Iterator[str]:
    """Remove what is no JSON of DVC's notes, and from the list of locks those of processes that are gone."""
    for path in [path for pattern in NOTES for path in sorted(scratch.glob(pattern))]:
        if _content(path) is None:
            path.unlink()
            yield f"{path.relative_to(scratch.parents[1])} was half written; removed"
    for path in map(scratch.joinpath, WAITS):
        locks = _content(path)
        left = {mode: _alive(held) for mode, held in locks.items()}
        if left != locks:
            files.write_json(path, left)
            yield f"{path.relative_to(scratch.parents[1])} named processes that are gone; removed them"


def _content(path: Path) -> Any:
    """What a note of DVC's says; None if it is half written. One that is being written is read again."""
    while path.exists():
        with suppress(ValueError):
            return json.loads(path.read_bytes())
        if time.time() - path.stat().st_mtime > SETTLED:
            return None
        time.sleep(SETTLED / 10)
    return {}


def _mend_git(root: Path) -> Iterator[str]:
    """Bring back the branch and the changes that `dvc exp run` puts away for a second; and remove git's dead lock."""
    log = root / _git(root, "rev-parse", "--git-path", "logs/HEAD").strip()
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    detached = DETACHED.search(lines[-1]) if lines else None
    put_away = _git(root, "log", "-1", "--format=%ct %gs", "--walk-reflogs", "refs/stash").split()
    lock = root / _git(root, "rev-parse", "--git-path", "index.lock").strip()
    if lock.is_file() and time.time() - lock.stat().st_mtime > SETTLED and not _at_work(root):
        lock.unlink()
        yield f"{lock.name} of git was left by a process that is gone; removed"
    if not detached or _git(root, "symbolic-ref", "-q", "HEAD") or not put_away:
        return
    branch = detached["branch"]
    if not 0 <= int(detached["time"]) - int(put_away[0]) <= 10 or f" {branch}: " not in " ".join(put_away):
        return  # somebody detached it on purpose
    clean = not _git(root, "status", "--porcelain", "--untracked-files=no")
    _git(root, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    if clean:
        _git(root, "stash", "pop", "--index", "--quiet")
    where = "are back" if clean else "are here, and once more in `git stash list`"
    yield f"a killed `dvc exp run` had left the branch {branch}; it is back, and the changes that were put away {where}"


def _at_work(root: Path) -> bool:
    """Whether a git or a DVC is at work in a repository."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [Path(word).name for word in process.cmdline()]
            if {"git", "dvc"} & set(words) and Path(process.cwd()).is_relative_to(root.resolve()):
                return True
    return False


def _alive(held: Mapping[str, Any]) -> dict[str, Any]:
    """The locks on paths whose holders are DVC processes: another process may have got the number of one that died."""
    running = {path: [each for each in _listed(holders) if _is_dvc(each["pid"])] for path, holders in held.items()}
    return {path: alive if isinstance(held[path], list) else alive[0] for path, alive in running.items() if alive}


def _listed(holders: Any) -> list[dict[str, Any]]:
    return holders if isinstance(holders, list) else [holders]


def _is_dvc(pid: int) -> bool:
    try:
        return any(Path(word).name == "dvc" for word in psutil.Process(pid).cmdline())
    except psutil.AccessDenied:  # another user's
        return True
    except psutil.Error:
        return False


if __name__ == "__main__":
    with one_line():
        for line in mend(Path()):
            print(line, flush=True)
