"""Features of the images that an experiment reads: looked up by position, and none for any other image."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.storage import features, files
from src.storage.features import ImageRows
from src.storage.rows import Row

ROWS = ImageRows(np.array([2, 3, 7]), np.array([[20.0], [30.0], [70.0]]))


def test_rows_are_those_of_the_positions_in_any_order():
    assert ROWS[np.array([7, 2, 7, 3])].tolist() == [[70], [20], [70], [30]]
    assert ROWS[np.array([], int)].shape == (0, 1)


@pytest.mark.parametrize("position", [0, 5, 8, -1])
def test_an_image_that_was_not_embedded_is_named(position):
    with pytest.raises(UserError, match=f"^image {position} has no features, as .* `dvc repro` makes them anew"):
        ROWS[np.array([2, position, 1])]


def test_what_was_written_is_read_with_its_cost(tmp_path):
    rows = {bytes([number]): Row(np.full(3, number, "float32").tobytes(), 0.5, 10 * number) for number in range(6)}
    train = np.array([4, 9, 10]), [([b"\1", b"\2"], rows), ([b"\5"], rows)]
    cost = features.write(tmp_path, {"train": train, "test": (np.array([0]), [([b"\3"], rows)])}, 3)
    assert (cost.seconds, cost.memory) == (2.0, 50)
    files.write_arrays(tmp_path / "head.npz", bias=np.zeros(2))
    files.write_sums(tmp_path)
    result, head = features.read_features(tmp_path)
    assert result["train"][np.array([10, 4])].tolist() == [[5, 5, 5], [1, 1, 1]]
    assert result["test"][np.array([0])].tolist() == [[3, 3, 3]]
    assert head.keys() == {"bias"}


def test_a_row_that_is_gone_is_told_in_a_line(tmp_path):
    with pytest.raises(UserError, match="gone or damaged; the same command embeds them again"):
        features.write(tmp_path, {"train": (np.array([4]), [([b"\1"], {})])}, 3)
    assert not (tmp_path / "train.npy").exists()
