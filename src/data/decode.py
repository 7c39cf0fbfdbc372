"""Many image files -> one array: by several processes, in order, and in memory that does not grow.

A process writes the pixels that it decoded straight into the file: at 160 pixels, sending them to the first process
took longer than a quarter of the decoding. Threads would share Python's lock, which Pillow holds for a quarter to half
of the time that it takes to decode a photograph.
"""

import hashlib
import multiprocessing
import os
import signal
import struct
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL
from PIL import Image, ImageOps
from tqdm import tqdm

from src.core.errors import UserError
from src.data.folders import stamp

HEADERS = 512  # files of which a process reads the headers at a time
PIECE_PIXELS = 2**20  # of the images that a process decodes at a time: 3 MB
AHEAD = 3  # of these pieces of work for each process: one that it is at, others that wait or are done
WORTH = 32  # pieces of work that take longer than another process takes to start
T = TypeVar("T")


def machine() -> dict[str, Any]:
    """What the pixels depend on besides the files and the code: `resuming.place` takes it."""
    return {"pillow": PIL.__version__, "numpy": np.__version__}


def processes(pieces: int) -> int:
    """How many are worth it: at most a process for each core, or as many as OMP_NUM_THREADS leaves to an experiment."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(given) if given.isdigit() else cores, pieces // WORTH))


def sizes(paths: Iterable[Path], count: int, label: str) -> np.ndarray:
    """Width and height of every image, (N, 2) int32."""
    with tqdm(total=count, desc=label, unit="image", leave=False, disable=None) as bar:
        found = []
        for part in in_order(image_sizes, cut(paths, HEADERS), processes(count // HEADERS)):
            found.append(part)
            bar.update(len(part))
    return np.concatenate(found)


def write(
    file: Path,
    offset: int,
    skip: int,
    *,
    paths: Callable[[], Iterable[Path]],
    shape: tuple[int, ...],
    square: int | None,
    label: str,
) -> Iterator[int]:
    """Decode images into a file, and tell after each piece of work how many more are there, in order.

    Args:
        offset: bytes of the file before the first image.
        skip: so many images are there already.
        paths: all files, in order.
        shape: (N, H, W, 3).
        square: see `pictures.decode`.

    Raises:
        UserError: a file cannot be read as an image; all before it are there.
    """
    count, height, width, colours = shape
    size = max(1, min(64, PIECE_PIXELS // (height * width)))
    rows = zip(range(skip, count, size), cut(islice(paths(), skip, None), size), strict=True)
    work = partial(_decode_into, file, offset, height * width * colours, square)
    with tqdm(total=count, initial=skip, desc=label, unit="image", leave=False, disable=None) as bar:
        for more in in_order(work, rows, processes((count - skip) // size)):
            bar.update(more)
            yield more


def _decode_into(file: Path, offset: int, row: int, square: int | None, work: tuple[int, list[Path]]) -> int:
    start, paths = work
    pixels = np.concatenate(list(decode_images(paths, square)))  # (b, H, W, 3)
    with file.open("rb+") as target:
        target.seek(offset + start * row)
        target.write(pixels.data)
    return len(pixels)


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Pieces of so many items; the last may be shorter."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def in_order(work: Callable[[Any], T], pieces: Iterable[Any], count: int) -> Iterator[T]:
    """`work` of every piece, in order, by so many processes, none of them more than a few pieces ahead.

    Raises:
        UserError: one of the processes was ended from outside, as a machine without memory does.
    """
    if count == 1:
        yield from map(work, pieces)
        return
    # By spawn everywhere, as macOS does: a copy of this process would have its locks and its handlers of signals too.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    waiting = deque[Future[T]]()
    try:
        for piece in pieces:
            with _without_ctrl_c():
                waiting.append(pool.submit(work, piece))
            if len(waiting) == AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "a process that decodes images was ended from outside, perhaps for want of memory; the same command goes "
            "on from here, and OMP_NUM_THREADS says how many there are"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that start meanwhile never see it: it is left to this one, which finishes a piece of work and saves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """In a process of the pool: it would wait for work for ever after its parent was killed."""

    def wait() -> None:
        parent.join()
        os._exit(1)

    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=wait, daemon=True).start()


class MadeOf:
    """What the first so many rows were made of: how the images are cut, and the names, sizes and times of their files.

    Files are looked at once, as their rows come; after a wrong start from the first one again.
    """

    def __init__(self, root: Path, paths: Callable[[], Iterable[Path]], shape: tuple[int, ...], square: int | None):
        self.root, self.paths, self.how = root, paths, f"{shape[1:]} {square}"
        self._restart()

    def _restart(self) -> None:
        self.rows, self.rest, self.seen = 0, iter(self.paths()), hashlib.sha256(self.how.encode())

    def __call__(self, rows: int) -> str:
        if rows < self.rows:
            self._restart()
        for path in islice(self.rest, rows - self.rows):
            self.seen.update(f"{path.relative_to(self.root)}\0{_stamp(path)}\0".encode())
        self.rows = rows
        return self.seen.hexdigest()


def _stamp(path: Path) -> str:
    try:
        return stamp(path.stat())
    except OSError:
        return "gone"


MOST_PIXELS = 2**26  # of one image at most: 8,192 x 8,192, some 200 MB in memory


def image_sizes(files: Iterable[Path]) -> np.ndarray:
    """Width and height of each, (n, 2) int32, from the headers alone."""
    return np.array([_open_image(path).size for path in files], np.int32).reshape(-1, 2)


def square_side(sizes: np.ndarray, max_side: int) -> int | None:
    """None where all images are squares of one size, else the side in pixels of the squares that they are cut to.

    The median of the shorter sides, so that most images are neither enlarged nor much reduced; at most `max_side`.

    Args:
        sizes: (N, 2), see `sizes`.
    """
    if (sizes == sizes[0, 0]).all() and sizes[0, 0] <= max_side:
        return None
    return min(max_side, int(np.median(sizes.min(axis=1))))


def decode_images(files: Iterable[Path], square: int | None) -> Iterator[np.ndarray]:
    """The images one by one, (1, H, W, 3) uint8: upright, RGB, and with `square` reduced and cut to that side."""
    for path in files:
        image = _open_image(path)
        try:
            upright = _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, TypeError, struct.error) as error:
            raise UserError(f"folder: {path} cannot be read as an image ({error}); replace or remove it") from error
        if square is not None:
            upright = ImageOps.fit(upright, (square, square), Image.Resampling.BICUBIC)
        yield np.asarray(upright)[None]  # (1, H, W, 3)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greys, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _open_image(path: Path) -> Image.Image:
    """An image of which only the header was read.

    Raises:
        UserError: it is no image, or larger than allowed: a small file can hold a picture that fills the memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            image = Image.open(path)
    except Image.DecompressionBombError:
        raise UserError(f"folder: {path} has far more than {MOST_PIXELS:,} pixels; reduce or remove it") from None
    except (OSError, ValueError, SyntaxError) as error:
        known = getattr(error, "strerror", None) or ("empty file" if path.stat().st_size == 0 else None)
        reason = known or "not an image, or cut short"
        raise UserError(f"folder: {path} cannot be read as an image ({reason}); replace or remove it") from error
    if image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"folder: {path} is {image.width} x {image.height} pixels; allowed are {MOST_PIXELS:,}; reduce or remove it"
        )
    return image
