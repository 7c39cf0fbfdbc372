"""Images in folders, `<root>/{train,test}/<class>/**`: what is there, and whether it changed.

ImageNet's trees call their second half `val`. It takes the place of `test` where there is no `test`: its images are
looked at once, at the end; those that choices are made on come out of `train`.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from src.core.errors import UserError
from src.storage.files import sha256, write_json

SPLITS = ("train", "test")
Listing = dict[str, dict[str, list[str]]]  # split -> class -> files, relative to the class's folder, sorted
Signatures = dict[str, dict[str, str]]  # split -> class -> a hash of all names, sizes and times
KEEP = 10  # seconds between two notes of what was read


def split_folder(root: Path, split: str) -> Path:
    """Where the classes of a split lie."""
    path = root / split
    return root / "val" if split == "test" and not path.is_dir() and (root / "val").is_dir() else path


def class_names(root: Path) -> list[str]:
    """The classes of a folder, in sorted order: label i is the i-th.

    Raises:
        UserError: there is no such folder, or train and test hold different classes.
    """
    found = {}
    for split in SPLITS:
        folder = split_folder(root, split)
        if not folder.is_dir():
            raise UserError(
                f"folder = {root}: there is no {split}/ in it; allowed is a root of train/<class>/* and test/<class>/* "
                "(or val/<class>/*)"
            )
        found[split] = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
        )
    if found["train"] != found["test"]:
        odd = sorted(set(found["train"]) ^ set(found["test"]))
        second = split_folder(root, "test").name
        raise UserError(f"folder = {root}: train and {second} hold different classes ({', '.join(map(repr, odd[:5]))})")
    return found["train"]


def scan(root: Path) -> tuple[Listing, Signatures]:
    """The files of a folder, and a signature of each class, of names, sizes and times, that is cheap to compute.

    Raises:
        UserError: a class has no images.
    """
    listing: Listing = {}
    signatures: Signatures = {}
    names = class_names(root)
    for split in SPLITS:
        listing[split], signatures[split] = {}, {}
        for name in names:
            folder = split_folder(root, split) / name
            entries = sorted(_files(str(folder)))
            if not entries:
                second = folder.parent.name
                raise UserError(
                    f"folder = {root}: class {name!r} has no images in {second}/; add some, or remove the class"
                )
            listing[split][name] = [file for file, _ in entries]
            signatures[split][name] = _signature(folder, entries)
    return listing, signatures


def _signature(folder: Path, entries: list[tuple[str, str]]) -> str:
    found, file = hashlib.sha256(), ""
    try:
        for file, stamp in entries:
            found.update(f"{folder.name}/{file}\0{stamp}\0".encode())
    except UnicodeEncodeError:
        raise UserError(f"folder: the name {f'{folder}/{file}'!a} is not UTF-8; rename it") from None
    return found.hexdigest()


def _files(folder: str, within: str = "") -> Iterator[tuple[str, str]]:
    """Each file below a folder, at any depth, relative to it, with its stamp. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                yield within + entry.name, stamp(entry.stat())
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{within}{entry.name}/")


def stamp(status: os.stat_result) -> str:
    """A text that changes with a file. Beside the time of modification, which unpacking sets back, that of change."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def paths(root: Path, listing: Listing, split: str) -> Iterator[Path]:
    """Every file of a split, class by class: the order of the raw arrays. One by one, since there may be millions."""
    folder = split_folder(root, split)
    return (folder / name / file for name, files in listing[split].items() for file in files)


def count(listing: Listing, split: str) -> int:
    """How many files a split has."""
    return sum(map(len, listing[split].values()))


def digest(root: Path, listing: Listing, signatures: Signatures, remembered: Path) -> str:
    """A SHA-256 of what all files hold; the same on any machine.

    A class's files are read only when its signature differs from the one in the JSON file `remembered`, which is
    written meanwhile: after an interruption, what was read need not be read again.

    Raises:
        UserError: a file cannot be read.
    """
    known = _recalled(remembered)
    found: dict[str, list[str]] = {}
    wanted = [(split, name) for split in SPLITS for name in listing[split]]
    saved = time.monotonic()
    try:
        for split, name in wanted:
            signature = signatures[split][name]
            before, content = known.get(f"{split}/{name}", ("", ""))
            if before != signature:
                content = _content(split_folder(root, split) / name, listing[split][name])
            found[f"{split}/{name}"] = [signature, content]
            if time.monotonic() - saved > KEEP:
                write_json(remembered, known | found)
                saved = time.monotonic()
    finally:
        if any(known.get(key) != value for key, value in found.items()):
            write_json(remembered, found if len(found) == len(wanted) else known | found)
    return hashlib.sha256("".join(content for _, content in found.values()).encode()).hexdigest()


def _recalled(remembered: Path) -> dict[str, list[str]]:
    try:
        known = json.loads(remembered.read_text())
    except (OSError, ValueError):
        return {}  # none yet, or cut short: read the files again
    return {key: pair for key, pair in known.items() if isinstance(pair, list) and len(pair) == 2}


def _content(folder: Path, names: list[str]) -> str:
    total = hashlib.sha256()
    try:
        for name in names:
            total.update(sha256(folder / name).encode())
    except OSError as error:
        raise UserError(f"folder: {error.filename} cannot be read ({error.strerror or error})") from error
    return total.hexdigest()
