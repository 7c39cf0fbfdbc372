"""torchvision's networks: restored from their published weights, for images of any size."""

from collections import OrderedDict

import pytest
import torch
from torchvision.models import get_model, get_model_weights
from torchvision.models.vision_transformer import interpolate_embeddings

from src.core.errors import UserError
from src.nets import architectures, models, preprocess, zoo_torchvision
from src.nets.preprocess import View
from src.storage.fetch import hash_in_name
from tests.helpers.skeletons import numberless, skeleton


@pytest.mark.parametrize("arch", architectures.registered("torchvision"))
def test_how_images_are_made_ready_is_what_the_published_weights_say(arch):
    weights = get_model_weights(arch).DEFAULT
    preset = weights.transforms()
    assert preprocess.view(arch, 32) == View(32, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)
    assert zoo_torchvision.imagenet_url(arch) == weights.url
    assert len(hash_in_name(weights.url)) >= 8


def test_not_all_of_them_were_made_ready_alike():
    assert preprocess.view("resnet18", 32) == View(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    assert preprocess.view("efficientnet_v2_l", 32) == View(32, (0.5,) * 3, (0.5,) * 3, "bicubic")


def test_a_version_is_made_ready_in_its_own_way():
    """The older weights of EfficientNet-B1 were trained on images resized by cubic interpolation."""
    resized = {
        name: preprocess.view("efficientnet_b1", 32, weights=name).interpolation
        for name in ("IMAGENET1K_V1", "IMAGENET1K_V2", "imagenet", "random")
    }
    assert resized == {"IMAGENET1K_V1": "bicubic"} | dict.fromkeys(("IMAGENET1K_V2", "imagenet", "random"), "bilinear")
    header = {"arch": "efficientnet_b1", "weights": "IMAGENET1K_V1", "image_size": 32, "normalisation": "half"}
    assert preprocess.view_of(header) == View(32, (0.5,) * 3, (0.5,) * 3, "bicubic")


def test_the_best_of_several_imagenet_weights_are_taken():
    url = zoo_torchvision.imagenet_url
    assert url("resnet18").endswith("/resnet18-f37072fd.pth")
    assert url("convnext_tiny").endswith("/convnext_tiny-983f1562.pth")
    assert url("resnet50").endswith("/resnet50-11ad3fa6.pth")  # IMAGENET1K_V2, 80.9 % against 76.1 %


def test_position_embeddings_are_interpolated_as_by_torchvision():
    state = {name: tensor.clone() for name, tensor in get_model("vit_b_32", weights=None).state_dict().items()}
    before = state["encoder.pos_embedding"].clone()
    expected = interpolate_embeddings(64, 32, OrderedDict(state))["encoder.pos_embedding"]
    model = models.restore("vit_b_32", state, 64)
    assert model.encoder.pos_embedding.shape == (1, 5, 768)
    assert torch.equal(model.encoder.pos_embedding, expected)
    assert torch.equal(state["encoder.pos_embedding"], before)
    again = models.restore("vit_b_32", model.state_dict(), 64)
    assert torch.equal(again.encoder.pos_embedding, expected)
    assert torch.equal(models.restore("vit_b_32", model.state_dict()).encoder.pos_embedding, expected)


def test_the_image_size_of_a_vision_transformers_weights_is_in_their_shapes():
    assert zoo_torchvision.size_of(skeleton("vit_b_16").state_dict()) == 224
    assert zoo_torchvision.size_of(skeleton("vit_h_14").state_dict()) == 518
    assert zoo_torchvision.size_of(skeleton("vit_b_16", image_size=48).state_dict()) == 48
    assert zoo_torchvision.size_of(skeleton("resnet18").state_dict()) is None


def test_position_embeddings_of_no_square_are_refused_by_name():
    state = {name: torch.zeros(tensor.shape) for name, tensor in skeleton("vit_b_32").state_dict().items()}
    state["encoder.pos_embedding"] = torch.zeros(1, 7, 768)
    with numberless(), pytest.raises(UserError, match=r"^tensor encoder\.pos_embedding is \(1, 7, 768\), but vit_b_32"):
        models.restore("vit_b_32", state, 64)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_auxiliary_classifiers_are_left_out_and_logits_stay_the_same(arch):
    """torchvision switches them off, and the change of normalisation on, where it loads published weights."""
    theirs = get_model(arch, weights=None, aux_logits=True, transform_input=True, init_weights=False).eval()
    batch = torch.randn(1, 3, 80, 80)
    ours = models.restore(arch, dict(theirs.state_dict()), 80).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(batch), theirs(batch))
    assert models.parameters(ours) < models.parameters(theirs)


def test_published_names_of_vision_transformers_are_renamed_as_by_torchvision():
    """vit_b_16-c867db91 is from before github.com/pytorch/vision/pull/6053; without versions, PyTorch renames them."""
    state = get_model("vit_b_32", weights=None).state_dict()
    old = {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): state[name] for name in state}
    assert len(old.keys() - state.keys()) == 48
    theirs = get_model("vit_b_32", weights=None)
    theirs.load_state_dict(old)
    ours = models.restore("vit_b_32", old, 224).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.state_dict().items())


def test_names_of_published_densenets_are_those_that_torchvision_renames():
    """densenet121-a639ec97 holds `denselayer1.norm.1.weight`; see `_load_state_dict` of torchvision's densenet.py."""
    from torchvision.models import densenet

    state = get_model("densenet121", weights=None).state_dict()
    old = {
        name.replace("norm1", "norm.1").replace("norm2", "norm.2"): state[name]
        for name in state
        if "tracked" not in name
    }
    old = {name.replace("conv1", "conv.1").replace("conv2", "conv.2"): tensor for name, tensor in old.items()}

    class Published:
        def get_state_dict(self, **_):
            return dict(old)

    theirs = get_model("densenet121", weights=None)
    densenet._load_state_dict(theirs, Published(), progress=False)
    ours = models.restore("densenet121", old).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.state_dict().items())


def test_mnasnet_which_asks_for_its_version_is_restored_from_names_and_tensors():
    state = dict(get_model("mnasnet0_5", weights=None).state_dict())
    ours = models.restore("mnasnet0_5", state).state_dict()
    assert all(torch.equal(ours[name], state[name]) for name in state)
