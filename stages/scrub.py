"""What was damaged in DVC's cache is removed, so that it is made again: not a stage."""

from pathlib import Path

from dvc.repo import Repo

from src import scrub
from src.params import Settings
from stages import run


def main(_: Settings) -> None:
    cache = Path(Repo().cache.local.path)
    found = list(scrub.damaged(cache))
    for path in found:
        path.unlink()
        print(f"{path}: damaged, removed")
    print(f"{cache}: {len(found)} damaged" + ("; `dvc repro` makes them again" if found else ""))


if __name__ == "__main__":
    run(main)
