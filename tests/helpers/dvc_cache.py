"""Find damaged files in DVC's cache."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from src.storage.files import hashed


def md5(path: Path) -> str:
    """The MD5 of a file's bytes, by which DVC names it."""
    with path.open("rb") as file:
        return hashed(file, hashlib.md5(usedforsecurity=False))


def damaged(cache: Path) -> Iterator[Path]:
    """The files of a cache whose bytes no longer have the hash in their names."""
    for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*")):
        if path.is_file() and md5(path) != path.parent.name + path.name.removesuffix(".dir"):
            yield path
