"""Files of experiments and other revisions, from git and DVC's cache."""

import atexit
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.fs import GitFileSystem
from dvc.repo import Repo
from dvc.scm import SCM

from src.core import git
from src.core.errors import UserError


def system(name: str) -> DVCFileSystem:
    """The files of a revision.

    The one that DVC opens by a revision begins at the root of the repository, and does not see a project in a folder.

    Raises:
        UserError: there is no repository.
        DvcException: there is no such revision.
    """
    inside, scm = git.place()[1], SCM(".")
    atexit.register(scm.close)  # files of git that are open at the end make Python complain
    return DVCFileSystem(repo=Repo(str(Path("/", inside)), fs=GitFileSystem(scm=scm, rev=name), scm=scm))


def read_bytes(system: DVCFileSystem, name: str, path: str) -> bytes:
    """The bytes of one of a revision's outputs.

    Args:
        system: the files of the revision.
        name: of the experiment, or another name of the revision.

    Raises:
        UserError: DVC's cache lacks it; the line says which command brings it.
    """
    try:
        content: bytes = system.read_bytes(path)
        return content
    except Exception as error:  # DVC looks into its remote too, and each kind has errors of its own
        why = (
            "" if isinstance(error, FileNotFoundError) else f" ({' '.join(str(error).split()) or type(error).__name__})"
        )
        raise UserError(
            f"{name}: {path} is not in DVC's cache{why}; `dvc exp pull <git remote> {name}` brings an experiment from "
            "where it was run, and `dvc pull` what is checked out; `make repro` makes that"
        ) from None
