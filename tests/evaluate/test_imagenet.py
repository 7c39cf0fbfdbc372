"""Zero-shot: the mapping against torchvision's names, probabilities worked by hand, and real weights on real images."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from src.data.classes import CIFAR10_CLASSES
from src.device import runtime
from src.evaluate import imagenet
from src.evaluate.imagenet import mapping
from src.readouts import zero_shot
from src.readouts.zero_shot import PretrainedHead

CIFAR_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "cifar10-images.zip"


def logits(features: np.ndarray, head: PretrainedHead, classes: Sequence[str]) -> np.ndarray:
    """The read-out of these classes."""
    return zero_shot.logits(features, head, imagenet.categories(classes))


def head(scores: dict[int, float]) -> PretrainedHead:
    """A head of one feature whose logit for each category is `scores`, or 0, times the feature."""
    weight = np.zeros((1000, 1), np.float32)
    for index, score in scores.items():
        weight[index] = score
    return PretrainedHead(weight, np.zeros(1000, np.float32))


ONE = np.ones((1, 1), np.float32)


def test_every_name_is_torchvisions_at_that_index():
    from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

    named = [(index, name) for entry in mapping().values() for index, name in entry.items() if name is not None]
    assert len(named) == 43  # 31 single categories and both ends of 6 ranges
    assert [(index, CATEGORIES[index]) for index, _ in named] == named


def test_classes_are_cifar10s_and_no_category_serves_two():
    assert sorted(mapping()) == sorted(CIFAR10_CLASSES)
    served = [index for entry in mapping().values() for index in entry]
    assert len(served) == len(set(served))
    assert all(0 <= index < 1000 for index in served)


def test_how_many_categories_show_each_class():
    """Among them WordNet's 59 birds and 118 breeds of dogs in ImageNet-1k."""
    expected = dict(zip(CIFAR10_CLASSES, [2, 10, 59, 5, 0, 118, 3, 1, 13, 5], strict=True))
    assert {name: len(entry) for name, entry in mapping().items()} == expected


@pytest.mark.parametrize(
    ("category", "name"),
    [
        *(("airliner", "airplane"), ("sports car", "automobile"), ("minivan", "automobile"), ("fire engine", "truck")),
        *(("ostrich", "bird"), ("flamingo", "bird"), ("king penguin", "bird"), ("hen", "bird"), ("macaw", "bird")),
        *(("tabby", "cat"), ("Siamese cat", "cat"), ("golden retriever", "dog"), ("Siberian husky", "dog")),
        *(("tree frog", "frog"), ("sorrel", "horse"), ("liner", "ship"), ("speedboat", "ship")),
        # What is near, and is none of them.
        *(("lion", None), ("lynx", None), ("Madagascar cat", None), ("timber wolf", None), ("dingo", None)),
        *(("killer whale", None), ("platypus", None), ("common newt", None), ("zebra", None), ("horse cart", None)),
        *(("hartebeest", None), ("gazelle", None), ("plane", None), ("wing", None), ("pickup", None), ("canoe", None)),
        *(("school bus", None), ("crane", None), ("airship", None)),
    ],
)
def test_categories_that_a_person_checked(category, name):
    from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

    index = CATEGORIES.index(category)
    assert [key for key, entry in mapping().items() if index in entry] == ([name] if name else [])


def test_neither_torch_nor_torchvision_is_needed():
    """They take seconds to import."""
    code = "import sys; from src.evaluate import imagenet; imagenet.mapping(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_class_has_the_summed_probability_of_its_categories():
    """exp(score) is 7 for bullfrog, 3 for tree frog, 2 for sorrel, 1 for each of the other 997: 1009 in all."""
    toy = head({30: np.log(7), 31: np.log(3), 339: np.log(2)})
    result = logits(ONE, toy, ["frog", "horse", "dog"])
    np.testing.assert_allclose(np.exp(result), [[11 / 1009, 2 / 1009, 118 / 1009]], rtol=1e-5)
    assert result.dtype == np.float32


def test_probabilities_are_the_whole_softmax_summed_by_class():
    rng = np.random.default_rng(0)
    toy = PretrainedHead(rng.normal(size=(1000, 6)).astype(np.float32), rng.normal(size=1000).astype(np.float32))
    x = rng.normal(size=(20, 6)).astype(np.float32)
    whole = softmax(x.astype(np.float64) @ toy.weight.T + toy.bias, axis=1)
    result = np.exp(logits(x, toy, CIFAR10_CLASSES))
    for column, name in enumerate(CIFAR10_CLASSES):
        np.testing.assert_allclose(result[:, column], whole[:, list(mapping()[name])].sum(1), rtol=1e-4)
    assert (result.sum(1) < 1).all()


