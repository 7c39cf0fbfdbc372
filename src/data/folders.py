"""Images in folders, `<root>/{train,test}/<class>/**`: list the files, and detect changes.

If there is no `test`, `val` is used for testing, as in ImageNet. The validation images always come from `train`.
Links are followed. What cannot be read is refused by name, and what is left out is said: no file disappears.
"""

import hashlib
import json
import os
import stat
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.core.errors import UserError
from src.storage.files import sha256, write_json

SPLITS = ("train", "test")
Listing = dict[str, dict[str, list[str]]]  # split -> class -> files, relative to the class's folder, sorted
Signatures = dict[str, dict[str, str]]  # split -> class -> a hash of all names, sizes and times
Place = tuple[int, int]  # a folder by its device and its number there, whatever links lead to it
SAVE_EVERY = 10  # seconds
SHOWN = 3  # names in a line
# What systems and archives leave among images, in lower case; names that begin with a dot are left out too.
LEFTOVERS = {
    *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information"),
    *("__macosx", "__pycache__", "network trash folder", "temporary items", "icon\r"),
    *("desktop.ini", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),
}
LEFTOVER_ENDS = ("@synoeastream", "@synoresource")


def split_folder(root: Path, split: str) -> Path:
    """The folder that holds the classes of a split."""
    path = root / split
    return root / "val" if split == "test" and not os.path.lexists(path) and (root / "val").is_dir() else path


def class_names(root: Path) -> list[str]:
    """The classes of a folder in sorted order: label i is the i-th.

    Raises:
        UserError: a split does not exist or has no classes, train and test hold different classes or are one folder,
            or two classes look alike.
    """
    train, test = (_classes(root, split) for split in SPLITS)
    second = split_folder(root, "test").name
    if odd := sorted(set(train) ^ set(test)):
        seen = {looks(name): name for name in set(test) - set(train)}
        for one in sorted(set(train) - set(test)):
            if other := seen.get(looks(one)):
                raise UserError(
                    f"folder = {root}: class {one!a} of train/ and {other!a} of {second}/ look alike, but are of other "
                    "characters; rename one of the two"
                )
        where = {True: "train", False: second}
        alone = [f"{name!r} in {where[name in train]}/ alone" for name in odd[:5]]
        raise UserError(f"folder = {root}: train and {second} hold different classes ({', '.join(alone)})")
    for name in ("", *train):
        if (root / "train" / name).samefile(root / second / name):
            raise UserError(
                f"folder = {root}: train/{name} and {second}/{name} are one folder; test images must be others"
            )
    return train


def _classes(root: Path, split: str) -> list[str]:
    """The sorted names of the folders of classes of a split, no two of which look alike."""
    folder = split_folder(root, split)
    if not os.path.lexists(folder):
        raise UserError(
            f"folder = {root}: there is no {split}/ in it; allowed is a root of train/<class>/* and test/<class>/* "
            f"(or val/<class>/*); of <class>/* alone, `python -m src.split {root}` makes one"
        )
    entries, names = _entries(str(folder)), folders_in(folder)
    if not names:
        loose = f"{len(entries):,} file{'s'[: len(entries) != 1]} and " if entries else ""
        rest = "; move it away, and val/ is used" if folder.name == "test" and (root / "val").is_dir() else ""
        raise UserError(
            f"folder = {root}: {folder.name}/ holds {loose}no folder of a class, so that its images have no labels; "
            f"allowed is {folder.name}/<class>/*{rest}"
        )
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(looks(name), name)) != name:
            raise UserError(
                f"folder = {root}: the classes {other!a} and {name!a} of {folder.name}/ look alike; rename one"
            )
    return names


