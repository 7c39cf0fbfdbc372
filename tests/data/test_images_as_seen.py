"""Pixels are what one sees, and a hostile file is refused in one line that names it."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data import decode


def decoded(path: Path) -> np.ndarray:
    """The pixels of a file, (H, W, 3)."""
    decode.image_sizes([path])
    (block,) = decode.decode_images([path], None)
    return block[0]


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        decoded(path)
    assert str(error.value).startswith(f"folder: {path} ")
    assert "\n" not in str(error.value)
    return str(error.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, key: bytes = b"") -> bytes:
    """A PNG as written by hand, of a depth that Pillow does not write."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))]
    parts += [chunk(b"tRNS", key)] if key else []
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


INKS = {"RGBA": ((0, 0, 0, 0), (0, 0, 0, 255), {}), "LA": ((0, 0), (0, 255), {})}
INKS |= {"L": (9, 0, {"transparency": 9}), "RGB": ((9, 9, 9), 0, {"transparency": (9, 9, 9)})}
INKS |= {"1": (0, 1, {"transparency": 0}), "I;16": (9, 0, {"transparency": 9}), "P": (1, 0, {"transparency": 1})}


@pytest.mark.parametrize("mode", INKS)
def test_what_is_transparent_shows_a_white_ground(tmp_path, mode):
    clear, ink, options = INKS[mode]
    image = Image.new(mode, (2, 1), clear)
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 0])
    image.putpixel((1, 0), ink)
    image.save(tmp_path / "image.png", **options)
    assert Image.open(tmp_path / "image.png").mode == mode
    assert decoded(tmp_path / "image.png").tolist() == [[[255] * 3, [255 * (mode == "1")] * 3]]


def test_what_is_half_transparent_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (1, 1), (0, 0, 0, 102)).save(tmp_path / "image.png")
    assert decoded(tmp_path / "image.png").tolist() == [[[153] * 3]]


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "key", "seen"),
    [
        (2, 0, b"\0\x60", b"\0\1", [255, 170]),  # the greys 1 (clear) and 2 of 3
        (4, 0, b"\0\x12", b"\0\1", [255, 34]),
        (16, 2, b"\0" + b"\x12\x34" * 3 + b"\0\0" * 3, b"\x12\x34" * 3, [255, 0]),
    ],
)
def test_the_transparent_colour_of_a_png_is_found_at_every_depth(tmp_path, depth, colour, rows, key, seen):
    (tmp_path / "image.png").write_bytes(png((2, 1), depth, colour, rows, key))
    assert decoded(tmp_path / "image.png")[0, :, 0].tolist() == seen


@pytest.mark.parametrize(
    ("values", "kind", "seen"),
    [
        ([0, 32768, 65535], np.uint16, [0, 128, 255]),
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([0, 256, 65535], np.int32, [0, 1, 255]),
        ([0, 2**29, 2**30], np.int32, [0, 128, 255]),
        ([-100, 0, 100], np.int32, [0, 128, 255]),
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([0, 100, 255], np.float32, [0, 100, 255]),
        ([-1, 0, 1], np.float32, [0, 128, 255]),
        ([1e9, 1e9, 1e9], np.float32, [0, 0, 0]),
    ],
)
def test_deep_greys_are_scaled_by_the_written_rule(tmp_path, values, kind, seen):
    Image.fromarray(np.array([values], kind)).save(tmp_path / "image.tif")
    np.testing.assert_allclose(decoded(tmp_path / "image.tif")[0, :, 0], seen, atol=1)


def test_of_twelve_bits_the_highest_value_is_white(tmp_path):
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<I", 12) + b"\x80\x0f\xff\0"  # the greys 0x800 and 0xfff
    (tmp_path / "image.tif").write_bytes(header + struct.pack("<H", len(tags)) + body + bytes(4))
    assert decoded(tmp_path / "image.tif")[0, :, 0].tolist() == [128, 255]


def test_a_float_that_is_no_number_is_refused(tmp_path):
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "image.tif")
    assert "a pixel is not a finite number" in refusal(tmp_path / "image.tif")


