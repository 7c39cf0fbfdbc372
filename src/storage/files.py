"""Read and write artefacts, one pair of functions for each format. A file is written whole or not at all.

numpy, torch and matplotlib are imported inside functions, because the stage `inputs` runs at every `dvc repro` and
needs none of them.
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
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from src.core.errors import UserError
from src.core.records import Record

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

MOST_PIXELS = 3900  # on the longer side of a picture: few programs show more, and matplotlib draws at most 65,536
AnyRecord = TypeVar("AnyRecord", bound=Record)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; if the block ends well, the file there is synced to the disk and renamed to `path`.

    Raises:
        UserError: the disk is full, or `path` may not be written.
    """
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


AGAIN = "`dvc repro` makes it again, after `rm -r .dvc/cache` if DVC's cache was damaged too"


@contextmanager
def reading(path: Path, again: str = AGAIN) -> Iterator[None]:
    """Turn every error of the block, which reads `path`, into one line.

    Args:
        again: what makes a damaged file again.

    Raises:
        UserError: the file is missing or damaged; the line says how to make it again.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc pull` brings it from a remote, `make repro` makes it") from None
    except Exception as error:  # each format has exceptions of its own for every way in which a file is broken
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}); {again}") from error


NOTHING = "nothing.txt"  # since DVC warns of empty folders


def empty_folder(path: Path) -> str:
    """Delete a folder with its files, and make it again without any."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def write_empty(*paths: Path) -> None:
    """Write outputs that the settings ask nothing for: {} in .json and .yaml files, and folders that say so."""
    for path in paths:
        if path.suffix in (".json", ".yaml"):
            write_json(path, {})
        else:
            write_text(Path(empty_folder(path)) / NOTHING, "The settings ask for nothing here.\n")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashed(file, hashlib.sha256())


def hashed(file: BinaryIO, hasher: "hashlib._Hash") -> str:
    """Add the rest of an open file to a hash, and return its hexadecimal digits."""
    while block := file.read(1 << 20):
        hasher.update(block)
    return hasher.hexdigest()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_bytes(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()


def write_json(path: Path, value: Any) -> None:
    """One key to a line, in ASCII, since DVC takes a file that begins with many other characters for a binary one.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, again: str = AGAIN) -> Any:
    with reading(path, again):
        return json.loads(path.read_text(encoding="utf-8"))


def write_record(path: Path, record: Record) -> None:
    """A record as JSON in one line, which is half as long as many, without the fields that are None."""
    write_text(path, json.dumps(record.model_dump(mode="json", exclude_none=True), allow_nan=False) + "\n")


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """A record of that class.

    Raises:
        UserError: there is no such file, or it does not hold one.
    """
    with reading(path):
        return kind.model_validate_json(path.read_bytes())


def read_optional_record(path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    """The same, or None where the stage that writes it was switched off."""
    return None if read_json(path) == {} else read_record(path, kind)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file, such as the data of a plot that DVC draws."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_figure(path: Path, figure: "Figure") -> None:
    """A PNG file, without the version of matplotlib, which would change its bytes."""
    dpi = min(150, MOST_PIXELS / max(figure.get_size_inches()))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Software": None})


def array_header(shape: Sequence[int], dtype: str) -> bytes:
    """The header of a .npy file, which comes before the rows."""
    import numpy as np

    file = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_2_0(file, header)
    return file.getvalue()


def write_array(path: Path, blocks: "Iterable[np.ndarray]", shape: Sequence[int], dtype: str) -> None:
    """Write a .npy file of `shape` from consecutive blocks of rows, of which one at a time is in memory.

    Raises:
        ValueError: the blocks do not add up to `shape[0]` rows.
    """
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        # Not a memory map, as a full disk would end the process without a message.
        file.write(array_header(shape, dtype))
        rows = 0
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
            rows += len(block)
        if rows != shape[0]:
            raise ValueError(f"{path}: {rows} rows for an array of {shape[0]}")


def read_array(path: Path, again: str = AGAIN) -> "np.ndarray":
    """A read-only memory map of a .npy file: rows are loaded when they are indexed."""
    import numpy as np

    with reading(path, again):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def write_arrays(path: Path, **arrays: "np.ndarray") -> None:
    """A .npz file of named arrays."""
    import numpy as np

    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """The named arrays of a .npz file."""
    import numpy as np

    with reading(path), np.load(path, allow_pickle=False) as archive:
        return dict(archive)


SUMS = "SHA256SUMS"  # as `sha256sum -c` reads it


def write_sums(folder: Path, some: Iterable[Path] | None = None) -> None:
    """Write the hashes of the files of a folder, of all or of some; `require_sums` compares them."""
    paths = sorted(path for path in some or folder.iterdir() if path.name != SUMS)
    write_text(folder / SUMS, _sums_text({path.name: sha256(path) for path in paths}))


def _sums_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{hashed}  {name}\n" for name, hashed in sums.items())


def require_sums(folder: Path, some: Sequence[str] = (), again: str = AGAIN) -> None:
    """Compare the hashes of the files of a folder with the written ones.

    Args:
        some: the names of the files that are to be compared; all if there are none.
        again: see `reading`.

    Raises:
        UserError: a file is missing, or its bytes changed.
    """
    with reading(folder / SUMS, again):
        text = (folder / SUMS).read_text()
        written = {name: hashed for hashed, name in map(str.split, text.splitlines())}
        if _sums_text(written) != text:
            raise ValueError("it is not what was written")
    for name in some or written:
        with reading(folder / name, again):
            if sha256(folder / name) != written.get(name):
                raise ValueError("it is not what was written")


def write_tensors(path: Path, tensors: dict[str, "Tensor"], about: dict[str, Any]) -> None:
    """A safetensors file; its header holds `about`, such as the settings of the run, and a hash of the tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        # One key, because the order of several differs from run to run.
        header = {"about": json.dumps({**about, "digest": digest(tensors)}, sort_keys=True)}
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=header)
        except SafetensorError as error:  # raised for a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors, on the CPU, and `about`.

    Raises:
        UserError: the file is missing, or its bytes changed.
    """
    from safetensors import safe_open

    with reading(path), safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("about", "{}"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if about.pop("digest", None) != digest(tensors):
            raise ValueError("its bytes changed since it was written")
        return tensors, about


def digest(tensors: "Mapping[str, Tensor]") -> str:
    """The SHA-256 of the names and bytes of tensors."""
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        hasher.update(name.encode())
        hasher.update(tensors[name].detach().cpu().contiguous().numpy().data)
    return hasher.hexdigest()


def write_best(path: Path, best: Mapping[str, Mapping[str, float]]) -> None:
    """The best settings of `finetune` for each role, as YAML: {resnet: {lr: 0.0003, weight_decay: 0.00002}}."""
    import yaml

    write_text(path, yaml.safe_dump({role: dict(values) for role, values in best.items()}, sort_keys=False))


def read_best(path: Path, role: str) -> dict[str, float]:
    """The best settings of a role; empty if `tune` was off.

    Raises:
        UserError: the file is missing, or not one of `tune`.
    """
    import yaml

    with reading(path):
        best = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: float(value) for name, value in best.get(role, {}).items()}
