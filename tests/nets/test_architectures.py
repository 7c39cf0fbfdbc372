"""Names of architectures: those of the libraries, read without importing them."""

import re
import subprocess
import sys

import pytest
import timm
import torchvision
from torchvision.models import get_model_weights

from src.nets import architectures


def test_the_names_read_from_the_sources_are_those_that_the_libraries_list():
    assert list(architectures.registered("torchvision")) == sorted(
        torchvision.models.list_models(module=torchvision.models)
    )
    assert list(architectures.registered("timm")) == sorted(timm.list_models())


def test_names_are_checked_without_importing_what_builds_them():
    code = (
        "import sys; from src.nets.architectures import fault; fault('vit_b_16'); fault('timm/resnet18'); "
        "print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    "arch",
    [
        *(
            "resnet18",
            "resnet50",
            "convnext_tiny",
            "convnext_small",
            "efficientnet_b0",
            "efficientnet_v2_s",
            "vit_b_16",
        ),
        *("swin_t", "mobilenet_v3_small", "mobilenet_v3_large", "vgg16_bn", "densenet121", "inception_v3", "maxvit_t"),
        *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite3", "efficientnet_lite4"),
        *("timm/resnet18", "timm/resnet18.a1_in1k", "timm/vit_tiny_patch16_224"),
    ],
)
def test_an_architecture_goes_by_its_librarys_name(arch):
    assert architectures.fault(arch) is None


@pytest.mark.parametrize(
    ("arch", "start"),
    [
        ("resnet81", "did you mean resnet18? allowed: alexnet, "),
        ("zebra", "allowed: alexnet, "),
        ("resnet18.a1_in1k", "did you mean resnet18? allowed: "),
        ("timm/resnet81", "did you mean resnet18? allowed are the 1,"),
        ("timm/", "allowed are the 1,"),
        ("squeezenet1_1", "its logits are means of a convolution's outputs, so it has no linear head"),
        ("fasterrcnn_resnet50_fpn", "allowed: alexnet, "),  # a detector
    ],
)
def test_an_unknown_architecture_is_refused_with_the_nearest_name(arch, start):
    answer = architectures.fault(arch)
    assert answer.startswith(start)
    assert "\n" not in answer


def test_without_timm_its_names_are_answered_with_how_to_install_it(monkeypatch):
    """As on a machine without it: there, nothing is found where Python looks for it."""
    monkeypatch.setattr(architectures, "find_spec", lambda _: None)
    architectures.registered.cache_clear()
    try:
        answer = architectures.fault("timm/resnet18")
    finally:
        architectures.registered.cache_clear()
    assert answer == "the package timm is not installed; run pip install -r requirements-timm.txt"


def test_networks_that_do_not_run_at_32_pixels_are_those_of_limited_sizes():
    """EfficientNetV2 and Swin transformers state 33, 224 or 256, yet run at 32: test_libraries has them do it."""
    smallest = {name: max(get_model_weights(name).DEFAULT.meta["min_size"]) for name in architectures.names()[:-5]}
    stated = {name for name, size in smallest.items() if size > 32}
    limited = {name for name in smallest if not architectures.takes_any_size(name)}
    assert limited < stated
    assert {re.match("efficientnet_v2|swin", name)[0] for name in stated - limited} == {"efficientnet_v2", "swin"}
