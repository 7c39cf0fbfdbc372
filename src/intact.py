"""Whether a file is what was written. Of every artefact that a stage reads.

DVC compares hashes where a file's time or size changed. This notices the rest, and stages that are run without DVC.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from src.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SUMS = "SHA256SUMS"  # as `sha256sum -c` reads it


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block means that the file at `path` is absent or damaged.

    Raises:
        UserError: it did; the line says how to mend it.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except Exception as error:  # each format has exceptions of its own for every way in which a file is broken
        reason = " ".join(str(error).split()) or type(error).__name__
        again = "`dvc repro` makes it again, after `make scrub` if DVC's cache was damaged too"
        raise UserError(f"{path} is damaged ({reason}); {again}") from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashed(file, hashlib.sha256())


def hashed(file: BinaryIO, digest: "hashlib._Hash") -> str:
    """The hash of what is left to read of a file, added to what the digest has seen before."""
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def digest(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 of tensors, names and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().contiguous().numpy().data)
    return found.hexdigest()


def sums(paths: list[Path]) -> str:
    """One line for each file, as `sha256sum` prints it."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in paths)


def require_sums(folder: Path) -> None:
    """Check every file of a folder that its list of hashes names.

    Raises:
        ValueError: one differs, and is named.
    """
    for line in (folder / SUMS).read_text().splitlines():
        wanted, name = line.split(maxsplit=1)
        if sha256(folder / name) != wanted:
            raise ValueError(f"{name} is not what was written")
