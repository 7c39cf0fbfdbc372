"""What compare says of all arms: every number where it belongs, the right arm in each cell, and a verdict."""

import numpy as np
import pytest

from src.compare import results
from src.compare.config import Compare
from src.core import design
from src.core.errors import UserError
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.settings.settings import Settings
from src.storage import files, paths
from stages import compare
from tests.helpers.toy_records import COST, evaluation

CLASSES = ["cat", "dog", "frog"]
LABELS = np.repeat(np.arange(3), 20)


def arm(title: str, *right: int, labels: np.ndarray = LABELS, **evaluated: float) -> results.Arm:
    """Under each seed, of three classes' twenty images each, so many are taken for what they are.

    The others are taken for the next class. One number stands for three seeds.
    """
    counts = np.array(right if len(right) > 1 else right * 3)[:, None]
    answers = np.where(np.arange(len(labels)) % 20 < counts, labels, (labels + 1) % 3)
    each = [evaluation(**evaluated) for _ in counts]
    return results.Arm(title, np.eye(3, dtype=np.float32)[answers], labels, np.arange(len(labels)), each)


FOUND = {
    "resnet.full": arm("resnet18, fine-tuned", 15, 16, 17, val_accuracy=0.7, configurations=5),
    "resnet.knn": arm("resnet18, frozen, k-NN", 8),
    "convnext.full": arm("convnext_tiny, fine-tuned", 18, 18, 18, val_accuracy=0.6),
    "convnext.zero_shot": arm("convnext_tiny, frozen, zero shot", 19, 19, 19, val_accuracy=0.9),
    "convnext.knn": arm("convnext_tiny, frozen, k-NN", 10),
}


def report(result: dict[str, results.Arm], unavailable=None, *, seeds=(0, 1, 2), settings=None, **given) -> Comparison:
    config = Compare(**{"base_classes": 2, "confidence": 0.9, "margin": 0.05} | (settings or {}))
    return results.report(result, seeds, CLASSES, unavailable or {}, config, **given)


def alone(arms: dict[str, results.Arm]) -> dict[str, results.Arm]:
    """The arms under their first seed alone."""
    return {
        name: results.Arm(part.title, part.logits[:1], part.labels, part.index, part.evaluations[:1])
        for name, part in arms.items()
    }


@pytest.fixture(scope="module")
def result() -> Comparison:
    return report(FOUND, {"resnet.zero_shot": "no categories"})


def test_every_arm_has_its_accuracy_under_each_seed_and_its_cost(result):
    assert [row.arm for row in result.arms] == list(FOUND)
    assert [row.accuracy.value for row in result.arms] == pytest.approx([0.8, 0.4, 0.9, 0.95, 0.5])
    assert all(row.accuracy.low < row.accuracy.value < row.accuracy.high for row in result.arms)
    first = result.arms[0]
    assert (first.arm, first.title, first.val_accuracy) == ("resnet.full", "resnet18, fine-tuned", pytest.approx(0.7))
    assert first.seeds == pytest.approx({"0": 0.75, "1": 0.8, "2": 0.85})
    assert (first.configurations, result.arms[1].configurations) == (5, None)
    assert first.cost.model_dump() == COST
    assert result.arm("convnext.full") == result.arms[2]


def test_the_settings_and_the_number_of_images_are_told(result):
    assert (result.n, result.classes, result.confidence, result.margin) == (60, CLASSES, 0.9, 0.05)
    assert result.seeds == [0, 1, 2]
    assert result.unavailable == {"resnet.zero_shot": "no categories"}


def test_a_read_out_that_one_backbone_lacks_stands_for_neither(result):
    """zero_shot comes before knn and is ConvNeXt's alone, so that knn stands in both frozen cells."""
    assert result.cells == {
        "resnet.finetuned": "resnet.full",
        "resnet.frozen": "resnet.knn",
        "convnext.finetuned": "convnext.full",
        "convnext.frozen": "convnext.knn",
    }


def test_the_first_listed_adaptation_stands_for_its_column():
    names = ["resnet.lp_ft", "resnet.full", "convnext.centroid", "convnext.linear"]
    assert design.representatives(names) == {
        "resnet.finetuned": "resnet.lp_ft",
        "convnext.frozen": "convnext.centroid",
    }


def test_backbones_that_share_no_read_out_are_refused():
    with pytest.raises(UserError, match=r"^frozen\.readouts: no entry is available for every backbone"):
        design.representatives(["resnet.full", "resnet.linear", "convnext.full", "convnext.zero_shot"])


