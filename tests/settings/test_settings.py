"""Settings: what is accepted, what is refused and how, and that DVC reads the same values as we do."""

import math
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from src.core.errors import UserError
from src.nets import architectures
from src.prepare.config import Prepare
from src.settings.settings import Finetune, Settings, flat, load
from tests.settings.conftest import refusal

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_the_defaults_are_those_of_params_yaml():
    assert load(PARAMS) == Settings()


def test_params_yaml_writes_every_setting_down_so_that_each_can_be_swept():
    def unwritten(section: BaseModel) -> set[str]:
        inner = [value for _, value in section if isinstance(value, BaseModel)]
        return (type(section).model_fields.keys() - section.model_fields_set).union(*map(unwritten, inner))

    assert unwritten(load(PARAMS)) == set()


def test_a_missing_key_takes_its_default(read):
    settings = read("finetune: {epochs: 3}")
    assert settings.finetune.epochs == 3
    assert settings.finetune.lr == Settings().finetune.lr
    assert settings.classes == Settings().classes


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().finetune.lr = 1.0


COUNT_OR_NAMES = "a whole number >= 2 (the first K classes) or a list of two or more class names"


@pytest.mark.parametrize(
    ("text", "setting", "allowed"),
    [
        ("dataset: mnist", "dataset = 'mnist'", "allowed is 'cifar10', 'cifar100', "),
        (
            "dataset: [cifar10]",
            "dataset = ['cifar10']",
            "allowed is 'cifar10', 'cifar100', ",
        ),
        ("dataset: null", "dataset = None", "allowed is 'cifar10', 'cifar100', "),
        ("classes: 1", "classes = 1", COUNT_OR_NAMES),
        ("classes: -5", "classes = -5", COUNT_OR_NAMES),
        ("classes: 2.5", "classes = 2.5", COUNT_OR_NAMES),
        ("classes: true", "classes = True", COUNT_OR_NAMES),
        ("classes: null", "classes = None", COUNT_OR_NAMES),
        ("classes: cat", "classes = 'cat'", COUNT_OR_NAMES),
        ("classes: [cat]", "classes = ['cat']", COUNT_OR_NAMES),
        ("classes: [cat, [dog]]", "classes = ['dog']", COUNT_OR_NAMES),
        ("classes: []", "classes = []", COUNT_OR_NAMES),
        ("dataset: cifar100_coarse\nclasses: [people]", "classes = ['people']", COUNT_OR_NAMES),
        ("seeds: [-1]", "seeds.0 = -1", "allowed is a number >= 0"),
        ("seeds: [0, 4294967296]", "seeds.1 = 4294967296", "allowed is a number < 2147483648"),
        ("seeds: [1.0]", "seeds.0 = 1.0", "allowed is a whole number"),
        ("seeds: []", "seeds = []", "allowed is a list that is not empty"),
        ("seeds: [1, 0, 1]", "seeds = [1, 0, 1]", "a value occurs twice; name each once"),
        ("seeds: 3", "seeds = 3", "allowed is a list"),
        ("seeds: null", "seeds = None", "allowed is a list"),
        ("folder: 5", "folder = 5", "allowed is text"),
        ("device: gpu", "device = 'gpu'", "'auto', 'cpu', 'cuda' or 'mps'"),
        ("finetune: {lr: -0.1}", "finetune.lr = -0.1", "allowed is a number > 0"),
        ("finetune: {lr: 0}", "finetune.lr = 0", "allowed is a number > 0"),
        ("finetune: {lr: '0.001'}", "finetune.lr = '0.001'", "allowed is a number"),
        ("finetune: {lr: ten}", "finetune.lr = 'ten'", "allowed is a number"),
        ("finetune: {momentum: 1}", "finetune.momentum = 1", "allowed is a number < 1"),
        ("finetune: {momentum: 0, optimizer: sgd}", "finetune.nesterov = true", "allowed with finetune.momentum > 0"),
        ("finetune: {watch: train}", "finetune.watch = 'train'", "'validation', 'test' or 'augmented_test'"),
        ("finetune: {keep: first}", "finetune.keep = 'first'", "'best' or 'last'"),
        ("finetune: {drop_last: 1}", "finetune.drop_last = 1", "allowed is true or false"),
        ("normalisation: imagenet", "normalisation = 'imagenet'", "'weights' or 'half'"),
        ("finetune: {lr: [0.1, 0.2]}", "finetune.lr = [0.1, 0.2]", "allowed is a number"),
        ("finetune: {lr: .nan}", "finetune.lr = nan", "allowed is a finite number"),
        ("finetune: {lr: .inf}", "finetune.lr = inf", "allowed is a finite number"),
        ("finetune: {epochs: 0}", "finetune.epochs = 0", "allowed is a number >= 1"),
        ("finetune: {epochs: 1e3}", "finetune.epochs = 1000.0", "allowed is a whole number"),
        ("finetune: {augment: yes}", "finetune.augment = 'yes'", "allowed is true or false"),
        ("finetune: {augment: 1}", "finetune.augment = 1", "allowed is true or false"),
        ("finetune: {policy: autoaugment}", "finetune.policy = 'autoaugment'", "'randaugment' or 'trivialaugment'"),
        ("finetune: {erasing: 1.5}", "finetune.erasing = 1.5", "allowed is a number <= 1"),
        ("finetune: {mix: both}", "finetune.mix = 'both'", "'none', 'mixup' or 'cutmix'"),
        ("finetune: {mix_alpha: 0}", "finetune.mix_alpha = 0", "allowed is a number >= 0.001"),
        ("finetune: {label_smoothing: 1}", "finetune.label_smoothing = 1", "allowed is a number < 1"),
        (
            "finetune: {balance: focal}",
            "finetune.balance = 'focal'",
            "'none', 'weights', 'sampling' or 'logit_adjustment'",
        ),
        ("prepare: {imbalance: pareto}", "prepare.imbalance = 'pareto'", "'none', 'long_tailed' or 'step'"),
        ("prepare: {imbalance_ratio: 0.5}", "prepare.imbalance_ratio = 0.5", "allowed is a number >= 1"),
        ("finetune: {optimizer: adamw}", "finetune.optimizer = 'adamw'", "'adam' or 'sgd'"),
        ("finetune: {methods: []}", "finetune.methods = []", "allowed is a list that is not empty"),
        (
            "finetune: {methods: [lpft]}",
            "finetune.methods.0 = 'lpft'",
            "did you mean lp_ft? allowed: full, head, lp_ft",
        ),
        ("resnet: {weights: ''}", "resnet.weights = ''", "allowed is text that is not empty"),
        ("controls: yes", "controls = 'yes'", "allowed is true or false"),
        ("subset_seed: -1", "subset_seed = -1", "allowed is a number >= 0"),
        ("robustness: {enabled: yes}", "robustness.enabled = 'yes'", "allowed is true or false"),
        ("robustness: {images: 1}", "robustness.images = 1", "allowed is a number >= 2"),
        ("robustness: {severities: []}", "robustness.severities = []", "allowed is a list that is not empty"),
        ("robustness: {severities: [6]}", "robustness.severities.0 = 6", "allowed is a number <= 5"),
        ("robustness: {severities: [1, 1]}", "robustness.severities = [1, 1]", "name each once"),
        ("robustness: {attacks: [cw]}", "robustness.attacks.0 = 'cw'", "'fgsm', 'pgd', 'apgd_ce', 'square'"),
        ("robustness: {epsilons: [0]}", "robustness.epsilons.0 = 0", "allowed is a number > 0"),
        ("robustness: {steps: 0}", "robustness.steps = 0", "allowed is a number >= 1"),
        ("robustness: {corrupted: ''}", "robustness.corrupted = ''", "allowed is text that is not empty"),
        (
            "dataset: digits\nrobustness: {enabled: true, corrupted: x}",
            "robustness.corrupted = x",
            "cifar10 and cifar100",
        ),
        ("tune: {configurations: 0}", "tune.configurations = 0", "allowed is a number >= 1"),
        ("tune: {configurations: 2.0}", "tune.configurations = 2.0", "allowed is a whole number"),
        ("prepare: {shots: 0}", "prepare.shots = 0", "allowed is a number >= 1"),
        ("prepare: {val_fraction: -0.1}", "prepare.val_fraction = -0.1", "allowed is a number >= 0"),
        ("prepare: {val_fraction: 0}", "prepare.val_fraction = 0", "no validation images to watch"),
        (
            "{frozen: {readouts: [zero_shot]}, convnext: {weights: random}}",
            "frozen.readouts = [zero_shot]",
            "convnext.weights = random has no head that was pretrained on ImageNet; allowed with other weights",
        ),
        (
            "prepare: {val_fraction: 0}\nfinetune: {watch: test}",
            "prepare.val_fraction = 0",
            "a configuration is chosen on validation images; allowed with one configuration",
        ),
        (
            "prepare: {val_fraction: 0}\nfinetune: {watch: test}\ntune: {configurations: 1}",
            "prepare.val_fraction = 0",
            "frozen.readouts knn and linear choose on validation images; allowed are centroid, zero_shot and random_",
        ),
        ("finetune: 3", "finetune = 3", "allowed is a section of settings"),
        ("finetune: null", "finetune = None", "allowed is a section of settings"),
        ("prepare: {val_fraction: 0.6}", "prepare.val_fraction = 0.6", "allowed is a number <= 0.5"),
        ("prepare: {per_class: 1}", "prepare.per_class = 1", "allowed is a whole number >= 2, or all"),
        ("prepare: {per_class: some}", "prepare.per_class = 'some'", "allowed is a whole number >= 2, or all"),
        ("prepare: {per_class: 2.5}", "prepare.per_class = 2.5", "allowed is a whole number >= 2, or all"),
        ("frozen: {readouts: []}", "frozen.readouts = []", "allowed is a list that is not empty"),
        ("frozen: {readouts: linear}", "frozen.readouts = 'linear'", "allowed is a list"),
        ("frozen: {readouts: [linaer]}", "frozen.readouts.0 = 'linaer'", "did you mean linear? allowed: linear, knn"),
        ("compare: {confidence: 95}", "compare.confidence = 95", "allowed is a number <= 0.9999"),
        ("compare: {margin: 0}", "compare.margin = 0", "allowed is a number > 0"),
        ("compare: {margin: 1.5}", "compare.margin = 1.5", "allowed is a number < 1"),
        ("compare: {question: [resnet.full]}", "compare.question = ['resnet.full']", "allowed are two cells or arms"),
        (
            "compare: {question: [resnet.full, convnext.linaer]}",
            "compare.question = [resnet.full, convnext.linaer]",
            "convnext.linaer is not run; did you mean convnext.linear? allowed: resnet.finetuned, ",
        ),
        (
            "{controls: false, compare: {question: [resnet.finetuned, resnet.frozen]}}",
            "compare.question = [resnet.finetuned, resnet.frozen]",
            "resnet.frozen is not run; ",
        ),
        (
            "compare: {question: [resnet.finetuned, resnet.full]}",
            "compare.question = [resnet.finetuned, resnet.full]",
            "both are resnet.full; name two different arms",
        ),
        ("compare: {base_classes: 1}", "compare.base_classes = 1", "allowed is a number >= 2"),
        ("1: 2", "1 = 1", "strings"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line_with_its_value_and_what_is_allowed(read, text, setting, allowed):
    message = refusal(read, text)
    assert message.startswith(f"{setting}: ")
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "start", "allowed"),
    [
        ("finetun: {lr: 0.1}", "finetun: no such setting; did you mean finetune? allowed: ", Settings),
        ("classess: 5", "classess: no such setting; did you mean classes? allowed: ", Settings),
        (
            "prepare: {per_classes: 5}",
            "prepare.per_classes: no such setting; did you mean per_class? allowed: ",
            Prepare,
        ),
        ("finetune: {lrr: 0.1}", "finetune.lrr: no such setting; did you mean lr? allowed: ", Finetune),
        ("finetune: {zebra: 1}", "finetune.zebra: no such setting; allowed: ", Finetune),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_and_all_that_there_are(read, text, start, allowed):
    assert refusal(read, text) == start + ", ".join(allowed.model_fields)


def test_an_unknown_architecture_is_answered_with_the_nearest_and_all(read):
    message = refusal(read, "resnet: {arch: resnet81}")
    everything = ", ".join(architectures.names())
    assert message == f"resnet.arch = 'resnet81': did you mean resnet18? allowed: {everything}, and timm/<name>"


@pytest.mark.parametrize(
    ("arch", "start"),
    [
        ("timm/resnet81", "did you mean resnet18? allowed are the"),
        ("squeezenet1_0", "its logits are means of a convolution's outputs"),
        ("5", "allowed is text"),
    ],
)
def test_an_architecture_that_cannot_be_had_is_refused_with_the_reason(read, arch, start):
    assert refusal(read, f"convnext: {{arch: {arch}}}").partition(": ")[2].startswith(start)


def test_an_architecture_of_timms_is_named_without_quotes(read):
    assert read("resnet: {arch: timm/resnet18.a1_in1k}").resnet.arch == "timm/resnet18.a1_in1k"


def test_a_value_however_long_or_odd_is_shown_in_one_short_line(read):
    message = refusal(read, f'dataset: "{"x" * 500}\\n{"y" * 500}"')
    assert "\n" not in message
    assert len(message) < 200


def test_an_unknown_key_with_a_line_break_is_still_refused_in_one_line(read):
    assert "\n" not in refusal(read, '"a\\nb": 1')


def test_lp_ft_needs_an_epoch_for_each_of_its_parts(read):
    message = refusal(read, "finetune: {methods: [full, lp_ft], epochs: 1}")
    assert message.startswith("finetune.epochs = 1: the method lp_ft needs 2 or more")
    assert read("finetune: {methods: [full, lp_ft], epochs: 2}").finetune.epochs == 2


def test_a_readout_named_twice_is_refused(read):
    assert "readouts" in refusal(read, "frozen: {readouts: [linear, linear]}")


@pytest.mark.parametrize("text", ["", "[]", "5", "just words"])
def test_a_file_that_is_no_mapping_is_refused(read, text):
    assert refusal(read, text).endswith("; allowed are lines such as classes: 10")


@pytest.mark.parametrize(
    "text", ["classes: [", "\tclasses: 2", "classes: !!python/object/apply:os.getcwd []", "a: b: c"]
)
def test_what_is_not_yaml_is_refused_in_one_line(read, text):
    message = refusal(read, text)
    assert message.startswith(" is not valid YAML: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("classes: 2\nclasses: 3", "classes is given twice, again in line 2; delete one of the two"),
        ("finetune:\n  lr: 1\n  epochs: 2\n  lr: 2", "lr is given twice, again in line 4; delete one of the two"),
        ('"a\\nb": 1\n"a\\nb": 2', r"'a\nb' is given twice, again in line 2; delete one of the two"),
    ],
)
def test_a_setting_that_is_given_twice_is_named(read, text, named):
    assert refusal(read, text) == named


@pytest.mark.parametrize(("written", "number"), [("10_000", 10_000), ("0x3e8", 1000), ("+500", 500)])
def test_whole_numbers_are_read_however_they_are_written(read, written, number):
    assert read(f"finetune: {{epochs: {written}}}").finetune.epochs == number


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"folder: \xff\xfe")
    with pytest.raises(UserError, match=r"params\.yaml is not valid YAML: .*can't decode"):
        load(tmp_path / "params.yaml")


def test_a_missing_file_is_refused_with_where_to_run(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml is missing; run the command in the root of the repository"):
        load(tmp_path / "params.yaml")


def test_the_folder_dataset_needs_a_folder(read):
    assert refusal(read, "dataset: folder").startswith(
        "folder = null: dataset is folder, which needs the root of train/"
    )
    assert read("dataset: folder\nfolder: ~/pictures").folder == "~/pictures"


@pytest.mark.parametrize("written", ["1e-05", "0.00001", "1.0e-5", "1E-05", "+.00001"])
def test_small_rates_arrive_as_numbers_however_they_are_written(read, written):
    rate = read(f"finetune: {{lr: {written}}}").finetune.lr
    assert isinstance(rate, float)
    assert math.isclose(rate, 0.00001)


def test_a_whole_number_will_do_for_a_fraction(read):
    assert read("finetune: {lr: 1, weight_decay: 0}").finetune.lr == 1.0


@pytest.mark.parametrize("rate", [1e-05, 3e-4, 0.1, 1.0, 2])
def test_what_dvc_writes_for_set_param_is_what_we_read(tmp_path, rate):
    path = tmp_path / "params.yaml"
    path.write_text("finetune:\n  lr: 0.001 # a comment\n")
    with modify_yaml(path) as values:  # as `dvc exp run -S finetune.lr=...` does
        values["finetune"]["lr"] = rate
    assert load(path).finetune.lr == rate


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("[no, on]", ["no", "on"]),
        ("[y, n, yes, off]", ["y", "n", "yes", "off"]),
        ("[3, 8]", ["3", "8"]),
        ("['3', cat]", ["3", "cat"]),
        ("['1:30', '12:30:45']", ["1:30", "12:30:45"]),
        ("['true', 'null']", ["true", "null"]),
        ("['1_000', '=']", ["1_000", "="]),
        ("[Katze, Füße]", ["Katze", "Füße"]),
    ],
)
def test_class_names_that_other_yaml_readers_take_for_something_else_are_names(read, written, names):
    assert read(f"classes: {written}").classes == names


