"""Inference: outputs in the order of the index, however the images are cut into batches."""

import numpy as np
import pytest
import torch
from torch import nn

from src.core.errors import UserError
from src.device import runtime
from src.nets import folding, inference, models, preprocess, specialised
from src.storage import raw

VIEW = preprocess.View(4, (0.0,) * 3, (1 / 255,) * 3)  # pixels as they are
IMAGES = np.random.default_rng(0).integers(256, size=(600, 4, 4, 3), dtype=np.uint8)

CPU = runtime.start("cpu", "fp32")


def outputs(model: nn.Module, index: np.ndarray, source: np.ndarray = IMAGES) -> np.ndarray:
    return np.concatenate(list(inference.outputs(model, source, index, view=VIEW, accelerator=CPU)))


def test_batches_have_one_size_and_the_last_repeats_its_last_entry():
    parts = [(part.tolist(), count) for part, count in inference.batches(np.array([7, 3, 5, 9, 1]), 2)]
    assert parts == [([7, 3], 2), ([5, 9], 2), ([1, 1], 1)]


class Seen(nn.Module):
    """Keeps the shapes of the batches that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(batch.shape))
        return batch.flatten(1)


@pytest.mark.parametrize(("full", "images"), [(False, 2), (True, 256)])
def test_a_batch_is_no_larger_than_what_there_is_unless_all_are_to_have_one_size(full, images):
    seen = Seen()
    (rows,) = inference.outputs(seen, IMAGES, np.array([4, 2]), view=VIEW, accelerator=CPU, full_batches=full)
    assert seen.shapes == [(images, 3, 4, 4)]
    np.testing.assert_array_equal(rows, outputs(Seen(), np.array([4, 2])))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny", "efficientnet_lite0", "mobilenet_v3_small"])
def test_the_features_of_an_image_do_not_depend_on_the_other_images(arch, size):
    """To the bit: alone, in other company, and at any place of a batch."""
    model = models.without_head(models.build(arch, 1000, seed=0, image_size=size)).eval()
    model = specialised.place(folding.fold(model), size, CPU.device)
    how = {"view": preprocess.view(arch, size), "accelerator": CPU, "full_batches": True}
    count = inference.batch_size(size, CPU.device) + 5
    raw = np.random.default_rng(0).integers(256, size=(count, 32, 32, 3), dtype=np.uint8)

    def features(index: np.ndarray) -> np.ndarray:
        return np.concatenate(list(inference.outputs(model, raw, index, **how)))

    expected = features(np.arange(count))
    assert len(np.unique(expected, axis=0)) == count
    shuffled = np.random.default_rng(1).permutation(count)
    for index in (shuffled, shuffled[:7], np.array([count - 1])):
        np.testing.assert_array_equal(features(index), expected[index])


@pytest.mark.parametrize(("image_size", "images"), [(4, 256), (32, 128), (64, 32), (128, 8), (2048, 8)])
def test_on_the_cpu_larger_images_go_in_smaller_batches(image_size, images):
    assert inference.batch_size(image_size, torch.device("cpu")) == images
    assert inference.batch_size(image_size, torch.device("mps")) == 256


@pytest.mark.parametrize("count", [1, 255, 256, 257, 512, 600])
def test_every_image_gives_its_own_output_in_the_order_asked_for(count):
    index = np.random.default_rng(1).permutation(600)[:count]
    layer = nn.Linear(48, 48)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(48))
        layer.bias.zero_()
    result = outputs(nn.Sequential(nn.Flatten(), layer), index)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, IMAGES[index].transpose(0, 3, 1, 2).reshape(count, 48))


def test_an_image_may_be_asked_for_twice():
    result = outputs(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), np.array([5, 9, 5]))
    np.testing.assert_array_equal(result[0], result[2])
    assert (result[0] != result[1]).all()


def test_a_network_is_used_as_it_is_and_not_changed():
    """Dropout is off, and running statistics stay."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, again = outputs(model, np.arange(20)), outputs(model, np.arange(20))
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_images_are_read_from_a_file_as_from_memory(tmp_path):
    raw.write_images(tmp_path / "images.npy", [IMAGES], IMAGES.shape)
    model, index = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), np.array([599, 0, 300])
    stored = raw.StoredImages(tmp_path / "images.npy")
    np.testing.assert_array_equal(outputs(model, index, stored), outputs(model, index))


class Greedy(Seen):
    """A network for which more than some images are too many; it fails where the memory is full, in the third batch."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        result = super().forward(batch)
        if len(batch) > self.most and len(self.shapes) > 2:
            raise self.error
        return result


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory"),
    ],
    ids=str,
)
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(monkeypatch, capsys, error):
    monkeypatch.setattr(inference, "batch_size", lambda *_: 128)
    model, index = Greedy(32, error), np.random.default_rng(0).permutation(600)
    np.testing.assert_array_equal(outputs(model, index), outputs(Seen(), index))
    assert [shape[0] for shape in model.shapes] == [128] * 3 + [64] + [32] * 11  # 600 - 2 * 128 images remain
    said = "out of memory on cpu with batches of 128 images; goes on with 64\n"
    said += "out of memory on cpu with batches of 64 images; goes on with 32\n"
    assert capsys.readouterr().out == said
    outputs(model, index)  # once and for all
    assert capsys.readouterr().out == ""


def test_an_image_that_does_not_fit_is_told_by_its_setting():
    model = Greedy(0, MemoryError())
    model.shapes += [()] * 2
    with pytest.raises(UserError, match=r"image_size = 4: out of memory on cpu with 1 image; try a smaller one"):
        outputs(model, np.arange(600))


def test_another_error_of_a_network_is_none_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        outputs(Greedy(0, RuntimeError("shapes cannot be multiplied")), np.arange(600))