def test_the_question_and_the_effects_worked_by_hand(result):
    """ResNet 0.8 and 0.4, ConvNeXt 0.9 and 0.5: parallel, so that nothing interacts."""
    assert result.primary.difference.value == pytest.approx(0.8 - 0.5)
    assert result.primary.seeds == pytest.approx({"0": 0.25, "1": 0.3, "2": 0.35})
    assert result.primary.title == "resnet18, fine-tuned less convnext_tiny, frozen, k-NN"
    assert result.primary.weights == {"resnet.full": 1, "convnext.knn": -1}
    effects = {name: effect.difference.value for name, effect in result.effects.items()}
    assert effects == pytest.approx({"backbone": 0.1, "finetuning": 0.4, "interaction": 0}, abs=1e-12)
    assert result.effects["backbone"].title == "convnext_tiny less resnet18, mean of frozen and fine-tuned"


def test_the_parts_of_the_variance_are_of_one_run(result):
    """Seeds are 0.05 apart, of 60 images and the two that are added."""
    parts = result.primary.parts
    assert parts.seeds + parts.residual == pytest.approx((0.05 * 60 / 62) ** 2)
    assert min(parts.seeds, parts.images, parts.residual) > 0
    single = report(alone(FOUND), seeds=[0]).primary
    assert (single.parts.seeds, single.parts.residual, single.covers) == (None, None, "test images")
    assert single.word == "not settled"


def test_another_question_can_be_asked_of_cells_or_of_arms():
    asked = report(FOUND, settings={"question": ["convnext.zero_shot", "convnext.finetuned"]}).primary
    assert asked.weights == {"convnext.zero_shot": 1, "convnext.full": -1}
    assert asked.difference.value == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("question", "line"),
    [
        (["resnet.finetuned", "convnext.lineal"], r"convnext\.lineal is not run; did you mean .* allowed: resnet"),
        (["resnet.zero_shot", "convnext.knn"], r"resnet\.zero_shot is not run; did you mean convnext\.zero_shot"),
        (["resnet.full", "resnet.finetuned"], r"both are resnet\.full; name two different arms"),
    ],
)
def test_a_question_that_names_no_arm_or_one_twice_is_refused_in_a_line(question, line):
    with pytest.raises(UserError, match=rf"^compare\.question = \[{', '.join(question)}\]: {line}") as error:
        report(FOUND, settings={"question": question})
    assert "\n" not in str(error.value)


def test_p_of_the_effects_is_adjusted_for_three_and_that_of_the_question_is_not(result):
    """The question has the smallest p that its own interval allows; the largest p of the family stays as it is."""
    lone = report(FOUND, settings={"question": ["resnet.finetuned", "resnet.frozen"]}).primary
    assert lone.p < 0.1
    assert not lone.difference.low <= 0 <= lone.difference.high
    family = result.effects
    assert family["interaction"].p == pytest.approx(1)
    assert family["backbone"].p <= family["interaction"].p
    assert {effect.word for effect in family.values()} <= {"ahead", "equivalent within the margin", "not settled"}


def spread(gap: int, seed: int = 0) -> dict[str, results.Arm]:
    """Two arms on 6,000 images under three seeds; the first is right on `gap` more of them."""
    labels = np.arange(6000) % 3
    hard = np.random.default_rng(seed).random(6000) < 0.3

    def part(title: str, more: int) -> results.Arm:
        wrong = np.stack([hard & (np.arange(6000) + seed * 7 >= more + seed) for seed in range(3)])
        logits = np.eye(3, dtype=np.float32)[np.where(wrong, (labels + 1) % 3, labels)]
        return results.Arm(title, logits, labels, np.arange(6000), [evaluation()] * 3)

    return {"resnet.full": part("resnet18, fine-tuned", gap), "convnext.knn": part("convnext_tiny, frozen, k-NN", 0)}


def test_the_three_words():
    ahead = report(spread(1500)).primary
    assert (ahead.word, ahead.p < 0.1) == ("ahead", True)
    same = report(spread(0), settings={"margin": 0.01}).primary
    assert (same.word, same.p_equivalent < 0.1) == ("equivalent within the margin", True)
    unsettled = report(spread(0), settings={"margin": 1e-6}).primary
    assert unsettled.word == "not settled"
    assert unsettled.detectable > 1e-6


def test_one_seed_says_nothing_of_recipes_however_small_its_p():
    single = report(alone(spread(1500)), seeds=[0]).primary
    assert single.p < 1e-9
    assert single.word == "not settled"


def test_every_two_arms_are_a_pair_and_have_no_p(result):
    assert len(result.pairs) == 10
    first = result.pairs[0]
    assert (first.first, first.second) == ("resnet.full", "resnet.knn")
    assert first.difference.value == pytest.approx(0.4)
    assert set(type(first).model_fields) == {"first", "second", "difference"}