def folders_in(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, but for those that systems leave there.

    Raises:
        UserError: an entry cannot be read.
    """
    return sorted(entry.name for entry in _entries(str(folder)) if _is_folder(entry))


def looks(name: str) -> str:
    """What a person sees of a name: the same for composed and decomposed accents, and for any kind of space.

    Signs that show nothing are left out, but for the two that join letters or emoji, or keep them apart.
    """
    signs = unicodedata.normalize("NFC", name)
    visible = (sign for sign in signs if sign in "\u200c\u200d" or unicodedata.category(sign) != "Cf")
    return " ".join("".join(visible).split())


def scan(root: Path) -> tuple[Listing, Signatures]:
    """The files of a folder, and a signature of each class: a cheap hash of the files' names, sizes and times.

    It says which folders are linked, and which files are left out since they lie outside of any class.

    Raises:
        UserError: a class has no images, or something in it cannot be read.
    """
    listing: Listing = {}
    signatures: Signatures = {}
    names, linked, loose = class_names(root), list[str](), list[str]()
    for split in SPLITS:
        listing[split], signatures[split] = {}, {}
        folder = split_folder(root, split)
        loose += [f"{folder.name}/{entry.name}" for entry in _entries(str(folder)) if not _is_folder(entry)]
        for name in names:
            above = [_place(path.stat()) for path in (root, folder, folder / name)]
            entries = sorted(_files(str(folder / name), above, linked))
            if not entries:
                raise UserError(
                    f"folder = {root}: class {name!r} has no images in {folder.name}/; add some, or remove the class"
                )
            listing[split][name] = [file for file, _ in entries]
            signatures[split][name] = _signature(folder / name, entries)
    _say("files outside of any class, which are left out", loose)
    _say("folders within classes that are links, whose images are taken too", linked)
    return listing, signatures


def _say(what: str, names: Sequence[str]) -> None:
    if names:
        more = f", and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        print(f"folder: {what}: {len(names):,} ({', '.join(sorted(names)[:SHOWN])}{more})")


def _signature(folder: Path, entries: list[tuple[str, str]]) -> str:
    hasher, file = hashlib.sha256(), ""
    try:
        for file, stamp in entries:
            hasher.update(f"{folder.name}/{file}\0{stamp}\0".encode())
    except UnicodeEncodeError:
        raise UserError(f"folder: the name {f'{folder}/{file}'!a} is not UTF-8; rename it") from None
    return hasher.hexdigest()


def below(folder: Path) -> list[Path]:
    """The files below a folder at any depth, in the order of their names, as those of a class are found.

    Raises:
        UserError: an entry cannot be read.
    """
    return sorted(folder / name for name, _ in _files(str(folder), [_place(folder.stat())], []))


def _files(folder: str, above: Sequence[Place], linked: list[str], within: str = "") -> Iterator[tuple[str, str]]:
    """Each file below a folder at any depth, relative to it, and its stamp.

    Args:
        above: the folder itself, and those that hold it.
        linked: gets the folders that are links.

    Raises:
        UserError: an entry cannot be read, or is a link to a folder that holds it.
    """
    for entry in _entries(folder):
        if not _is_folder(entry):
            yield within + entry.name, stamp(entry.stat())
            continue
        if (place := _place(entry.stat())) in above:
            raise UserError(f"folder: {entry.path} is a link to a folder that holds it; remove it")
        if entry.is_symlink():
            linked.append(entry.path)
        yield from _files(entry.path, [*above, place], linked, f"{within}{entry.name}/")


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """What is in a folder, but for what systems leave there.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_leftover(entry.name.lower())]
    except OSError as error:
        raise UserError(f"folder: {folder} cannot be read ({error.strerror or error})") from None


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or name in LEFTOVERS or name.endswith(LEFTOVER_ENDS)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry, or what it links to, is a folder; otherwise it is a file.

    Raises:
        UserError: it is neither, or a link whose target cannot be read.
    """
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        reason = error.strerror or error
        if entry.is_symlink():
            raise UserError(
                f"folder: {entry.path} is a link to {Path(entry.path).readlink()}, which cannot be read ({reason}); "
                "bring it back, or remove the link"
            ) from None
        raise UserError(f"folder: {entry.path} cannot be read ({reason})") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UserError(f"folder: {entry.path} is neither a file nor a folder; remove it")
    return stat.S_ISDIR(mode)


def _place(status: os.stat_result) -> Place:
    return status.st_dev, status.st_ino


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
