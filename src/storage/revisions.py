"""Outputs of experiments and other revisions, from DVC's cache."""

from typing import TYPE_CHECKING

from src.core.errors import UserError

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem


def read_bytes(system: "DVCFileSystem", name: str, path: str) -> bytes:
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
