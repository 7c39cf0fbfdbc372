"""Archives, unpacked so that nothing in them can reach outside of their folder or fill the disk. For `download`."""

import tarfile
from pathlib import Path

MOST = 2**30  # bytes: several times what either of CIFAR's archives holds


def unpack(archive: Path, folder: Path, most: int = MOST) -> None:
    """Unpack a tar file of regular files and folders.

    Raises:
        tarfile.TarError: a member would lie outside of the folder, is a link, a device or the like, or all of them
            together are larger than `most` bytes.
        OSError, EOFError: the archive is damaged.
    """
    with tarfile.open(archive) as tar:
        total = 0
        for member in tar:  # what is compressed is not unpacked before its size is known
            if not (member.isfile() or member.isdir()):
                raise tarfile.ExtractError(f"{member.name} is neither a file nor a folder")
            total += member.size
            if total > most:
                raise tarfile.ExtractError(f"it holds more than {most:,} bytes")
        tar.extractall(folder, filter="data")
