"""Protocols: what each of the three sets, what goes with it, and what is refused."""

from typing import Any

import pytest
import yaml

from src.core.errors import UserError
from src.settings.protocols import TABLE
from src.settings.settings import Settings, flat, load

# Written down from the report, its code and the decisions on the comparison; not read from the table.
FAIR = {
    "image_size": 64,
    "normalisation": "weights",
    "controls": True,
    "prepare.per_class": 500,
    "prepare.val_fraction": 0.1,
    "finetune.optimizer": "adam",
    "finetune.lr": None,
    "finetune.momentum": 0.9,
    "finetune.nesterov": True,
    "finetune.weight_decay": 0.0001,
    "finetune.drop_last": True,
    "finetune.watch": "validation",
    "finetune.keep": "best",
    "tune.configurations": 5,
    "frozen.readouts": ["linear", "knn", "centroid", "zero_shot", "random_head"],
}
REPORT = {
    "image_size": 32,
    "normalisation": "half",
    "controls": False,
    "prepare.per_class": "all",
    "prepare.val_fraction": 0.0,
    "finetune.optimizer": "sgd",
    "finetune.lr": 0.01,
    "finetune.momentum": 0.9,
    "finetune.nesterov": False,
    "finetune.weight_decay": 0.0005,
    "finetune.drop_last": False,
    "finetune.watch": "augmented_test",
    "finetune.keep": "last",
    "tune.configurations": 1,
    "frozen.readouts": ["random_head"],
}
REPORT_TEXT = REPORT | {"finetune.optimizer": "adam", "finetune.lr": 0.001, "finetune.weight_decay": 0.0}
# What the report leaves as this project has it, and its protocols fix.
SHARED = {
    "subset_seed": None,
    "prepare.shots": None,
    "prepare.imbalance": "none",
    "finetune.methods": ["full"],
    "finetune.epochs": 5,
    "finetune.batch_size": 64,
    "finetune.schedule": "constant",
    "finetune.warmup": None,
    "finetune.ema": None,
    "finetune.patience": None,
    "finetune.augment": True,
    "finetune.policy": "none",
    "finetune.erasing": 0.0,
    "finetune.mix": "none",
    "finetune.label_smoothing": 0.0,
    "finetune.balance": "none",
}
WRITTEN = {"fair": FAIR, "report": REPORT, "report_text": REPORT_TEXT}
OF_THE_REPORT = ["report", "report_text"]


@pytest.fixture
def read(tmp_path):
    """Reads settings by dotted names as if they stood in params.yaml, or the line that refuses them."""

    def read(protocol: Any = "fair", **changes: Any) -> Settings | str:
        values: dict[str, Any] = {"protocol": protocol}
        for name, value in changes.items():
            section, _, key = name.rpartition(".")
            (values.setdefault(section, {}) if section else values)[key] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        try:
            return load(path)
        except UserError as error:
            return str(error).removeprefix(f"{path}: ")

    return read


@pytest.mark.parametrize("protocol", WRITTEN)
def test_a_protocol_sets_what_is_written_down(read, protocol):
    resolved = flat(read(protocol).model_dump())
    expected = WRITTEN[protocol] | SHARED | {"protocol": protocol}
    assert {name: resolved[name] for name in expected} == expected
    assert set(TABLE) == set(WRITTEN[protocol])


def test_without_a_word_the_protocol_is_fair(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("classes: 10")
    assert load(path) == Settings()


@pytest.mark.parametrize("protocol", WRITTEN)
def test_null_is_the_protocols_value(read, protocol):
    assert read(protocol, **dict.fromkeys(TABLE)) == read(protocol)


@pytest.mark.parametrize("protocol", WRITTEN)
def test_the_same_values_may_be_written_out(read, protocol):
    assert read(protocol, **WRITTEN[protocol]) == read(protocol)


@pytest.mark.parametrize("protocol", OF_THE_REPORT)
def test_fair_with_all_values_of_the_report_is_the_report_but_for_the_word(read, protocol):
    named, spelt = read(protocol).model_dump(), read("fair", **WRITTEN[protocol]).model_dump()
    assert (named.pop("protocol"), spelt.pop("protocol")) == (protocol, "fair")
    assert named == spelt


def test_what_no_protocol_decides_is_free_under_each(read):
    for protocol in WRITTEN:
        free = {"classes": 5, "seeds": [7], "device": "cpu", "precision": "bf16", "compare.confidence": 0.9}
        resolved = flat(read(protocol, **free).model_dump())
        assert {name: resolved[name] for name in free} == free


@pytest.mark.parametrize(
    ("protocol", "name", "value", "said"),
    [
        ("report", "finetune.lr", 0.001, "finetune.lr = 0.001 {}, which sets 0.01"),
        ("report_text", "finetune.lr", 0.01, "finetune.lr = 0.01 {}, which sets 0.001"),
        ("report", "finetune.augment", False, "finetune.augment = false {}, which sets true"),
        ("report", "finetune.epochs", 3, "finetune.epochs = 3 {}, which sets 5"),
        ("report", "finetune.methods", ["full", "head"], "finetune.methods = [full, head] {}, which sets [full]"),
        ("report", "finetune.watch", "validation", "finetune.watch = validation {}, which sets augmented_test"),
        ("report_text", "finetune.optimizer", "sgd", "finetune.optimizer = sgd {}, which sets adam"),
        ("report", "prepare.shots", 5, "prepare.shots = 5 {}, which sets null"),
        ("report", "prepare.per_class", 500, "prepare.per_class = 500 {}, which sets all"),
        ("report", "prepare.val_fraction", 0.1, "prepare.val_fraction = 0.1 {}, which sets 0"),
        ("report", "image_size", 64, "image_size = 64 {}, which sets 32"),
        ("report", "normalisation", "weights", "normalisation = weights {}, which sets half"),
        ("report", "controls", True, "controls = true {}, which sets false"),
        ("report", "tune.configurations", 5, "tune.configurations = 5 {}, which sets 1"),
        ("report", "frozen.readouts", ["linear"], "frozen.readouts = [linear] {}, which sets [random_head]"),
        ("report", "subset_seed", 1, "subset_seed = 1 {}, which sets null"),
    ],
)
def test_another_value_than_the_reports_is_refused_in_a_line(read, protocol, name, value, said):
    line = said.format(f"does not go with protocol = {protocol}")
    assert read(protocol, **{name: value}) == f"{line}; choose protocol=fair or leave it"


@pytest.mark.parametrize("protocol", OF_THE_REPORT)
def test_classes_by_name_do_not_go_with_the_report(read, protocol):
    said = f"classes = [cat, dog] does not go with protocol = {protocol}, which takes the first K classes; "
    assert read(protocol, classes=["cat", "dog"]) == f"{said}choose protocol=fair or a number"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("reprot", "protocol = 'reprot': did you mean report? allowed: fair, report, report_text"),
        ("the report's", 'protocol = "the report\'s": did you mean report? allowed: fair, report, report_text'),
        ("zzz", "protocol = 'zzz': allowed: fair, report, report_text"),
        (None, "protocol = None: allowed: fair, report, report_text"),
        (["fair"], "protocol = ['fair']: did you mean fair? allowed: fair, report, report_text"),
    ],
)
def test_a_protocol_that_does_not_exist_is_answered_with_those_that_do(read, word, said):
    assert read(word) == said
