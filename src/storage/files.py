"""Every path of an artefact, and how each kind is read and written: whole or not at all.

numpy, torch and matplotlib are imported where they are used: `inputs` runs at every `dvc repro` and needs none of them.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from src.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends well it is synced and takes the name `path`."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, which names the format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def empty_folder(path: Path) -> str:
    """An empty folder for a library that insists on naming the files itself."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def write_empty(*paths: Path) -> None:
    """What a stage that is switched off leaves, for DVC to find: empty folders, and files without numbers."""
    for path in paths:
        if path.suffix in (".json", ".yaml"):
            write_json(path, {})
        else:
            empty_folder(path)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_bytes(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()


def write_json(path: Path, value: Any) -> None:
    """Numbers are written as they are, one key to a line; NaN is refused, as JSON has none.

    In ASCII: DVC takes a file that begins with many other characters, such as classes named in Chinese, for no text.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def array_header(shape: Sequence[int], dtype: str) -> bytes:
    """The first bytes of a .npy file."""
    import numpy as np

    file = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_2_0(file, header)
    return file.getvalue()


def write_array(path: Path, blocks: "Iterable[np.ndarray]", shape: Sequence[int], dtype: str) -> None:
    """Fill one .npy file of `shape` from consecutive blocks of rows, without ever holding all of it in memory."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        # Written, not mapped: on a full disk a mapping ends the process without a word.
        file.write(array_header(shape, dtype))
        rows = 0
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
            rows += len(block)
        if rows != shape[0]:
            raise ValueError(f"{path}: {rows} rows for an array of {shape[0]}")


def read_array(path: Path) -> "np.ndarray":
    """A read-only memory map: nothing is loaded before it is indexed."""
    import numpy as np

    with reading(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def write_arrays(path: Path, **arrays: "np.ndarray") -> None:
    import numpy as np

    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    import numpy as np

    with reading(path), np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def write_sums(folder: Path) -> None:
    """The hashes of a folder's files, for `read_features`."""
    write_text(folder / SUMS, sums(sorted(path for path in folder.iterdir() if path.name != SUMS)))


def read_features(folder: Path) -> "tuple[dict[str, np.ndarray], dict[str, np.ndarray]]":
    """By split the features (N, D) float32, as maps of their files; and the pretrained head, see `src.embedding`.

    Raises:
        UserError: a file is missing, or is not what was written.
    """
    with reading(folder):
        require_sums(folder)
    return {split: read_array(folder / f"{split}.npy") for split in ("train", "test")}, read_arrays(folder / "head.npz")


def write_tensors(path: Path, tensors: dict[str, "Tensor"], about: dict[str, Any]) -> None:
    """Safetensors with `about` (the settings that made them) in its header."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        # One key: the order of several would differ from run to run, and with it the bytes.
        header = {"about": json.dumps({**about, "digest": digest(tensors)}, sort_keys=True)}
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=header)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors, on the CPU, and what was written about them.

    Raises:
        UserError: there is no such file, or it is not what was written.
    """
    from safetensors import safe_open

    with reading(path), safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("about", "{}"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if about.pop("digest", None) != digest(tensors):
            raise ValueError("its bytes changed since it was written")
        return tensors, about


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file that DVC draws."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_figure(path: Path, figure: "Figure") -> None:
    """A PNG without the version and date that would change its bytes."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})


SUMS = "SHA256SUMS"  # as `sha256sum -c` reads it


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block means that the file at `path` is absent or damaged.

    Raises:
        UserError: it did; the line says how to mend it.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except Exception as error:  # each format has exceptions of its own for every way in which a file is broken
        reason = " ".join(str(error).split()) or type(error).__name__
        again = "`dvc repro` makes it again, after `rm -r .dvc/cache` if DVC's cache was damaged too"
        raise UserError(f"{path} is damaged ({reason}); {again}") from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashed(file, hashlib.sha256())


def hashed(file: BinaryIO, digest: "hashlib._Hash") -> str:
    """The hash of what is left to read of a file, added to what the digest has seen before."""
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def digest(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 of tensors, names and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().contiguous().numpy().data)
    return found.hexdigest()


def sums(paths: list[Path]) -> str:
    """One line for each file, as `sha256sum` prints it."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in paths)


def require_sums(folder: Path) -> None:
    """Check every file of a folder that its list of hashes names.

    Raises:
        ValueError: one differs, and is named.
    """
    for line in (folder / SUMS).read_text().splitlines():
        wanted, name = line.split(maxsplit=1)
        if sha256(folder / name) != wanted:
            raise ValueError(f"{name} is not what was written")


def write_best(path: Path, best: Mapping[str, Mapping[str, float]]) -> None:
    """By role the settings of `finetune` that were found: {resnet: {lr: 0.0003, weight_decay: 0.00002}}."""
    import yaml

    write_text(path, yaml.safe_dump({role: dict(found) for role, found in best.items()}, sort_keys=False))


def read_best(path: Path, role: str) -> dict[str, float]:
    """What was found for a role; nothing where `tune` was off.

    Raises:
        UserError: there is no such file, or it is none of `tune`'s.
    """
    import yaml

    with reading(path):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: float(value) for name, value in found.get(role, {}).items()}
