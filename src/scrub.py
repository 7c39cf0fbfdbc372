"""What was damaged in DVC's cache, whose files DVC trusts by their names. For `make scrub`."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from src.intact import hashed


def damaged(cache: Path) -> Iterator[Path]:
    """The files of a cache, `<two digits>/<other digits of the MD5>[.dir]`, whose bytes have another hash."""
    paths = sorted(path for path in cache.glob("[0-9a-f][0-9a-f]/*") if path.is_file())
    for path in tqdm(paths, unit="file", leave=False, disable=None):
        if md5(path) != path.parent.name + path.name.removesuffix(".dir"):
            yield path


def md5(path: Path) -> str:
    """The hash by which DVC names a file."""
    with path.open("rb") as file:
        return hashed(file, hashlib.md5(usedforsecurity=False))