def test_the_best_cell_is_chosen_on_validation_images_alone(result):
    """ConvNeXt fine-tuned is right most often on test images; the zero shot arm is in no cell."""
    assert result.best == "resnet.full"
    assert report(FOUND, validated=False).best is None
    none = FOUND | {"resnet.full": arm("resnet18, fine-tuned", 16, val_accuracy=None)}
    assert report(none).best is None


def test_the_base_classes_are_tested_with_the_full_head_and_restricted(result):
    """Who says frog to everything, or else dog, is right about dogs once frog is no answer.

    The other arm is right about half of either; the dogs that it took for frogs it then takes for cats, still wrong.
    """
    assert result.base_classes.count == 2
    sure = np.tile([0.0, 1.0, 2.0], (3, 60, 1))  # says frog, then dog, then cat
    frog = results.Arm("resnet18, fine-tuned", sure, LABELS, np.arange(60), [evaluation()] * 3)
    row, other = report({"resnet.full": frog, "convnext.knn": FOUND["convnext.knn"]}).base_classes.arms
    assert (row.arm, row.title) == ("resnet.full", "resnet18, fine-tuned")
    assert (row.full_head.value, row.restricted.value) == (0, 0.5)
    assert (other.full_head.value, other.restricted.value) == (0.5, 0.5)


def test_without_controls_there_are_two_cells_and_no_effects():
    result = report({name: FOUND[name] for name in ("resnet.full", "convnext.knn")})
    assert result.cells == {"resnet.finetuned": "resnet.full", "convnext.frozen": "convnext.knn"}
    assert result.effects == {}
    assert result.primary.difference == result.pairs[0].difference


@pytest.mark.parametrize("seeds", [1, 3])
def test_arms_that_answer_alike_differ_by_0_within_an_interval_that_has_a_width(seeds):
    same = {"resnet.full": arm("resnet18, fine-tuned", 16), "convnext.knn": arm("convnext_tiny, frozen, k-NN", 16)}
    result = report(same if seeds > 1 else alone(same), seeds=range(seeds))
    assert (result.primary.difference.value, result.primary.p) == (0, 1)
    assert result.primary.difference.low < -0.01
    assert result.primary.difference.high > 0.01


def test_the_record_is_read_as_it_was_written_and_its_numbers_are_few(result, tmp_path):
    files.write_record(tmp_path / "compare.json", result)
    assert files.read_record(tmp_path / "compare.json", Comparison) == result
    single = report(alone(FOUND), seeds=[0], validated=False)
    files.write_record(tmp_path / "one.json", single)
    assert files.read_record(tmp_path / "one.json", Comparison) == single
    numbers = result.numbers()
    assert set(numbers) == {"primary", "effects"}
    assert set(numbers["primary"]) == {"value", "low", "high"}
    assert numbers["primary"]["value"] == result.primary.difference.value
    assert numbers["effects"] == {name: each.difference.value for name, each in result.effects.items()}
    assert set(numbers["effects"]) == {"backbone", "finetuning", "interaction"}


def test_the_same_answers_give_the_same_numbers(result):
    assert report(FOUND, result.unavailable) == result


@pytest.mark.parametrize("part", ["index", "labels"])
def test_arms_that_were_tested_on_different_images_are_refused(part):
    other = FOUND["convnext.knn"]
    values = {name: getattr(other, name) for name in ("title", "logits", "labels", "index", "evaluations")}
    changed = results.Arm(**values | {part: values[part][::-1]})
    results.require_same_images(FOUND)
    with pytest.raises(UserError, match=r"^convnext\.knn and resnet\.full were tested on different images"):
        results.require_same_images({"resnet.full": FOUND["resnet.full"], "convnext.knn": changed})


def test_the_tables_that_dvc_draws_hold_the_same_numbers(result):
    tables = results.tables(result)
    columns, rows = tables["arms"]
    assert list(columns[:2]) == ["arm", "accuracy"]
    assert list(rows[0][:2]) == ["resnet18, fine-tuned", pytest.approx(0.8)]
    columns, rows = tables["pairs"]
    assert len(rows) == 10
    assert columns[-1] == "high"
    assert list(rows[0][:3]) == ["resnet18, fine-tuned", "resnet18, frozen, k-NN", pytest.approx(0.4)]
    columns, rows = tables["table"]
    assert [list(row[:2]) for row in rows] == [
        [role, cell] for role in ("resnet", "convnext") for cell in ("finetuned", "frozen")
    ]
    columns, rows = tables["base_classes"]
    assert list(columns) == ["arm", "accuracy", "restricted"]
    assert all(len(row) == len(columns) for columns, rows in tables.values() for row in rows)