ODD_TAGS = {
    "resolution is a text": (0x011A, 2, 2, b"72\0\0"),
    "interoperability is bytes": (0xA005, 7, 4, b"\1\2\3\4"),
    "description is a float": (0x010E, 11, 1, b"\0\0\x80\x3f"),
    "GPS is nowhere": (0x8825, 9, 1, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("odd", ODD_TAGS)
def test_an_image_is_upright_whatever_its_other_tags_are(tmp_path, suffix, odd):
    tags = sorted([(0x0112, 3, 1, b"\6\0\0\0"), ODD_TAGS[odd]])
    body = struct.pack("<H", 2) + b"".join(struct.pack("<HHI4s", *tag) for tag in tags)
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (48, 32), "red").save(path, exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + body)
    assert decoded(path).shape == (48, 32, 3)


def test_no_program_is_started_for_a_page_that_is_called_an_image(tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it remembers what it found before
    Image.new("RGB", (8, 8)).save(tmp_path / "image.jpg", format="EPS")
    assert "none of JPEG, PNG" in refusal(tmp_path / "image.jpg")
    assert not (tmp_path / "started").exists()


def icon(picture: bytes) -> bytes:
    """An icon that says that it is 16 x 16 pixels."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


def test_the_limit_holds_for_the_picture_in_an_icon(tmp_path):
    (tmp_path / "image.ico").write_bytes(icon(png((13_000, 13_000), 8, 0, b"")))
    assert "has more than 1,048,576 pixels" in refusal(tmp_path / "image.ico")


def tiled(width: int, length: int) -> bytes:
    """A TIFF of 16 x 16 pixels in one tile of another size."""
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: length, 324: 8}
    data = zlib.compress(bytes(width * length) if width * length < 2**20 else b"")
    entries = sorted((tags | {325: len(data)}).items())
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + body + bytes(4)


def test_the_limit_holds_for_the_tile_of_a_small_image(tmp_path):
    (tmp_path / "image.tif").write_bytes(tiled(32, 16))
    assert decoded(tmp_path / "image.tif").shape == (16, 16, 3)
    (tmp_path / "image.tif").write_bytes(tiled(16_384, 16_384))
    assert "has more than 67,108,864 pixels" in refusal(tmp_path / "image.tif")


def test_an_icon_is_seen_on_white(tmp_path):
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "image.ico")
    np.testing.assert_array_equal(decoded(tmp_path / "image.ico"), np.full((16, 16, 3), 255))


MEMORY = """
import resource, sys
from pathlib import Path
from src.data import decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    list(decode.decode_images([Path(sys.argv[1])], 32))
except decode.UserError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, error)
"""


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("png", "is 1 x 67108864 pixels; allowed are 65,536 a side"), ("ico", "has more than 1,048,576 pixels")],
)
def test_a_narrow_image_is_refused_before_its_rows_fill_the_memory(tmp_path, kind, fault):
    path = tmp_path / f"image.{kind}"
    picture = png((1, 2**26), 8, 0, bytes(2**27))
    path.write_bytes(icon(picture) if kind == "ico" else picture)
    assert path.stat().st_size < 200_000
    command = [sys.executable, "-c", MEMORY, str(path)]
    megabytes, said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(" ", 1)
    assert said.startswith(f"folder: {path} {fault}")
    assert int(megabytes) < 100


@pytest.mark.parametrize(
    "kind", [AttributeError, KeyError, MemoryError, RuntimeError, ZeroDivisionError, AssertionError]
)
def test_whatever_a_reader_raises_the_file_is_named(tmp_path, monkeypatch, kind):
    def load(_: Image.Image) -> None:
        raise kind("two\nlines")

    Image.new("RGB", (8, 8)).save(tmp_path / "image.bmp")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert "cannot be read as an image" in refusal(tmp_path / "image.bmp")


def written(kind: str) -> bytes:
    """A red image of 24 x 16 pixels as Pillow writes it."""
    mode = {"XBM": "1", "MSP": "1", "SPIDER": "F", "BLP": "P"}.get(kind, "RGB")
    file = io.BytesIO()
    Image.new("RGB", (24, 16), "red").convert(mode).save(file, format=kind)
    return file.getvalue()


def by_hand(kind: str) -> bytes:
    """The same of formats that Pillow reads only."""
    if kind == "CUR":
        file = io.BytesIO()
        Image.new("RGBA", (24, 16), "red").save(file, format="ICO", bitmap_format="bmp")
        return b"\0\0\2\0" + file.getvalue()[4:]
    if kind == "PSD":
        header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 16, 24, 8, 3)
        return header + bytes(14) + b"\xff" * 384 + bytes(768)
    if kind == "SUN":
        return struct.pack(">8I", 0x59A66A95, 24, 16, 24, 1152, 1, 0, 0) + b"\0\0\xff" * 384
    if kind == "FITS":
        cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 24", "NAXIS2  = 16", "END"]
        return "".join(f"{card:80}" for card in cards).ljust(2880).encode() + bytes(2880)
    if kind == "QOI":
        return struct.pack(">4sIIBB", b"qoif", 24, 16, 3, 0) + b"\xfe\xff\0\0" * 384 + bytes(7) + b"\1"
    assert kind == "XPM"
    rows = ",\n".join(['"24 16 1 1"', '"a c #ff0000"', *['"' + "a" * 24 + '"'] * 16])
    return f"/* XPM */\nstatic char *image[] = {{\n{rows}\n}};\n".encode()


Image.init()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # readers leave damaged files open
@pytest.mark.parametrize("kind", decode.FORMATS)
def test_a_damaged_file_of_any_format_is_an_image_or_is_refused_by_name(tmp_path, kind):
    rng, path = random.Random(kind), tmp_path / "image"
    whole = written(kind) if kind in Image.SAVE else by_hand(kind)
    path.write_bytes(whole)
    with Image.open(path, formats=decode.FORMATS) as image:
        assert image.format == kind
    assert decoded(path).shape[2] == 3
    for _ in range(60):
        data = bytearray(whole[: rng.choice([len(whole), rng.randrange(1, len(whole))])])
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(min(len(data), rng.choice([64, len(data)])))] = rng.randrange(256)
        path.write_bytes(data)
        said = f"folder: {path} "
        try:
            decoded(path)
        except UserError as error:
            said = str(error)
        assert said.startswith(f"folder: {path} ")
        assert "\n" not in said
