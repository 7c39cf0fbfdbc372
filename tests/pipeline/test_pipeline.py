"""The pipeline as a user runs it: dvc repro, experiments, queues, plots, and what goes wrong."""

import csv
import html
import itertools
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from src.data.classes import CIFAR100_CLASSES
from src.nets import models
from src.readouts import config
from src.records.evaluate import Evaluations
from src.storage.files import sha256
from tests.conftest import ROOT
from tests.helpers.raw_files import write_raw

ONCE = ("download", "weights")  # paid once in a sweep over class counts
CONTROL_OUTS = ("data/checkpoints/convnext", "data/features/resnet", "data/predictions/resnet_frozen")
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
HOSTILE = ('"><script>alert(1)<b>', "it's; $(touch pwned) `touch pwned`,\t{{ 7 * 7 }}\n%s", "👩\u200d👧" * 20)


@pytest.fixture(scope="module")
def clone(whole, copy_of):
    return copy_of(whole)


@pytest.fixture(scope="module")
def small(smallest, copy_of):
    return copy_of(smallest)


def test_repro_makes_every_output_and_prints_the_comparison(clone):
    for stage in yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"].values():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            path = next(iter(out)) if isinstance(out, dict) else out
            assert (clone.folder / path).exists(), path
    assert "efficientnet_lite0 (convnext), frozen, random head" in clone.output
    assert re.search(
        r"\(resnet\), fine-tuned less .* \(convnext\), frozen, linear: .* over seeds and test images: ", clone.output
    )
    assert "134 test images, the same for every arm; seeds 0, 1\n" in clone.output
    assert clone.git("status", "--short") == ""


