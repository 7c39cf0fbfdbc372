"""The official files are read as they lie, and refused where they are not what they should be."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.robustness import corruptions


@pytest.fixture
def folder(tmp_path):
    """Files of six test images, each pixel of which is 10 times the severity, plus the image's position."""
    values = np.array([10 * severity + place for severity in range(1, 6) for place in range(6)], np.uint8)
    np.save(tmp_path / "fog.npy", np.broadcast_to(values[:, None, None, None], (30, 32, 32, 3)))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(6, dtype=np.uint8), 5))
    return tmp_path


def test_an_image_is_found_by_severity_and_its_position_in_the_dataset(folder):
    result = corruptions.read(folder, "fog", 3, np.array([5, 0]), total=6)
    assert result.shape == (2, 32, 32, 3)
    assert result[:, 0, 0, 0].tolist() == [35, 30]


def test_the_datasets_own_order_is_asked_for(folder):
    corruptions.require_same_order(folder, np.arange(6))
    with pytest.raises(UserError, match="not in the order of this dataset's test images; allowed with dataset"):
        corruptions.require_same_order(folder, np.arange(6)[::-1])


def test_a_file_of_another_shape_or_kind_is_refused(folder):
    np.save(folder / "snow.npy", np.zeros((30, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"uint8 \(30, 8, 8, 3\); allowed is uint8 \(30, 32, 32, 3\)"):
        corruptions.read(folder, "snow", 1, np.array([0]), total=6)
    np.save(folder / "snow.npy", np.zeros((30, 32, 32, 3), np.float32))
    with pytest.raises(UserError, match="holds float32"):
        corruptions.read(folder, "snow", 1, np.array([0]), total=6)


def test_a_file_that_is_missing_or_pickled_is_refused_in_one_line(folder):
    with pytest.raises(UserError, match=r"frost.npy is missing; put the official file there"):
        corruptions.read(folder, "frost", 1, np.array([0]), total=6)
    np.save(folder / "frost.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        corruptions.read(folder, "frost", 1, np.array([0]), total=6)
