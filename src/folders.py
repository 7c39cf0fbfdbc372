"""Images in folders, `<root>/{train,test}/<class>/*`: what is there, and whether it changed. For `inputs`."""

import hashlib
import json
import os
from pathlib import Path

from src.errors import UserError
from src.files import write_json
from src.intact import sha256

SPLITS = ("train", "test")
Listing = dict[str, dict[str, list[str]]]  # split -> class -> file names, sorted


def class_names(root: Path) -> list[str]:
    """The classes of a folder, in sorted order: label i is the i-th.

    Raises:
        UserError: there is no such folder, or train and test hold different classes.
    """
    found = {}
    for split in SPLITS:
        if not (root / split).is_dir():
            raise UserError(
                f"folder = {root}: there is no {split}/ in it; allowed is a root of train/<class>/* and test/<class>/*"
            )
        found[split] = sorted(
            entry.name for entry in os.scandir(root / split) if entry.is_dir() and not entry.name.startswith(".")
        )
    if found["train"] != found["test"]:
        odd = sorted(set(found["train"]) ^ set(found["test"]))
        raise UserError(f"folder = {root}: train and test hold different classes ({', '.join(map(repr, odd[:5]))})")
    return found["train"]


def scan(root: Path) -> tuple[Listing, str]:
    """The files of a folder, and a signature of their names, sizes and times that is cheap to compute.

    Raises:
        UserError: a class has no images.
    """
    listing: Listing = {}
    signature = hashlib.sha256()
    for split in SPLITS:
        listing[split] = {}
        for name in class_names(root):
            entries = [e for e in os.scandir(root / split / name) if e.is_file() and not e.name.startswith(".")]
            if not entries:
                raise UserError(
                    f"folder = {root}: class {name!r} has no images in {split}/; add some, or remove the class"
                )
            for entry in sorted(entries, key=lambda e: e.name):
                status = entry.stat()
                # The time of change beside that of modification, which unpacking and copying set back.
                stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
                try:
                    signature.update(f"{split}/{name}/{entry.name}\0{stamp}\0".encode())
                except UnicodeEncodeError:
                    raise UserError(f"folder: the name {entry.path!a} is not UTF-8; rename it") from None
            listing[split][name] = sorted(entry.name for entry in entries)
    return listing, signature.hexdigest()


def paths(root: Path, listing: Listing, split: str) -> list[Path]:
    """Every file of a split, class by class: the order of the raw arrays."""
    return [root / split / name / file for name, names in listing[split].items() for file in names]


def digest(root: Path, listing: Listing, signature: str, remembered: Path) -> str:
    """A SHA-256 of what all files hold; the same on any machine.

    The files are read only when `signature` differs from the one in the JSON file `remembered`.
    """
    try:
        known = json.loads(remembered.read_text())
    except (OSError, ValueError):
        known = {}  # none yet, or cut short: read the files again
    if known.get("signature") == signature:
        return known["digest"]
    total = hashlib.sha256()
    for split in SPLITS:
        for path in paths(root, listing, split):
            total.update(sha256(path).encode())
    write_json(remembered, {"signature": signature, "digest": total.hexdigest()})
    return total.hexdigest()
