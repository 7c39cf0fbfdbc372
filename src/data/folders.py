"""Images in folders, `<root>/{train,test}/<class>/**`: list the files, and detect changes.

If there is no `test`, `val` is used for testing, as in ImageNet. The validation images always come from `train`.
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
SAVE_EVERY = 10  # seconds


def split_folder(root: Path, split: str) -> Path:
    """The folder that holds the classes of a split."""
    path = root / split
    return root / "val" if split == "test" and not path.is_dir() and (root / "val").is_dir() else path


def class_names(root: Path) -> list[str]:
    """The classes of a folder in sorted order: label i is the i-th.

    Raises:
        UserError: a split does not exist, or train and test hold different classes.
    """
    names = {}
    for split in SPLITS:
        folder = split_folder(root, split)
        if not folder.is_dir():
            raise UserError(
                f"folder = {root}: there is no {split}/ in it; allowed is a root of train/<class>/* and test/<class>/* "
                "(or val/<class>/*)"
            )
        names[split] = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
        )
    if names["train"] != names["test"]:
        odd = sorted(set(names["train"]) ^ set(names["test"]))
        second = split_folder(root, "test").name
        raise UserError(f"folder = {root}: train and {second} hold different classes ({', '.join(map(repr, odd[:5]))})")
    return names["train"]


def scan(root: Path) -> tuple[Listing, Signatures]:
    """The files of a folder, and a signature of each class: a cheap hash of the files' names, sizes and times.

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
    hasher, file = hashlib.sha256(), ""
    try:
        for file, stamp in entries:
            hasher.update(f"{folder.name}/{file}\0{stamp}\0".encode())
    except UnicodeEncodeError:
        raise UserError(f"folder: the name {f'{folder}/{file}'!a} is not UTF-8; rename it") from None
    return hasher.hexdigest()


def _files(folder: str, within: str = "") -> Iterator[tuple[str, str]]:
    """Each file below a folder at any depth, relative to it, and its stamp. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                yield within + entry.name, stamp(entry.stat())
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{within}{entry.name}/")


def stamp(status: os.stat_result) -> str:
    """A text that changes with the file: size, time of modification (which unpacking sets back), time of change."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def paths(root: Path, listing: Listing, split: str) -> Iterator[Path]:
    """Yield the files of a split class by class, in the order of the raw arrays; there may be millions."""
    folder = split_folder(root, split)
    return (folder / name / file for name, files in listing[split].items() for file in files)


def count(listing: Listing, split: str) -> int:
    """The number of files of a split."""
    return sum(map(len, listing[split].values()))


def digest(root: Path, listing: Listing, signatures: Signatures, remembered: Path) -> str:
    """The SHA-256 of the content of all files, the same on every machine.

    Args:
        remembered: a JSON file of the signature and hash of each class. Only classes whose signature changed are read
            again. It is saved from time to time, so that an interrupted run need not read them again.

    Raises:
        UserError: a file cannot be read.
    """
    before = _load(remembered)
    now: dict[str, list[str]] = {}
    classes = [(split, name) for split in SPLITS for name in listing[split]]
    saved = time.monotonic()
    try:
        for split, name in classes:
            signature = signatures[split][name]
            old_signature, content = before.get(f"{split}/{name}", ("", ""))
            if old_signature != signature:
                content = _content_hash(split_folder(root, split) / name, listing[split][name])
            now[f"{split}/{name}"] = [signature, content]
            if time.monotonic() - saved > SAVE_EVERY:
                write_json(remembered, before | now)
                saved = time.monotonic()
    finally:
        if any(before.get(key) != value for key, value in now.items()):
            write_json(remembered, now if len(now) == len(classes) else before | now)
    return hashlib.sha256("".join(content for _, content in now.values()).encode()).hexdigest()


def _load(remembered: Path) -> dict[str, list[str]]:
    """The remembered signatures and hashes; empty if the file is missing or damaged."""
    try:
        pairs = json.loads(remembered.read_text())
    except (OSError, ValueError):
        return {}
    return {key: pair for key, pair in pairs.items() if isinstance(pair, list) and len(pair) == 2}


def _content_hash(folder: Path, names: list[str]) -> str:
    """The SHA-256 of the hashes of files, in order."""
    total = hashlib.sha256()
    try:
        for name in names:
            total.update(sha256(folder / name).encode())
    except OSError as error:
        raise UserError(f"folder: {error.filename} cannot be read ({error.strerror or error})") from error
    return total.hexdigest()
