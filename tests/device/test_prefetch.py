"""Prefetching: the requested images in order, read ahead by a thread, in constant memory."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from src.device import prefetch
from src.storage import raw

CPU = torch.device("cpu")
IMAGES32 = np.zeros((1000, 32, 32, 3), np.uint8)
IMAGES = np.random.default_rng(0).integers(256, size=(50, 4, 6, 3), dtype=np.uint8)
PARTS = [np.array([3, 1, 4]), np.array([1, 5, 9]), np.array([49, 0, 49])]

# Reads every image of a file twice, in random order, and prints the most memory that the process took, in MB.
READ_ALL = """
import resource, sys
import numpy as np, torch
from pathlib import Path
from src.device import prefetch
from src.storage import raw
images = raw.StoredImages(Path(sys.argv[1]))
for seed in range(2):
    order = np.random.default_rng(seed).permutation(len(images))
    parts = (order[start : start + 64] for start in range(0, len(order), 64))
    seen = sum(len(batch) for batch in prefetch.gathered(images, parts, torch.device("cpu")))
    assert seen == len(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
"""


def stored(folder: Path) -> raw.StoredImages:
    raw.write_images(folder / "images.npy", [IMAGES], IMAGES.shape)
    return raw.StoredImages(folder / "images.npy")


@pytest.fixture(params=["in memory", "stored", "on the device"])
def images(request, tmp_path) -> prefetch.Images:
    if request.param == "on the device":
        return torch.from_numpy(IMAGES)
    if request.param == "stored":
        return stored(tmp_path)
    return IMAGES


def test_the_images_asked_for_come_in_the_order_asked_for(images):
    result = list(prefetch.gathered(images, PARTS, CPU))
    assert [batch.dtype for batch in result] == [torch.uint8] * 3
    for batch, part in zip(result, PARTS, strict=True):
        np.testing.assert_array_equal(batch.numpy(), IMAGES[part])


def test_a_stored_file_gives_its_images_again_and_again(tmp_path):
    parts = [np.random.default_rng(seed).permutation(50) for seed in range(20)]
    for batch, part in zip(prefetch.gathered(stored(tmp_path), parts, CPU), parts, strict=True):
        np.testing.assert_array_equal(batch.numpy(), IMAGES[part])


def test_what_is_read_ahead_is_bounded():
    read: list[int] = []
    results = prefetch.ahead(lambda item: read.append(item) or item, range(100))
    assert next(results) == 0
    time.sleep(0.2)
    assert len(read) == prefetch.AHEAD + 1
    assert list(results) == list(range(1, 100))


def test_reading_goes_on_while_a_batch_is_worked_on():
    second = threading.Event()
    results = prefetch.ahead(lambda item: second.set() if item == 1 else None, range(3))
    next(results)
    assert second.wait(timeout=10)


def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_asked_for():
    def read(item: int) -> int:
        if item == 2:
            raise OSError("disk gone")
        return item

    results = prefetch.ahead(read, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="disk gone"):
        next(results)


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = prefetch.ahead(lambda item: item, range(100))
    next(results)
    assert threading.active_count() == before + 1
    results.close()
    assert threading.active_count() == before


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Of 6 MB and of 600 MB of images, which lie in the memory of the system, so that it could map all of them."""
    peaks = []
    for count in (2_000, 200_000):
        path = tmp_path / f"{count}.npy"
        raw.write_images(path, (IMAGES32 for _ in range(count // 1000)), (count, 32, 32, 3))
        done = subprocess.run([sys.executable, "-c", READ_ALL, str(path)], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < 50