READOUTS = set(config.READOUTS) - {"zero_shot"}  # which digits do not have
CELLS = {
    "resnet": ("resnet", {"full"}),
    "convnext": ("convnext", READOUTS),
    "resnet_frozen": ("resnet", READOUTS),
    "convnext_finetuned": ("convnext", {"full"}),
}
QUALITY = {"macro_f1", "nll", "brier", "ece", "calibrated", "top2_accuracy", "val_accuracy"}
COST = {
    *("parameters", "trained_parameters", "macs", "executed_macs", "train_macs", "train_seconds"),
    *("seconds", "images_per_second", "images_per_second_low", "images_per_second_high", "peak_memory"),
}
SEEDS = (0, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_records_hold_what_was_asked_and_metrics_the_first_arm(clone, cell):
    role, adaptations = CELLS[cell]
    text = (clone.folder / f"data/results/{cell}.json").read_text()
    record, arms = json.loads(text), Evaluations.model_validate_json(text).arms
    assert set(record["unavailable"]) == ({"zero_shot"} if "linear" in adaptations else set())
    assert all("class '0' has no entry" in why for why in record["unavailable"].values())
    assert list(record["seeds"]) == [str(seed) for seed in SEEDS]
    assert all(set(arms) == set(under) == adaptations for under in record["seeds"].values())
    first, metrics = next(iter(arms)), clone.json(f"metrics/{cell}.json")
    assert metrics == {role: {first: {name: getattr(arms[first], name) for name in ("accuracy", "val_accuracy")}}}
    for name, arm in ((name, arm.model_dump(exclude_none=True)) for name, arm in arms.items()):
        told = [under[name] for under in record["seeds"].values()]
        assert set(arm) >= QUALITY | COST
        for key, value in arm.items():
            if key in (QUALITY | COST) - {"calibrated"}:
                assert value == pytest.approx(np.mean([one[key] for one in told]), abs=0.5 * isinstance(value, int))
        for seed, one in zip(SEEDS, told, strict=True):
            saved = np.load(clone.folder / f"data/predictions/{cell}/seed{seed}/{name}.npz")
            assert one["accuracy"] == (saved["logits"].argmax(1) == saved["labels"]).mean()
            assert one["n"] == arm["n"] == sum(row["n"] for row in one["per_class"])
            assert {"device", "torch", "threads"} <= set(one["environment"])


def test_every_arm_was_asked_about_the_same_test_images_and_under_a_seed_of_the_same_split(clone):
    subsets = {seed: np.load(clone.folder / f"data/subset/seed{seed}.npz") for seed in SEEDS}
    assert np.array_equal(subsets[0]["test_index"], subsets[1]["test_index"])
    assert not np.array_equal(subsets[0]["val_index"], subsets[1]["val_index"])
    for cell, (_, adaptations) in CELLS.items():
        for seed, name in itertools.product(SEEDS, adaptations):
            arm = np.load(clone.folder / f"data/predictions/{cell}/seed{seed}/{name}.npz")
            for part, of_subset in (("index", "test_index"), ("labels", "test_labels"), ("val_labels", "val_labels")):
                assert np.array_equal(arm[part], subsets[seed][of_subset])


def test_what_an_arm_costs_counts_every_image_and_every_configuration_that_it_needed(clone):
    """24 training and 6 validation images of each of four classes; two epochs of six batches of sixteen.

    One training is that of the network, two are those of the search. A read-out's own arithmetic is that of its rows.
    """
    full, frozen = (clone.json(f"data/results/{cell}.json")["seeds"]["0"] for cell in ("resnet", "convnext"))
    full, image = full["full"], clone.json("data/results/embed_convnext.json")["macs"]
    assert full["macs"] == frozen["linear"]["macs"] == image + 4 * 1280
    assert full["train_macs"] == (1 + 2) * 2 * (96 * 3 + 24) * full["macs"]
    assert 1 < frozen["linear"]["train_macs"] / ((96 + 24) * image) < 1.1
    assert frozen["knn"]["train_macs"] == (96 + 24) * image + 24 * 96 * 1280
    assert frozen["centroid"]["train_macs"] == 96 * image + 96 * 1280
    assert frozen["random_head"]["train_macs"] == 0
    assert full["configurations"] == frozen["linear"]["configurations"] == 2
    assert full["trained_parameters"] == full["parameters"] > frozen["linear"]["trained_parameters"] == 4 * (1280 + 1)


def test_arms_that_are_the_same_differ_by_nothing_which_so_few_images_cannot_settle(clone):
    """Both backbones are EfficientNet-Lite0 here, so whatever is done to them alike gives the same predictions."""
    compared = clone.json("data/results/compare.json")
    pairs = {(pair["first"], pair["second"]): pair["difference"] for pair in compared["pairs"]}
    arms = 2 * (1 + len(READOUTS))
    assert len(pairs) == arms * (arms - 1) / 2
    for adaptation in ("full", "linear", "random_head"):
        difference = pairs[f"resnet.{adaptation}", f"convnext.{adaptation}"]
        assert difference["value"] == 0
        assert difference["low"] == -difference["high"] < 0
    for name in ("backbone", "interaction"):
        effect = compared["effects"][name]
        assert (effect["difference"]["value"], effect["p"], effect["word"]) == (0, 1, "not settled")
    assert compared["primary"]["word"] in compared["verdict"][0]


def test_the_page_holds_the_verdict_and_every_arm(clone):
    page = html.unescape((clone.folder / "plots/report.html").read_text(encoding="utf-8").replace("<wbr>", ""))
    compared = clone.json("data/results/compare.json")
    for sentence in compared["verdict"]:
        assert sentence in page
    for arm in compared["arms"]:
        assert arm["title"] in page


def test_robustness_is_measured_of_every_arm_where_it_is_asked_for(everything):
    assert "checks of the attacks: " in everything.output
    result = everything.json("data/results/robustness.json")
    assert {row["arm"] for row in result["corruptions"]} == {
        f"{role}.{name}" for role in ("resnet", "convnext") for name in {"full", *READOUTS}
    }
    numbers = everything.json("metrics/robustness.json")["robustness"]
    assert {role: set(numbers[role]) for role in ("resnet", "convnext")} == {
        role: {"full", "linear"} for role in numbers
    }
    assert {row["effect"] for row in result["effects"]} == {"question", "backbone", "finetuning", "interaction"}
    assert {row["against"] for row in result["ood"]} == {"near", "far"}
    assert 'id="robustness"' in (everything.folder / "plots/report.html").read_text(encoding="utf-8")


def test_what_is_off_leaves_nothing(small):
    for stage in ("backbones", "robustness", "tune"):
        assert small.json(f"metrics/{stage}.json") == small.json(f"data/results/{stage}.json") == {}
        assert [path.name for path in (small.folder / "plots" / stage).iterdir()] == ["nothing.txt"]
    assert "is empty" not in small.output
    assert 'id="robustness"' not in (small.folder / "plots/report.html").read_text(encoding="utf-8")


def test_metrics_are_numbers_whose_names_never_collide(clone):
    def values(value):
        return [leaf for item in value.values() for leaf in values(item)] if isinstance(value, dict) else [value]

    def columns(value, path=""):
        if not isinstance(value, dict):
            return [path]
        return [name for key, item in value.items() for name in columns(item, f"{path}.{key}")]

    shown = clone.dvc("metrics", "show", "--json")
    files = [file["data"] for file in json.loads(shown)[""]["data"].values()]
    names = [name for file in files for name in columns(file)]
    assert len(names) == len(set(names))
    assert all(isinstance(value, int | float) for file in files for value in values(file))
    assert {".resnet.full.accuracy", ".resnet.linear.accuracy", ".compare.primary.value"} <= set(names)
    assert len(names) <= 18
    assert not [name for name in names if re.search("second|memory|macs|parameters", name)]


def test_a_second_repro_runs_the_check_of_the_inputs_alone(clone):
    output = clone.dvc("repro")
    assert output.count("Running stage") == 1
    assert "Running stage 'data/dvc.yaml:inputs'" in output


def test_the_check_of_the_inputs_loads_no_torch():
    """It runs before every experiment, and torch alone would take longer than all the rest of it."""
    heavy = "import sys, stages.inputs; print([name for name in ('torch', 'sklearn', 'pandas') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def five(clone):
    """What `dvc exp run` printed of an experiment named five, with five classes and a small rate."""
    output = clone.dvc("exp", "run", "-n", "five", "-S", "classes=5", "-S", "finetune.lr=0.00001")
    per_class = clone.json("data/results/resnet.json")["seeds"]["0"]["full"]["per_class"]
    clone.git("checkout", "-q", ".")
    assert len(per_class) == 5
    return output


def test_an_experiment_with_other_classes_reuses_what_does_not_depend_on_them(five):
    for stage in ONCE:
        assert f"Stage '{stage}' didn't change, skipping" in five


@pytest.mark.usefixtures("five")
def test_a_small_rate_arrives_as_a_number(clone):
    shown = json.loads(clone.dvc("params", "diff", "HEAD", "five", "--json"))["params.yaml"]
    assert shown["finetune.lr"]["new"] == 0.00001


@pytest.mark.usefixtures("five")
def test_metrics_diff_names_what_changed(clone):
    differences = clone.dvc("metrics", "diff", "HEAD", "five")
    assert differences.count("\n") <= 20
    assert "resnet.full.accuracy" in differences
    assert "convnext.linear.accuracy" in differences


@pytest.mark.usefixtures("five")
def test_plots_diff_draws_curves_confusions_classes_and_arms_of_both(clone):
    page = clone.folder / "dvc_plots" / "index.html"
    clone.dvc("plots", "diff", "HEAD", "five")
    text = page.read_text()
    named = [name for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for name in plot]
    assert re.findall(r'<div id = "(.*)">', text) == [re.sub("[, ]", "_", name) for name in named]
    assert 'src="http' not in text
    assert '"rev": "five"' in text
    assert '"rev": "HEAD"' in text


@pytest.mark.slow
def test_without_the_controls_two_arms_are_left_and_nothing_else_is_computed(clone):
    output = clone.dvc("exp", "run", "-n", "two", "-S", "controls=false", "-S", "frozen.readouts=[random_head]")
    compared = clone.json("data/results/compare.json")
    files = [path for folder in CONTROL_OUTS for path in (clone.folder / folder).rglob("*")]
    clone.git("checkout", "-q", ".")
    for stage in (*ONCE, "embed_convnext"):
        assert f"Stage '{stage}' didn't change, skipping" in output
    assert [arm["arm"] for arm in compared["arms"]] == ["resnet.full", "convnext.random_head"]
    assert compared["effects"] == {}
    assert {path.name for path in files} == {"nothing.txt"}
    drawn = clone.dvc("plots", "diff", "HEAD", "two")
    assert "failed" not in drawn
    assert "index.html" in drawn


def wait_for_queue(clone, seconds=240):
    limit = time.monotonic() + seconds
    while any(word in (status := clone.dvc("queue", "status")) for word in ("Queued", "Running")):
        assert time.monotonic() < limit, status
        time.sleep(2)
    return status


def test_a_queued_sweep_over_class_counts_brings_every_experiment_back(small):
    small.dvc("exp", "run", "--queue", "-S", "classes=2,3")
    small.dvc("queue", "start")
    assert wait_for_queue(small).count("Success") == 2
    _, baseline = json.loads(small.dvc("exp", "show", "--json"))
    result = {}
    for experiment in baseline["experiments"]:
        data = experiment["revs"][0]["data"]
        classes = data["params"]["params.yaml"]["data"]["classes"]
        result[classes] = data["metrics"]["metrics/resnet.json"]["data"]["resnet"]["full"]["accuracy"]
    assert {2, 3} <= set(result)
    assert all(0 < accuracy <= 1 for accuracy in result.values())


def test_a_temporary_run_finds_a_relative_folder_that_git_does_not_track(small):
    images = small.folder / "data" / "downloads" / "images"
    draw_folder(images)
    settings = ("dataset=folder", "folder=data/downloads/images", "classes=[red, blue]", "prepare.per_class=6")
    small.dvc("exp", "run", "--temp", "-n", "colours", *(word for setting in settings for word in ("-S", setting)))
    assert "colours" in small.dvc("exp", "list", "--name-only")
    assert "dataset: digits" in (small.folder / "params.yaml").read_text()


def draw_folder(root, size=(12, 10), colours=COLOURS):
    """Plain colours with a little noise: two splits, three classes, eight images each."""
    rng = np.random.default_rng(0)
    for split, (name, colour) in itertools.product(("train", "test"), colours.items()):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(8):
            noise = rng.integers(-20, 20, (*size, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{number}.png")


@pytest.fixture(scope="module")
def folder_clone(make_clone):
    """A clone whose images lie in a folder, as far as the arrays of its images."""
    clone = make_clone()
    draw_folder(clone.folder / "images")
    (clone.folder / ".gitignore").write_text("/images/\n__pycache__/\n")
    clone.configure(dataset="folder", folder="images", classes=3, prepare={"per_class": None})
    clone.dvc("repro", "prepare")
    clone.commit("results")
    return clone


def test_a_folder_whose_files_changed_is_noticed_and_one_that_did_not_is_not_read_again(folder_clone):
    assert "Stage 'download' didn't change" in folder_clone.dvc("repro", "prepare")
    Image.new("RGB", (10, 12), "red").save(folder_clone.folder / "images/train/blue/0.png")
    assert "Running stage 'download'" in folder_clone.dvc("repro", "prepare")
    (folder_clone.folder / "images/test/red/7.png").unlink()
    assert "23 images" in folder_clone.dvc("repro", "prepare")


def test_a_superclass_of_cifar100_is_a_subset_of_its_five_classes(make_clone, monkeypatch):
    """As far as it goes without the archive: the arrays of its images are made up."""
    clone = make_clone()
    clone.configure(dataset="cifar100", classes=["people", "rocket"], subset_seed=None)
    part = np.zeros((1000, 32, 32, 3), np.uint8), np.arange(1000) % 100
    monkeypatch.chdir(clone.folder)
    write_raw({"train": part, "test": part}, CIFAR100_CLASSES)
    clone.stage("inputs")
    assert "6 classes: 48 training, 12 validation, 60 test images" in clone.stage("prepare")
    assert clone.json("data/subset/classes.json") == ["baby", "boy", "girl", "man", "woman", "rocket"]
    clone.configure(compare={"base_classes": 7})
    assert "compare.base_classes = 7: the subset has 6 classes; allowed are 2 to 6" in clone.stage("inputs", fails=True)
    clone.configure(dataset="cifar100_coarse", compare={"base_classes": 2})
    assert "'rocket' is not a class of the dataset" in clone.stage("inputs", fails=True)


@pytest.mark.slow
def test_class_names_that_mean_something_elsewhere_are_text_in_every_file(make_clone):
    clone, names = make_clone(), sorted(HOSTILE)
    draw_folder(clone.folder / "images", colours=dict(zip(names, COLOURS.values(), strict=True)))
    (clone.folder / ".gitignore").write_text("/images/\n__pycache__/\n")
    few = {"epochs": 1, "batch_size": 4}
    clone.configure(dataset="folder", folder="images", classes=names, prepare={"per_class": None}, finetune=few)
    clone.configure(controls=False, frozen={"readouts": ["linear"]})
    clone.dvc("repro")
    assert [row["name"] for row in clone.json("data/results/resnet.json")["seeds"]["0"]["full"]["per_class"]] == names
    result = set()
    for path in (clone.folder / "plots").rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            result |= {value for row in csv.reader(file) for value in row}
    assert set(names) <= result
    assert not list(clone.folder.rglob("pwned"))
    clone.dvc("plots", "show", "-o", "shown")
    assert "<script>alert(1)" not in (clone.folder / "plots/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named_and_the_last_good_arrays_come_back(folder_clone, content):
    path = folder_clone.folder / "images/train/blue/1.png"
    good = path.read_bytes()
    before = folder_clone.hashes()["data/raw"]
    path.write_bytes(content)
    output = folder_clone.dvc("repro", "prepare", fails=True)
    assert len([line for line in output.splitlines() if "blue/1.png" in line]) == 1
    assert "Traceback" not in output
    path.write_bytes(good)
    folder_clone.dvc("repro", "prepare")
    assert folder_clone.hashes()["data/raw"] == before
    assert (folder_clone.folder / "data/raw/train_images.npy").exists()


def test_after_a_stage_failed_the_last_good_run_comes_back_without_training_again(clone):
    clone.git("checkout", "-q", ".")
    clone.dvc("repro")
    before, metrics = clone.hashes(), clone.json("metrics/finetune_resnet.json")
    path = clone.folder / "params.yaml"
    good = path.read_text()
    absent = "mps" if torch.cuda.is_available() else "cuda"
    path.write_text(good.replace("device: cpu", f"device: {absent}"))
    output = clone.dvc("repro", fails=True)
    assert f"error: device = {absent}: not on this machine; allowed here are auto, " in output
    assert "Traceback" not in output
    path.write_text(good)
    assert "Running stage 'finetune_resnet'" not in clone.dvc("repro")
    assert clone.hashes() == before
    assert clone.json("metrics/finetune_resnet.json") == metrics


BAD = {
    "classes: 11": "classes = 11: the dataset has 10 classes; allowed are 2 to 10",
    "classes: 1": "classes = 1: allowed is a whole number >= 2",
    "classes: [3, dog]": "classes: 'dog' is not a class of the dataset; allowed are 0, 1, 2",
    "finetune: {lr: -1}": "finetune.lr = -1: allowed is a number > 0",
    "resnet: {arch: resnet19}": "resnet.arch = 'resnet19': did you mean resnet18? allowed: ",
    "convnext: {arch: squeezenet1_0}": "convnext.arch = 'squeezenet1_0': its logits are means",
    "{image_size: 40, resnet: {arch: vit_b_16}}": "image_size = 40: vit_b_16 sees patches of 16 pixels; allowed are",
    "fintune: {lr: 1}": "fintune: no such setting; did you mean finetune? allowed: ",
    "finetune: {epoch: 3}": "finetune.epoch: no such setting; did you mean epochs? allowed: ",
    "dataset: mnist": "dataset = 'mnist': allowed is 'cifar10', 'cifar100', 'cifar100_coarse', 'digits' or 'folder'",
    "dataset: folder": "folder = null: dataset is folder",
    "{dataset: folder, folder: nowhere}": "there is no train/ in it; allowed is a root of train/<class>/*",
    "resnet: {weights: nowhere.pth}": "nowhere.pth",
    "compare: {base_classes: 5}": "compare.base_classes = 5: the subset has 4 classes; allowed are 2 to 4",
    "compare: {margin: 1.5}": "compare.margin = 1.5: allowed is a number < 1",
    "compare: {question: [resnet.finetuned, vit.frozen]}": "vit.frozen is not run; did you mean ",
    "seeds: [0, 0]": "seeds = [0, 0]: a value occurs twice",
    "backbones: [resnet18]": "backbones = ['resnet18']: allowed are two or more",
    "protocol: fairer": "protocol = 'fairer': did you mean fair? allowed: ",
    "protocol: report": "does not go with protocol = report, which sets ",
}


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_setting_ends_in_one_line_and_loses_nothing(clone, setting):
    path = clone.folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    for name, value in yaml.safe_load(setting).items():
        values[name] = {**values[name], **value} if isinstance(value, dict) and name in values else value
    path.write_text(yaml.safe_dump(values))
    try:
        output = clone.stage("inputs", fails=True)
        repro = clone.dvc("repro", fails=True) if setting == "classes: 11" else ""
    finally:
        clone.git("checkout", "-q", ".")
    assert output.startswith("error: ")
    assert BAD[setting] in output
    assert output.count("\n") == 1
    assert "Traceback" not in output + repro
    for stage in yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"].values():
        outs = [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]
        assert all((clone.folder / out).exists() for out in outs)


def test_published_weights_are_fetched_checked_and_pinned_and_a_wrong_hash_is_refused(make_clone):
    """The way of torchvision's weights, from a file's address instead of PyTorch's."""
    clone = make_clone()
    state = models.build("resnet18", 1000, seed=7).state_dict()
    published = clone.folder.parent / "published.pth"
    torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, published)
    right = published.with_name(f"resnet18-{sha256(published)[:8]}.pth")
    wrong = published.with_name("resnet18-00000000.pth")
    for path in (right, wrong):
        path.write_bytes(published.read_bytes())

    clone.configure(resnet={"arch": "resnet18", "weights": wrong.as_uri()})
    clone.stage("inputs")
    refused = clone.stage("weights", fails=True)
    assert refused.splitlines()[-1].startswith(f"error: resnet.weights = {wrong.as_uri()}")
    assert "invalid hash value" in refused
    assert list((clone.folder / "data/downloads").iterdir()) == []

    clone.configure(resnet={"weights": right.as_uri()})
    clone.stage("weights")
    pinned = load_file(clone.folder / "data/weights/resnet.safetensors")
    assert all(torch.equal(pinned[name], state[name]) for name in state)
