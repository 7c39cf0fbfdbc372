"""Download a file and check its hash; unpack an archive that may write neither outside of its folder nor endlessly."""

import re
import tarfile
from http.client import HTTPException
from pathlib import Path

from src.core.errors import UserError
from src.storage.files import sha256


def name_in(url: str) -> str:
    """The file name in a URL, without query and fragment."""
    return re.split(r"[?#]", url)[0].rsplit("/", 1)[-1]


def hash_in_name(url: str) -> str:
    """The SHA-256 prefix that PyTorch puts into the names of its weights: `resnet18-f37072fd.pth` -> `f37072fd`.

    Raises:
        UserError: the name has none.
    """
    match = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", name_in(url))
    if match is None:
        raise UserError(
            f"{url}: its name must end in -<first 8 or more digits of its SHA-256>.pth, or nothing can be checked"
        )
    return match[1]


def fetch(url: str, folder: Path, sha256_prefix: str) -> Path:
    """The path of the file of `url` in `folder`, downloaded unless it is there already.

    PyTorch downloads to a temporary name, checks the hash and renames, so that a broken transfer leaves nothing behind.

    Raises:
        UserError: the network fails, or the SHA-256 does not begin with `sha256_prefix`.
    """
    target = folder / name_in(url)
    if not target.exists():
        from torch.hub import download_url_to_file  # torch takes seconds to import

        try:
            download_url_to_file(url, str(target), hash_prefix=sha256_prefix)
        except RuntimeError as error:
            raise UserError(f"{url}: {error}; nothing was kept, try again") from error
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            by_hand = (
                f"put the file at {target} by hand, or run `make demo`, which needs no network; `make doctor` says more"
            )
            raise UserError(f"{url} cannot be fetched ({reason}): {by_hand}") from error
    elif not sha256(target).startswith(sha256_prefix):
        raise UserError(
            f"{target}: its SHA-256 does not begin with {sha256_prefix}; delete it, and it is fetched again"
        )
    return target


MAX_UNPACKED = 2**30  # bytes: several times the size of either CIFAR archive


def unpack(archive: Path, folder: Path, most: int = MAX_UNPACKED) -> None:
    """Unpack a tar file that holds regular files and folders only, of at most `most` bytes together.

    Raises:
        tarfile.TarError: a member is something else, would lie outside of the folder, or the sum is too large.
        OSError, EOFError: the archive is damaged.
    """
    with tarfile.open(archive) as tar:
        total = 0
        for member in tar:  # a first pass over the headers, before anything is written
            if not (member.isfile() or member.isdir()):
                raise tarfile.ExtractError(f"{member.name} is neither a file nor a folder")
            total += member.size
            if total > most:
                raise tarfile.ExtractError(f"it holds more than {most:,} bytes")
        tar.extractall(folder, filter="data")
