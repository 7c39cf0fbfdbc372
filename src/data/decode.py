"""Decode many image files into one array, in order, by several processes and in constant memory.

Each process writes the pixels that it decoded into the file itself: at 160 pixels, sending them to the first process
took more than a quarter of the time of decoding. Threads would wait for Python's lock, which Pillow holds for a quarter
to half of the time in which it decodes a photograph.
"""

import hashlib
import multiprocessing
import os
import signal
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
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, TiffImagePlugin
from tqdm import tqdm

from src.core.cpus import cores
from src.core.errors import UserError
from src.data.folders import stamp

NAMED = 5  # files of several that cannot be read
PHONE = (".heic", ".heif", ".avif")  # what telephones write, and Pillow reads in part or not at all
HEADERS = 512  # files in a piece of work that reads headers
PIECE_PIXELS = 2**20  # pixels in a piece of work that decodes images: 3 MB
AHEAD = 3  # pieces for each process: the one at work, and others that wait or are done
MIN_PIECES = 32  # pieces for each process: fewer take less time than the process takes to start
T = TypeVar("T")


def machine() -> dict[str, Any]:
    """What the pixels depend on besides the files and the code, for the key of `stages.saved_state`."""
    return {"pillow": PIL.__version__, "numpy": np.__version__}


def processes(pieces: int) -> int:
    """The number of processes for so many pieces of work: at most OMP_NUM_THREADS, or else one for each core."""
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(int(threads) if threads.isdigit() else cores(), pieces // MIN_PIECES))


def sizes(paths: Iterable[Path], count: int, label: str) -> np.ndarray:
    """Width and height of every image, (N, 2) int32."""
    with tqdm(total=count, desc=label, unit="image", leave=False, disable=None) as bar:
        parts = []
        for part in in_order(image_sizes, cut(paths, HEADERS), processes(count // HEADERS)):
            parts.append(part)
            bar.update(len(part))
    return np.concatenate(parts)


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
    """Decode images into a file, and yield the number of images that each piece of work added, in order.

    Args:
        offset: of the first image in the file, in bytes.
        skip: the number of images that are in the file already.
        paths: returns all image files, in order.
        shape: (N, H, W, 3).
        square: see `decode_images`.

    Raises:
        UserError: a file cannot be read as an image; all images before it are in the file.
    """
    count, height, width, colours = shape
    size = max(1, min(64, PIECE_PIXELS // (height * width)))
    rows = zip(range(skip, count, size), cut(islice(paths(), skip, None), size), strict=True)
    work = partial(_decode_into, file, offset, height * width * colours, square)
    with tqdm(total=count, initial=skip, desc=label, unit="image", leave=False, disable=None) as bar:
        for added in in_order(work, rows, processes((count - skip) // size)):
            bar.update(added)
            yield added


def _decode_into(file: Path, offset: int, row: int, square: int | None, work: tuple[int, list[Path]]) -> int:
    """Decode a piece of work, the number of its first image and its files, into a file; the number of images."""
    start, paths = work
    pixels = np.concatenate(list(decode_images(paths, square)))  # (b, H, W, 3)
    with file.open("rb+") as target:
        target.seek(offset + start * row)
        target.write(pixels.data)
    return len(pixels)


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut items into pieces of one size; the last may be shorter."""
    iterator = iter(items)
    while piece := list(islice(iterator, size)):
        yield piece


def in_order(work: Callable[[Any], T], pieces: Iterable[Any], count: int) -> Iterator[T]:
    """`map(work, pieces)` in order, by `count` processes that are at most `AHEAD` pieces ahead each.

    Raises:
        UserError: a process was killed, as the system does when memory runs out.
    """
    if count == 1:
        yield from map(work, pieces)
        return
    # By spawn, as on macOS: a fork would copy the locks and signal handlers of this process.
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
            "a process that decodes images was killed, perhaps for want of memory; the same command goes on from here, "
            "and a smaller OMP_NUM_THREADS starts fewer processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started in the block ignore Ctrl-C; this process alone handles it, by saving after a piece of work."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End a process of the pool with its parent; otherwise it would wait for work for ever if that was killed."""

    def wait() -> None:
        parent.join()
        os._exit(1)

    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=wait, daemon=True).start()


class MadeOf:
    """A hash of the sources of the first n rows: how images are cut, and the names, sizes and times of their files.

    For growing n each file is looked at once; for a smaller n the hash begins anew.
    """

    def __init__(self, root: Path, paths: Callable[[], Iterable[Path]], shape: tuple[int, ...], square: int | None):
        self.root, self.paths, self.cut = root, paths, f"{shape[1:]} {square}"
        self._restart()

    def _restart(self) -> None:
        self.rows, self.remaining, self.hasher = 0, iter(self.paths()), hashlib.sha256(self.cut.encode())

    def __call__(self, rows: int) -> str:
        if rows < self.rows:
            self._restart()
        for path in islice(self.remaining, rows - self.rows):
            self.hasher.update(f"{path.relative_to(self.root)}\0{_stamp(path)}\0".encode())
        self.rows = rows
        return self.hasher.hexdigest()


def _stamp(path: Path) -> str:
    try:
        return stamp(path.stat())
    except OSError:
        return "gone"


MAX_PIXELS = 2**26  # of one image: 8,192 x 8,192, 270 MB for each copy in memory
MAX_SIDE = 2**16  # Pillow keeps a pointer for each row, so an image of one column would take far more
ICON = b"\0\0\1\0"  # how an icon begins
MAX_ICON = 2**20  # pixels of a picture in an icon, which Pillow decodes before its sides can be looked at
# Raster formats only, all known to Pillow 11.3, the usual first: no reader of these starts a program, as EPS does. Not
# AVIF: what it says of its size need not be the size of what is decoded.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "CUR", "DIB", "DDS", "QOI", "TGA"),
    *("PSD", "PCX", "SGI", "SUN", "MSP", "BLP", "FITS", "SPIDER", "XBM", "XPM"),
)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_sizes(files: Iterable[Path]) -> np.ndarray:
    """Width and height of images, (n, 2) int32, read from their headers.

    Raises:
        UserError: files cannot be read as images; it says why of the first, and names the others.
    """
    faults: dict[Path, UserError] = {}

    def size(path: Path) -> tuple[int, int]:
        try:
            with _reading(path), _open_image(path) as image:
                return image.size
        except UserError as error:
            faults[path] = error
            return 0, 0

    found = [size(path) for path in files]
    if faults:
        first, *others = faults
        named = ", ".join(map(str, others[:NAMED])) + (f" and {len(others) - NAMED} more" if others[NAMED:] else "")
        raise UserError(f"{faults[first]}{'; likewise ' + named if others else ''}") from faults[first]
    return np.array(found, np.int32).reshape(-1, 2)


def square_side(sizes: np.ndarray, max_side: int) -> int | None:
    """The side in pixels of the squares to which images are cut; None if all are squares of one size.

    It is the median of the shorter sides, so that most images are neither enlarged nor much reduced; at most
    `max_side`.

    Args:
        sizes: (N, 2), see `sizes`.
    """
    if (sizes == sizes[0, 0]).all() and sizes[0, 0] <= max_side:
        return None
    return min(max_side, int(np.median(sizes.min(axis=1))))


def decode_images(files: Iterable[Path], square: int | None) -> Iterator[np.ndarray]:
    """Yield the images one by one, (1, H, W, 3) uint8 RGB, as one sees them; resized and cut to `square` if given.

    They are upright by the orientation tag alone. What is transparent shows a white ground, as on a page. Deep greys
    are scaled as `_shades` says.
    """
    for path in files:
        with _reading(path), _open_image(path) as image:
            visible = _to_rgb(image)
            if square is not None:
                visible = to_square(visible, square)
        yield np.asarray(visible)[None]  # (1, H, W, 3)


def to_square(image: Image.Image, side: int) -> Image.Image:
    """The largest square in the middle of an image, resized to `side`."""
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Every fault of a reader, whatever its type, becomes a UserError that names the file.

    Pillow checks its limit before it decodes anything, also the pictures that a file holds.
    """
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with path.open("rb") as file:
            Image.MAX_IMAGE_PIXELS = MAX_ICON if file.read(len(ICON)) == ICON else MAX_PIXELS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they name no file, and what cannot be decoded is refused
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"folder: {path} does not exist") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = Image.MAX_IMAGE_PIXELS
        raise UserError(f"folder: {path} has more than {most:,} pixels; reduce or remove it") from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"folder: {path} cannot be read as an image ({reason}); replace or remove it") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _open_image(path: Path) -> Image.Image:
    """Open an image and read its header only.

    Raises:
        UserError: a side is longer than allowed.
    """
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.UnidentifiedImageError:
        if path.stat().st_size == 0:
            raise ValueError("empty file") from None
        if path.suffix.lower() in PHONE:
            raise ValueError(f"{path.suffix[1:].upper()} is not read; save it as JPEG or PNG") from None
        raise ValueError(f"not an image, cut short, or none of {', '.join(FORMATS)}") from None
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile is decoded whole, however small the image is
        width, length = (image.tag_v2.get(tag, 0) for tag in (322, 323))
        if width * length > MAX_PIXELS:
            raise Image.DecompressionBombWarning
    if max(image.size) > MAX_SIDE:
        raise UserError(
            f"folder: {path} is {image.width} x {image.height} pixels; allowed are {MAX_SIDE:,} a side; "
            "reduce or remove it"
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB: upright, on a white ground."""
    raw = image.tile[0].args if isinstance(image, PngImagePlugin.PngImageFile) else None
    image.load()
    turn = TURNS.get(_orientation(image))
    if image.mode.startswith("I") or image.mode == "F":
        rgb = Image.fromarray(_shades(image)).convert("RGB")
    elif image.has_transparency_data:
        if (key := image.info.get("transparency")) is not None:
            image.info["transparency"] = _as_decoded(key, raw)
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(rgba, mask=rgba)
    else:
        rgb = image.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> Any:
    """The orientation tag; None if there is none that can be read. No other tag is decoded, as it may be damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None


def _as_decoded(key: Any, raw: Any) -> Any:
    """The transparent colour of a PNG as Pillow decodes it: to 8 bits, while the key is of the file's own depth."""
    if raw in ("L;2", "L;4"):
        return key * {"L;2": 85, "L;4": 17}[raw]
    return tuple(value >> 8 for value in key) if raw == "RGB;16B" else key


def _shades(image: Image.Image) -> np.ndarray:
    """Deep greys as 8 bits, (H, W) uint8: 0 becomes black, and the highest value of the format white.

    That is 65,535 at 16 bits and 4,095 at 12. Values of 32 bits, integers or floats, have no such bound: white is the
    first of 1 (floats only), 255 and 65,535 that none exceeds. If one does, or is negative, the lowest value of the
    image becomes black and the highest white.

    Raises:
        ValueError: a value is not finite.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("a pixel is not a finite number")
    if image.mode.startswith("I;16") or image.format == "PPM":
        twelve = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(258) == (12,)
        black, white = 0.0, 4095.0 if twelve else 65535.0
    else:
        bounds = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        whites = [bound for bound in bounds if low >= 0 and high <= bound]
        black, white = (0.0, whites[0]) if whites else (low, high)
    scaled = (values.astype(np.float32) - np.float32(black)) * np.float32(255 / ((white - black) or 1))
    shades = np.rint(scaled).clip(0, 255).astype(np.uint8)
    if (key := image.info.get("transparency")) is not None:
        shades[values == key] = 255  # the white ground
    return shades
