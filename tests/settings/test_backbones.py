"""The list of backbones: what its entries mean, which of them are roles, and what is refused."""

import shlex
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from src.report.page import command
from src.settings import backbones
from src.settings.backbones import Backbone, Legacy, Modern
from src.settings.settings import load
from tests.settings.conftest import refusal

FIVE = ["resnet18", "resnet50@IMAGENET1K_V1", "resnet50@IMAGENET1K_V2", "timm/resnet18.a1_in1k", "convnext_tiny"]


def test_entries_that_are_a_roles_architecture_and_weights_are_that_role(read):
    settings = read(f"backbones: [{', '.join(FIVE)}]")
    found = backbones.listed(settings.backbones, settings.resnet, settings.convnext)
    assert list(found) == [
        *("resnet", "resnet50-IMAGENET1K_V1", "resnet50-IMAGENET1K_V2", "timm-resnet18-a1_in1k", "convnext"),
    ]
    assert [each.name for each in found.values()] == FIVE
    assert found["resnet50-IMAGENET1K_V1"] == Backbone(arch="resnet50", weights="IMAGENET1K_V1")
    computed = backbones.further(settings.backbones, settings.resnet, settings.convnext)
    assert computed == {name: each for name, each in found.items() if name not in ("resnet", "convnext")}


def test_the_same_architecture_with_other_weights_is_no_role():
    found = backbones.listed(["resnet18@random", "resnet18"], Legacy(weights="random"), Modern())
    assert found == {"resnet": Backbone(arch="resnet18", weights="random"), "resnet18": Backbone(arch="resnet18")}


def test_an_entry_of_two_roles_that_are_the_same_is_the_first():
    same = {"arch": "efficientnet_lite0"}
    found = backbones.listed(["efficientnet_lite0", "efficientnet_lite1"], Legacy(**same), Modern(**same))
    assert list(found) == ["resnet", "efficientnet_lite1"]


def test_null_is_the_two_roles_and_computes_nothing_more():
    assert backbones.listed(None, Legacy(), Modern()) == {"resnet": Legacy(), "convnext": Modern()}
    assert backbones.further(None, Legacy(), Modern()) == {}
    assert backbones.further(["convnext_tiny", "resnet18"], Legacy(), Modern()) == {}


def test_files_and_addresses_are_weights_too(read):
    entries = ["resnet50@weights/mine.pth", "resnet18@https://example.org/a@b/w-0123abcd.pth", "resnet18@imagenet"]
    settings = read(f"backbones: {entries}")
    found = list(backbones.listed(settings.backbones, settings.resnet, settings.convnext).items())
    assert found[0] == ("resnet50-weights-mine-pth", Backbone(arch="resnet50", weights="weights/mine.pth"))
    assert found[1][1].weights == "https://example.org/a@b/w-0123abcd.pth"
    assert found[2][0] == "resnet"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backbones: [resnet18]", "backbones = ['resnet18']: allowed are two or more, such as [resnet18, resnet50, "),
        ("backbones: []", "backbones = []: allowed are two or more, such as "),
        ("backbones: resnet18", "backbones = 'resnet18': allowed is a list"),
        ("backbones: [resnet18, 5]", "backbones.1 = 5: allowed is text"),
        ("backbones: [resnet18, resnet5]", "backbones.1 = 'resnet5': did you mean resnet50? allowed: "),
        (
            "backbones: [resnet18, 'resnet50@']",
            "backbones.1 = 'resnet50@': no weights after @; allowed are ",
        ),
        (
            "backbones: [resnet18, resnet50, resnet18]",
            "resnet18 is there twice; name each once",
        ),
        (
            "backbones: [resnet50, resnet50@imagenet]",
            "resnet50 is there twice; name each once",
        ),
        (
            "backbones: [resnet50@a/b.pth, resnet50@a-b.pth]",
            "resnet50@a-b.pth would have the same files; name each",
        ),
        ("backbones: [resnet18, resnet50]\ncontrols: false", "controls = false: backbones and contrasts of them need"),
        ("backbones: [resnet18, resnet50]\nprotocol: report", "controls = false: backbones and contrasts of them need"),
        (
            "compare: {contrasts: 3}",
            "compare.contrasts = 3: allowed is a section, such as {size: [",
        ),
        ("compare: {contrasts: {size: resnet50}}", "compare.contrasts.size = 'resnet50': allowed is a list"),
        (
            "compare: {contrasts: {size: [resnet50]}}",
            "compare.contrasts.size = ['resnet50']: allowed are two",
        ),
        (
            "compare: {contrasts: {size: [resnet50, resnet50@imagenet]}}",
            "allowed are two different backbones",
        ),
        (
            "compare: {contrasts: {a.b: [resnet50, resnet18]}}",
            "a contrast has a name of letters, digits and _, such as",
        ),
        (
            "compare: {contrasts: {size: [resnet50, resnet18]}}",
            "compare.contrasts.size = [resnet50, resnet18]: resnet50 is not one of the backbones; did you mean "
            "resnet18? allowed: resnet18, convnext_tiny",
        ),
        (
            "backbones: [resnet18, resnet50]\ncompare: {contrasts: {size: [resnet50@IMAGENET1K_V1, resnet18]}}",
            "resnet50@IMAGENET1K_V1 is not one of the backbones; allowed: resnet18, resnet50",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(read, text, said):
    assert said in refusal(read, text)


def test_the_pages_command_sets_the_list_and_the_contrasts_through_dvc(read, tmp_path):
    wanted = read(
        f"backbones: [{', '.join(FIVE)}]\ncompare:\n  contrasts:\n"
        "    size: [resnet50@IMAGENET1K_V1, resnet18]\n    recipe: [timm/resnet18.a1_in1k, resnet18]"
    )
    path = tmp_path / "params.yaml"
    path.write_text("backbones: null\ncompare: {contrasts: null}")
    words = command(wanted.model_dump())
    apply_overrides(path, [word for word in shlex.split(words)[3:] if word != "-S"])
    given = YAML(typ="safe").load(path.read_text())
    assert given == {
        "backbones": FIVE,
        "compare": {"contrasts": {key: list(pair) for key, pair in (wanted.compare.contrasts or {}).items()}},
    }


def test_the_command_of_the_documentation_is_five_backbones_and_their_contrasts(tmp_path):
    lines = Path("docs/combinations.md").read_text().partition("    dvc exp run \\\n")[2].partition("\n\n")[0]
    words = shlex.split(lines.replace("\\\n", " "))
    path = tmp_path / "params.yaml"
    path.write_text(Path("params.yaml").read_text())
    apply_overrides(path, [word for word in words if word != "-S"])
    settings = load(path)
    assert settings.backbones == FIVE
    assert set(settings.compare.contrasts or {}) == {"size", "recipe", "recipe18", "architecture"}