def test_recall_stands_beside_the_training_images_of_classes_that_differ_in_size(result):
    assert result.by_frequency is None
    assert "by_frequency" not in results.tables(result)
    told = report(FOUND, result.unavailable, train_images=[90, 30, 10])
    assert told.by_frequency.train_images == [90, 30, 10]
    first = told.by_frequency.arms[0]
    assert first.recall == pytest.approx([0.8] * 3)  # the mean of 0.75, 0.8 and 0.85
    assert first.balanced_accuracy == pytest.approx(0.8)
    columns, rows = results.tables(told)["by_frequency"]
    assert list(columns) == ["arm", "class", "train_images", "recall"]
    assert rows[1] == ("resnet18, fine-tuned", "dog", 30, pytest.approx(0.8))
    assert len(rows) == 3 * len(FOUND)
    assert told.model_copy(update={"by_frequency": None}) == result


@pytest.mark.parametrize(("imbalance", "told"), [("none", []), ("step", [3, 1])])
def test_the_stage_counts_training_images_where_classes_differ_in_size(imbalance, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_arrays(paths.subset(0), train_labels=np.array([0, 0, 1, 0]))
    assert compare.train_images(Settings.model_validate({"prepare": {"imbalance": imbalance}})) == told


def test_balanced_accuracy_is_the_mean_over_classes_and_not_over_images():
    uneven = np.repeat(np.arange(3), [40, 20, 20])
    logits = np.tile(np.float32([1, 0, 0]), (3, 80, 1))  # every image is taken for a cat
    same = [evaluation()] * 3
    result = {name: results.Arm(arm.title, logits, uneven, np.arange(80), same) for name, arm in FOUND.items()}
    told = report(result, train_images=[3, 2, 1])
    assert told.arms[0].accuracy.value == 0.5
    assert told.by_frequency.arms[0].balanced_accuracy == pytest.approx(1 / 3)


def test_the_terminal_shows_every_arm_the_question_the_effects_and_the_verdict(result):
    lines = results.render(result).splitlines()
    assert lines[0].split() == "arm accuracy 90% interval trained, MACs images/s".split()
    assert lines[1].startswith("resnet18, fine-tuned")
    assert "  0.8000  [" in lines[1]
    assert lines[6] == "60 test images, the same for every arm; seeds 0, 1, 2"
    assert lines[7].startswith("resnet18, fine-tuned less convnext_tiny, frozen, k-NN: +30.00 points  [+")
    assert "over seeds and test images: " in lines[7]
    assert lines[8] == "  +25.00 (seed 0), +30.00 (seed 1), +35.00 (seed 2)"
    assert lines[9].startswith("  variance of one run, points squared: seed ")
    assert lines[11].startswith("fine-tuned less frozen, mean of both backbones: +40.00 points  [+")
    assert lines[13] == "resnet.zero_shot is unavailable: no categories"
    assert lines[-len(result.verdict) :] == result.verdict


def test_of_one_seed_the_terminal_says_that_images_alone_are_covered():
    lines = results.render(report(alone(FOUND), seeds=[4])).splitlines()
    assert lines[6] == "60 test images, the same for every arm; seed 4"
    assert "over test images: not settled" in lines[7]
    assert not any("variance" in line for line in lines)


def test_the_stage_reads_every_seeds_predictions(tmp_path, monkeypatch):
    """Written seed by seed as the evaluation writes them; a seed that the settings do not name is left out."""
    monkeypatch.chdir(tmp_path)
    for cell, adaptation, count in (("resnet.finetuned", "full", 16), ("convnext.frozen", "linear", 10)):
        for seed in (0, 1, 7):
            logits = arm("", count + seed % 2).logits[0]
            folder = paths.of_seed(paths.predictions(cell), seed)
            files.write_arrays(folder / f"{adaptation}.npz", logits=logits, labels=LABELS, index=np.arange(60))
        evaluated = {str(seed): {adaptation: evaluation(val_accuracy=seed / 10)} for seed in (0, 1, 7)}
        files.write_record(paths.record(paths.cell_name(cell)), Evaluations(seeds=evaluated))
    settings = {"controls": False, "seeds": [7, 0], "frozen": {"readouts": ["linear"]}}
    arms, unavailable = compare.read_arms(Settings.model_validate(settings))
    assert unavailable == {}
    assert {name: part.logits.shape for name, part in arms.items()} == dict.fromkeys(
        ("resnet.full", "convnext.linear"), (2, 60, 3)
    )
    told = results.report(arms, [7, 0], CLASSES, {}, Compare())
    assert told.arm("resnet.full").seeds == pytest.approx({"7": 17 / 20, "0": 16 / 20})
    assert told.arm("resnet.full").val_accuracy == pytest.approx(0.35)
