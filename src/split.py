"""Split a folder of images, <class>/**, into train/ and test/, as `dataset: folder` takes them.

    python -m src.split photos                   # writes photos-split, links to the images
    python -m src.split photos --test 0.2 --out elsewhere

Hashes of the paths decide, so the same files are split the same way.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from src.core.errors import UserError, one_line
from src.data import folders

FEWEST = 2  # classes, and images of each


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: the share is none.
    """
    parser = argparse.ArgumentParser(prog="python -m src.split", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, metavar="FOLDER", help="holds a folder of images for each class")
    parser.add_argument("--test", type=float, default=0.25, help="share of the images of each class; 0.25 if not given")
    parser.add_argument("--out", type=Path, help="<FOLDER>-split if not given")
    options = parser.parse_args(words)
    if not 0 < options.test < 1:
        raise UserError(f"--test {options.test}: allowed is a share between 0 and 1")
    options.out = options.out or options.root.absolute().with_name(f"{options.root.absolute().name}-split")
    return options


def classes(root: Path) -> dict[str, list[Path]]:
    """The files of each class, in an order that depends on a hash of their paths alone.

    Raises:
        UserError: there are fewer than two classes, or one has fewer than two images.
    """
    names = folders.folders_in(root) if root.is_dir() else []
    if len(names) < FEWEST:
        raise UserError(f"{root}: allowed is a folder of <class>/**, of {FEWEST} classes and more")
    found = {name: folders.below(root / name) for name in names}
    for name, images in found.items():
        if len(images) < FEWEST:
            raise UserError(f"{root / name}: {len(images)} files; train/ and test/ need one each")

    def place(path: Path) -> bytes:
        return sha256(os.fsencode(path.relative_to(root))).digest()

    return {name: sorted(images, key=place) for name, images in found.items()}


def main(words: Sequence[str]) -> None:
    """Write the two folders.

    Raises:
        UserError: see `parse` and `classes`; or the folder to write exists.
    """
    options = parse(words)
    found = classes(options.root)
    if options.out.exists():
        raise UserError(f"--out {options.out}: exists; remove it, or name another")
    for images in found.values():
        tested = min(max(1, round(options.test * len(images))), len(images) - 1)
        for number, path in enumerate(images):
            link = options.out / ("test" if number < tested else "train") / path.relative_to(options.root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
    count = sum(map(len, found.values()))
    print(f"{options.out}: links to {count:,} files of {len(found)} classes. To compare on them:")
    print(f"dvc exp run -S dataset=folder -S folder={options.out} -S classes={len(found)}")


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
