"""How many results of this repository were measured on the test images, by what git knows."""

import re
from pathlib import Path

from src.core import git

LOCKS = ("dvc.lock", "data/dvc.lock")
_PREDICTIONS = re.compile(r"path: (data/predictions/\S+)\s+hash: md5\s+md5: (\S+)")


def count_tested(root: Path, here: Path = Path()) -> int:
    """The number of different results on test images: of every experiment, of every commit, and of the present run.

    Each experiment, and each commit after `dvc repro`, has a lock file with the hashes of all predictions. Results with
    the same hashes are one, however many commits hold them; results that were never committed are unknown.

    Args:
        root: a folder in the repository of the user, which has the references of experiments (`paths.from_root`).
        here: the folder of the present run's lock files.
    """
    present = [(here / name).read_text(encoding="utf-8") for name in LOCKS if (here / name).exists()]
    found = {_hashes(text) for text in (*_committed(root), *present)}
    return len(found - {frozenset()})


def _hashes(lock: str) -> frozenset[tuple[str, str]]:
    """The predictions in a lock file, by path and hash."""
    return frozenset(_PREDICTIONS.findall(lock))


def _committed(root: Path) -> list[str]:
    """The text of every lock file in the history of every branch, tag and experiment; none outside of a repository."""
    plain = ("--no-color", "--no-show-signature", "--no-renames", "--raw", "--no-abbrev", "--format=")
    lines = git.output("log", "--all", "--full-history", "-m", *plain, "--", *LOCKS, folder=root).decode().splitlines()
    blobs = dict.fromkeys(line.split()[3] for line in lines)
    output = git.output("cat-file", "--batch", folder=root, given="\n".join(blobs).encode())
    texts = []
    while output:
        head, _, rest = output.partition(b"\n")
        size = 0 if head.endswith(b"missing") else int(head.split()[2])  # of a file that was deleted
        texts.append(rest[:size].decode("utf-8", "replace"))
        output = rest[size + 1 :] if size else rest
    return texts
