"""timm's networks: their properties, weights and position embeddings are those that timm gives."""

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.layers import resample_abs_pos_embed

from src.core.errors import UserError
from src.nets import models, preprocess, zoo_timm
from src.nets.preprocess import View


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"])
def test_how_images_are_made_ready_is_what_timm_says(name):
    said = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    assert preprocess.view(f"timm/{name}", 64) == View(64, said["mean"], said["std"], said["interpolation"])


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"])
def test_the_head_is_timms_classifier_and_features_are_as_wide_as_timm_says(name):
    model = models.build(f"timm/{name}", 7, seed=0)
    assert models.head_name(model) == timm.get_pretrained_cfg(name).classifier
    assert models.feature_width(model) == model.head_hidden_size
    assert models.without_head(model).get_classifier() is model.get_submodule(models.head_name(model))


def test_position_embeddings_are_interpolated_as_by_timm():
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    state = dict(theirs.state_dict())
    expected = resample_abs_pos_embed(state["pos_embed"], [2, 2], num_prefix_tokens=1)
    ours = models.restore("timm/vit_tiny_patch16_224", state, 32)
    torch.testing.assert_close(ours.pos_embed, expected)
    others = {name: tensor for name, tensor in ours.state_dict().items() if name != "pos_embed"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in others.items())
    again = models.restore("timm/vit_tiny_patch16_224", ours.state_dict(), 32)
    assert torch.equal(again.pos_embed, ours.pos_embed)


def test_weights_of_another_network_are_refused_by_the_first_tensor_that_differs():
    state = dict(timm.create_model("resnet18", num_classes=5).state_dict())
    with pytest.raises(UserError, match=r"^tensor layer1\.2\.bn1\.bias is absent, but timm/resnet34 has \(64,\)"):
        models.restore("timm/resnet34", state)
    vit = dict(timm.create_model("vit_tiny_patch16_224", num_classes=5).state_dict())
    with pytest.raises(UserError, match=r"^tensor blocks\.0\.attn\.proj\.bias is \(192,\), but timm/vit_small_patch16"):
        models.restore("timm/vit_small_patch16_224", vit, 32)


def test_weights_come_by_timms_own_loader(tmp_path, monkeypatch):
    """From a file instead of the hub, which timm takes for any name that says so."""
    published = timm.create_model("resnet18", num_classes=1000)
    torch.save(published.state_dict(), tmp_path / "published.pth")
    cfg = timm.get_pretrained_cfg("resnet18")
    cfg.file = str(tmp_path / "published.pth")
    monkeypatch.setattr("timm.models._builder.get_pretrained_cfg", lambda *_, **__: cfg)
    result = zoo_timm.published("timm/resnet18", tmp_path, seed=0)
    assert all(torch.equal(result[name], tensor) for name, tensor in published.state_dict().items())


def test_weights_that_cannot_be_fetched_are_named_in_one_line_with_a_way_out(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UserError) as error:
        zoo_timm.published("timm/resnet18.a1_in1k", tmp_path, seed=0)
    assert str(error.value) == (
        "timm cannot fetch the weights of timm/resnet18.a1_in1k (no route to host); fetch model.safetensors from "
        "https://huggingface.co/timm/resnet18.a1_in1k elsewhere, and give its path"
    )


def test_a_network_without_published_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^timm knows no weights for timm/botnet50ts_256; allowed are random, a file"):
        zoo_timm.published("timm/botnet50ts_256", tmp_path, seed=0)