def test_one_name_is_enough_where_it_can_be_a_superclass(read):
    assert read("dataset: cifar100\nclasses: [people]").classes == ["people"]


SCALARS = (
    "0 1 -1 +1 12345678901234567890 0.0 -0.5 +0.5 .5 5. 1e5 1E5 1e+3 1e-05 1.5e-3 1.e-3 0.00001 .inf -.inf .NaN "
    "true True TRUE false False FALSE tRue yes no on off y n Yes NO null Null NULL ~ None none nan inf e5 1e . -a "
    "1:30 12:30:45 1_000 0x10 0o17 1.2.3 10% cat resnet18 '5' \"1e-05\""
).split()


@pytest.mark.parametrize(
    "scalar",
    [
        *SCALARS,
        "",
        "010",
        "08",
    ],
)
def test_scalars_mean_what_they_mean_to_dvc(read, scalar):
    """DVC reads params.yaml by ruamel.yaml; a value on which we differ would be swept as one and run as another."""
    text = f"folder:\n  key: {scalar}\n"
    theirs = YAML(typ="safe").load(text)["folder"]
    assert refusal(read, text).startswith(f"folder = {theirs}: ")  # a mapping is no folder: the answer shows our value


def test_nested_settings_get_dotted_names():
    """One that is a mapping itself stays whole, as its names are not settings: the contrasts of backbones."""
    assert flat({"a": 1, "b": {"c": [1], "d": {"e": None}}}) == {"a": 1, "b.c": [1], "b.d": {"e": None}}
    assert flat(Settings().model_dump())["finetune.lr"] == Settings().finetune.lr


ODD = ["007", "7", "1e3", "1_000", "0x1F", "-1", ".5", "no", "yes", "true", "null", "~", "2024-01-01", "12:30"]


@pytest.mark.parametrize("lines", ["classes: [{}]", "classes:\n- {}"])
def test_names_of_classes_are_what_is_written_whatever_yaml_would_make_of_them(tmp_path, lines):
    for name in ODD:
        (tmp_path / "params.yaml").write_text(lines.format(f"{name}, bird" if "[" in lines else f"{name}\n- bird"))
        assert load(tmp_path / "params.yaml").classes == [name, "bird"]
    (tmp_path / "params.yaml").write_text("classes: ['007', \"it's\", 'a, b']")
    assert load(tmp_path / "params.yaml").classes == ["007", "it's", "a, b"]
    (tmp_path / "params.yaml").write_text("classes: 7")
    assert load(tmp_path / "params.yaml").classes == 7