def test_columns_follow_the_classes_asked_for():
    toy = head({404: 2, 339: 1})
    there = logits(ONE, toy, ["airplane", "horse", "cat"])
    np.testing.assert_array_equal(logits(ONE, toy, ["cat", "airplane", "horse"]), there[:, [2, 0, 1]])


def test_deer_is_impossible_and_the_rest_are_untouched():
    toy = head({351: 9, 404: 2})
    result = logits(ONE, toy, CIFAR10_CLASSES)
    deer = CIFAR10_CLASSES.index("deer")
    assert result[0, deer] == -np.inf
    assert np.isfinite(np.delete(result, deer, axis=1)).all()
    others = [name for name in CIFAR10_CLASSES if name != "deer"]
    np.testing.assert_array_equal(np.delete(result, deer, axis=1), logits(ONE, toy, others))


def test_scores_beyond_the_range_of_exp_do_no_harm():
    result = logits(ONE, head({404: 5000}), ["airplane", "cat"])
    np.testing.assert_allclose(result, [[0, np.log(5) - 5000]], rtol=1e-5, atol=1e-5)


def test_unmapped_names_the_classes_known_to_have_no_category():
    assert imagenet.unmapped(CIFAR10_CLASSES) == ["deer"]
    assert imagenet.unmapped(["cat", "apple"]) == []


def test_it_is_available_with_or_without_deer():
    assert imagenet.unavailable(CIFAR10_CLASSES, head({})) is None
    assert imagenet.unavailable(["cat", "deer", "dog"], head({})) is None


@pytest.mark.parametrize(
    ("classes", "toy", "why"),
    [
        (["cat", "apple", "pear"], head({}), "class 'apple' has no entry in src/evaluate/imagenet_labels.yaml; add"),
        (["cat", "deer"], head({}), "no category for deer, which leaves fewer than two classes"),
        (["cat", "dog"], None, "the weights have no head that was pretrained on ImageNet-1k; set weights to imagenet"),
        (
            ["cat", "dog"],
            PretrainedHead(np.zeros((10, 1)), np.zeros(10)),
            "the weights have no head that was pretrained on ImageNet-1k",
        ),
    ],
)
def test_one_line_says_why_it_cannot_be_had(classes, toy, why):
    line = imagenet.unavailable(classes, toy)
    assert line is not None
    assert why in line
    assert "\n" not in line


def cifar(each: int) -> tuple[np.ndarray, np.ndarray]:
    """The first test images of every class (10 * each, 32, 32, 3), and their labels."""
    from PIL import Image

    with zipfile.ZipFile(CIFAR_IMAGES) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/") and name.endswith(".jpg"))
        chosen = [n for c in CIFAR10_CLASSES for n in [m for m in names if m.startswith(f"test/{c}/")][:each]]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in chosen]
    return np.stack(images), np.repeat(np.arange(10), each)


@pytest.mark.skipif(not CIFAR_IMAGES.exists(), reason=f"no CIFAR-10 images at {CIFAR_IMAGES}")
def test_imagenets_head_tells_cifar10s_classes_apart_without_training():
    """EfficientNet-Lite0's categories stand in torchvision's order, or this would be chance: 0.1 +- 0.02.

    At 128 pixels 0.43 of 1,000 images are right, deer among them; of 200, three deviations are 0.11.
    """
    from src.nets import inference, models, preprocess, weights

    path = weights.locate("efficientnet_lite0", "imagenet", Path(), Path())
    assert path is not None
    model = models.restore("efficientnet_lite0", weights.read(path))
    layer = model.get_submodule(models.head_name(model))
    pretrained = PretrainedHead(layer.weight.detach().numpy(), layer.bias.detach().numpy())
    raw, labels = cifar(each=20)
    view = preprocess.view("efficientnet_lite0", 128)
    features = inference.predict(
        models.without_head(model), raw, np.arange(len(raw)), view=view, accelerator=runtime.start("cpu", "fp32")
    )
    result = logits(features, pretrained, CIFAR10_CLASSES).argmax(1)
    assert (result == labels).mean() >= 0.32
    assert (result[labels == CIFAR10_CLASSES.index("dog")] == CIFAR10_CLASSES.index("dog")).mean() >= 0.7
