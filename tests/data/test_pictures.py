"""Image files: pixels are upright RGB whatever the format, and broken files are refused by name."""

import contextlib
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data import decode, folders

REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10-images.zip"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size: int = 16) -> Image.Image:
    """Red and green above blue and white, so that every turn and reflection is told apart."""
    pixels = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    return Image.fromarray(pixels.repeat(size // 2, axis=0).repeat(size // 2, axis=1))


def decoded(path: Path, square: int | None = None) -> np.ndarray:
    (block,) = decode.decode_images([path], square)
    assert block.dtype == np.uint8
    assert block.ndim == 4
    return block[0]


def side(files: list[Path], max_side: int) -> int | None:
    return decode.square_side(decode.image_sizes(files), max_side)


def refusal(path: Path) -> str:
    """The one line with which a file is refused, be it by its header or by its pixels."""
    with pytest.raises(UserError) as error:
        list(decode.decode_images([path], side([path], 256)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_any_mode_of_colour_becomes_rgb(tmp_path, mode):
    suffix = "tiff" if mode == "CMYK" else "png"
    quarters().convert(mode).save(tmp_path / f"image.{suffix}")
    assert Image.open(tmp_path / f"image.{suffix}").mode == mode
    np.testing.assert_array_equal(decoded(tmp_path / f"image.{suffix}"), np.asarray(quarters()))


@pytest.mark.parametrize(("mode", "value", "grey"), [("L", 100, 100), ("LA", (100, 255), 100), ("1", 1, 255)])
def test_grey_becomes_three_equal_channels(tmp_path, mode, value, grey):
    Image.new(mode, (4, 4), value).save(tmp_path / "image.png")
    np.testing.assert_array_equal(decoded(tmp_path / "image.png"), np.full((4, 4, 3), grey))


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    Image.fromarray(np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "image.png")
    np.testing.assert_allclose(decoded(tmp_path / "image.png")[0, :, 0], [0, 64, 128, 255], atol=1)


# What a camera writes when it is held so: the stored pixels, and the tag that says how to turn them upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize(("orientation", "stored"), TURNS.items())
def test_an_image_is_upright_whatever_its_camera_was(tmp_path, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation  # the standard's "Orientation"
    quarters().transpose(stored).save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(decoded(tmp_path / "image.png"), np.asarray(quarters()))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_images_of_one_size_of_which_some_lie_on_their_side_become_squares(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [tmp_path / f"upright.{suffix}", tmp_path / f"lying.{suffix}"]
    Image.new("RGB", (12, 8)).save(files[0])
    Image.new("RGB", (12, 8)).save(files[1], exif=exif)
    assert side(files, 256) == 8


@pytest.mark.parametrize("orientation", [0, 3, 6, 9])
def test_squares_of_one_size_stay_as_they_are_however_they_lie(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    files = [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    Image.new("RGB", (12, 12)).save(files[0])
    Image.new("RGB", (12, 12)).save(files[1], exif=exif)
    assert side(files, 256) is None
    assert [block.shape for block in decode.decode_images(files, None)] == [(1, 12, 12, 3)] * 2


TEXT = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0"  # the orientation is a text, "6"


@pytest.mark.parametrize(
    ("suffix", "exif"), [("png", b"junk"), ("webp", b"junk"), ("jpg", TEXT)], ids=["png", "webp", "jpg"]
)
def test_exif_that_makes_no_sense_is_ignored_or_refused(tmp_path, suffix, exif):
    path, shapes = tmp_path / f"image.{suffix}", []
    quarters().save(path, exif=exif)
    with contextlib.suppress(UserError):
        shapes = [block.shape for block in decode.decode_images([path], side([path], 256))]
    assert shapes in ([], [(1, 16, 16, 3)])


def test_squares_of_one_size_are_left_as_they_are_and_others_are_cut(tmp_path):
    for name, size in (("1.png", (8, 8)), ("2.png", (8, 8)), ("3.png", (10, 8))):
        Image.new("RGB", size).save(tmp_path / name)
    assert side([tmp_path / "1.png", tmp_path / "2.png"], 256) is None
    assert side([tmp_path / "3.png"], 256) == 8


@pytest.mark.parametrize(("max_side", "expected"), [(256, 20), (16, 16)])
def test_images_of_many_sizes_become_squares_of_their_median_shorter_side(tmp_path, max_side, expected):
    files = []
    for width, height in ((30, 10), (20, 40), (50, 50)):
        files.append(tmp_path / f"{width}.png")
        Image.new("RGB", (width, height)).save(files[-1])
    assert side(files, max_side) == expected
    assert [block.shape for block in decode.decode_images(files, expected)] == [(1, expected, expected, 3)] * 3


def test_large_images_of_one_size_are_reduced(tmp_path):
    Image.new("RGB", (10, 8)).save(tmp_path / "1.png")
    assert side([tmp_path / "1.png"], max_side=9) == 8
    assert side([tmp_path / "1.png"], max_side=5) == 5


def test_the_middle_of_an_oblong_image_is_kept(tmp_path):
    """Three squares side by side: only the middle one, green, remains."""
    pixels = np.array([[RED, GREEN, BLUE]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    np.testing.assert_array_equal(decoded(tmp_path / "image.png", square=8), np.full((8, 8, 3), GREEN))


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of a few hundred bytes whose header promises so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(8193, 8192), (10_000, 10_000), (100_000, 100_000)])
def test_a_small_file_that_would_fill_the_memory_is_refused_by_name(tmp_path, size):
    path = bomb(tmp_path / "image.png", *size)
    assert path.stat().st_size < 200
    assert f"folder: {path} has more than 67,108,864 pixels" in refusal(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_a_film_the_first_picture_is_taken(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    others = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, BLUE)]
    Image.new("RGB", (16, 16), RED).save(path, save_all=True, append_images=others, lossless=True)
    assert Image.open(path).n_frames == 3
    np.testing.assert_array_equal(decoded(path), np.full((16, 16, 3), RED))


def test_an_empty_file_is_refused_by_name(tmp_path):
    (tmp_path / "image.jpg").touch()
    assert refusal(tmp_path / "image.jpg") == (
        f"folder: {tmp_path / 'image.jpg'} cannot be read as an image (empty file); replace or remove it"
    )


def test_a_file_that_is_gone_is_refused_by_name(tmp_path):
    assert f"{tmp_path / 'gone.jpg'} does not exist" in refusal(tmp_path / "gone.jpg")


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "Thumbs.db").write_text("no image")
    assert f"{tmp_path / 'Thumbs.db'} cannot be read as an image (not an image" in refusal(tmp_path / "Thumbs.db")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tiff"])
@pytest.mark.parametrize("kept", [0.03, 0.5])
def test_a_file_that_was_cut_short_is_refused_by_name(tmp_path, suffix, kept):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert f"folder: {path} cannot be read as an image" in refusal(path)


def test_a_damaged_file_is_refused_by_name(tmp_path):
    path = tmp_path / "image.png"
    quarters(64).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    assert f"folder: {path} cannot be read as an image" in refusal(path)


def test_real_images_decode_as_pillow_shows_them(tmp_path):
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: real images are not part of the repository")
    with zipfile.ZipFile(REAL) as archive:
        wanted = [
            name
            for split in folders.SPLITS
            for kind in ("bird", "ship")
            for name in [name for name in archive.namelist() if name.startswith(f"{split}/{kind}/")][:3]
        ]
        archive.extractall(tmp_path, wanted)
    listing, _ = folders.scan(tmp_path)
    files = [path for split in folders.SPLITS for path in folders.paths(tmp_path, listing, split)]
    assert len(files) == 12
    assert side(files, 256) is None
    for path, block in zip(files, decode.decode_images(files, None), strict=True):
        assert block.shape == (1, 32, 32, 3)
        np.testing.assert_array_equal(block[0], np.asarray(Image.open(path)))


def test_all_files_that_begin_as_no_images_are_named_together(tmp_path):
    for name in "abcdefgh":
        (tmp_path / f"{name}.jpg").write_bytes(b"text")
    with pytest.raises(UserError) as error:
        decode.image_sizes(sorted(tmp_path.iterdir()))
    assert str(error.value).startswith(f"folder: {tmp_path / 'a.jpg'} cannot be read as an image (not an image")
    others = ", ".join(str(tmp_path / f"{name}.jpg") for name in "bcdef")
    assert str(error.value).endswith(f"; likewise {others} and 2 more")


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "x.avif"])
def test_what_a_telephone_writes_is_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    assert f"({name.split('.')[1].upper()} is not read; save it as JPEG or PNG)" in refusal(tmp_path / name)
