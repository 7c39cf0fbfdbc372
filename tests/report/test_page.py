"""The report page says what the metrics say, whatever classes are called; a browser needs nothing but the file."""

import base64
import io
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from PIL import Image

from src.compare import results
from src.core import design
from src.core.records import Interval
from src.evaluate.arm import Predictions, score
from src.prepare.config import Prepare
from src.readouts.config import READOUTS
from src.records.compare import ListedBackbone
from src.records.evaluate import Evaluation, Evaluations
from src.records.robustness import RobustnessResults
from src.records.tune import SearchSummaries, SearchSummary
from src.report import format, mistakes, tables
from src.report import page as report_page
from src.settings import protocols
from src.settings import settings as settings_settings
from src.settings.settings import Settings
from src.storage import files, paths
from stages import report
from tests.helpers.raw_files import write_raw
from tests.helpers.toy_records import contrast

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HOSTILE = [
    '"><script>alert(1)</script>',
    "<img src=https://example.org/x.png onerror=alert(2)>",
    "'; -->]]></style></title>",
    "../../etc/passwd\\",
    "{{ 7 * 7 }}{% raw %}${oops}",
    "👩‍👩‍👧‍👦🦌" * 20,
    "W" * 5000,
    "\u202eright to left\u0000\n\t",
    "&lt;b&gt;&amp;",
    "x" * 23 + "e\u0301" * 9,
]
SECTIONS = ["verdict", "table", "budget", "costs", "test-images", "arms", "pairs", "base", "calibration"]
SECTIONS += ["per-class", "confusion", "mistakes", "settings", "reproduce"]


def predictions(labels: np.ndarray, count: int, accuracy: float, arm: int, seed: int) -> np.ndarray:
    """Logits (N, K) that are right on about so many of the images: for most images, the same ones under every seed."""
    rng = np.random.default_rng([arm, seed])
    ease = 0.8 * np.random.default_rng(arm).random(len(labels)) + 0.2 * rng.random(len(labels))
    right = ease <= np.quantile(ease, min(1, accuracy + 0.01 * (seed * (arm + 1) % 3)))
    answers = np.where(right, labels, (labels + rng.integers(1, count, len(labels))) % count)
    logits = rng.normal(0, 1, (len(labels), count))
    logits[np.arange(len(labels)), answers] += 4 + rng.random(len(labels))
    return logits.astype(np.float32)


class Experiment:
    """What a finished experiment leaves for the page: planted predictions, and what the other stages say of them."""

    def __init__(
        self,
        *,
        classes: list[str] = CLASSES,
        controls: bool = True,
        side: int = 32,
        per_class: int = 30,
        unavailable: bool = False,
        settings: dict | None = None,
        tuned: SearchSummaries | None = None,
        duplicates: Sequence[int] = (),
    ) -> None:
        given = {"controls": controls, "frozen": {"readouts": list(READOUTS)}, **(settings or {})}
        self.settings = Settings.model_validate(protocols.filled(given))
        self.duplicates, self.tested, self.said = duplicates, 1, []
        self.classes, self.tuned = classes, tuned or SearchSummaries()
        self.labels = np.repeat(np.arange(len(classes)), per_class)
        rng = np.random.default_rng(0)
        self.index = rng.permutation(len(self.labels) + 50)[: len(self.labels)]
        self.raw = rng.integers(0, 256, (len(self.labels) + 50, side, side, 3), np.uint8)
        self.picture = png(np.full((300, 450, 3), 255, np.uint8))
        self.why = {"zero_shot": "no mapping for <these> classes"} if unavailable else {}
        self.robustness: RobustnessResults | None = None
        self.measure()

    def measure(self) -> None:
        """The evaluations of all `cells`, their `comparison`, and under the first seed the `logits`."""
        self.cells = {cell: Evaluations() for cell in design.CELLS}
        self.logits: dict[str, np.ndarray] = {}
        result, seeds = {}, self.settings.seeds
        for cell in design.CELLS if self.settings.controls else design.QUESTION:
            role, column = cell.split(".")
            readouts = [name for name in self.settings.frozen.readouts if name not in self.why]
            names = self.settings.finetune.methods if column == "finetuned" else readouts
            by_seed: dict[str, dict[str, Evaluation]] = {str(seed): {} for seed in seeds}
            for name in names:
                arm = f"{role}.{name}"
                found = [self.arm(arm, seed) for seed in seeds]
                for seed, (_, evaluation) in zip(seeds, found, strict=True):
                    by_seed[str(seed)][name] = evaluation
                logits = np.stack([part for part, _ in found])
                self.logits[arm] = logits[0]
                title = design.title(arm, getattr(self.settings, role).arch)
                result[arm] = results.Arm(title, logits, self.labels, self.index, [part for _, part in found])
            self.cells[cell] = Evaluations(seeds=by_seed, unavailable=self.why if column == "frozen" else {})
        unavailable = {f"convnext.{name}": why for name, why in self.why.items()}
        given = {"validated": self.settings.finetune.watch == "validation", "repeated": self.duplicates}
        self.comparison = results.report(result, seeds, self.classes, unavailable, self.settings.compare, **given)

    def arm(self, name: str, seed: int) -> tuple[np.ndarray, Evaluation]:
        """One arm's planted logits under one seed, and its evaluation."""
        role, adaptation = design.split(name)
        modern, k = role == "convnext", len(self.classes)
        skill = {"full": 0.75, "lp_ft": 0.77, "linear": 0.56, "knn": 0.5, "centroid": 0.45, "zero_shot": 0.4}
        accuracy = skill.get(adaptation, 1 / k) * (1.12 if modern else 1)
        drawn = (len(self.logits) + part for part in (0, 100))
        logits, val_logits = (predictions(self.labels, k, accuracy, arm, seed) for arm in drawn)
        if adaptation == "zero_shot":
            logits[:, k // 2] = val_logits[:, k // 2] = -np.inf
        scores = score(Predictions(logits, self.labels, self.index, val_logits, self.labels), self.classes)
        size = self.settings.tune.configurations
        probe = {"c": 0.01 * 10**seed, "configurations": size, "tried": [1.0, 0.1], "tried_accuracies": [0.5, 0.6]}
        chosen = {"linear": probe | {"at_edge": seed == 2}, "knn": {"k": 20, "configurations": size}}
        chosen["full"] = {"configurations": size, "convergence": f"settled {seed % 2}"}
        return logits, Evaluation(
            **dict(scores),
            **{"parameters": 27_800_000 if modern else 11_200_000, "trained_parameters": 7_690},
            **{"macs": 91_200_000 if modern else 37_200_000, "train_macs": 41 * 10**11, "train_seconds": 211.0},
            **{"executed_macs": 81_200_000 if modern else 27_200_000, "seconds": 3.2, "peak_memory": 1_610_612_736},
            **{"images_per_second": 1550.0, "images_per_second_low": 1480.0, "images_per_second_high": 1610.0},
            environment={"device": "cpu", "processor": "AMD EPYC", "threads": 2, "torch": "2.14.1"},
            **chosen.get(adaptation, {}),
        )

    def results(self, **figures: bytes) -> report_page.Results:
        first, second = (
            {"logits": self.logits[arm], "labels": self.labels, "index": self.index}
            for arm in self.comparison.primary.weights
        )
        return report_page.Results(
            comparison=self.comparison,
            cells=self.cells,
            tuned=self.tuned,
            robustness=self.robustness,
            classes=self.classes,
            predictions=(first, second),
            raw=self.raw,
            figures={"reliability": self.picture, **figures},
            duplicates=self.said,
            tested=self.tested,
        )

    def context(self) -> dict:
        return report_page.context(self.settings, self.results())

    def page(self) -> str:
        return report_page.render(self.context())


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Reader(HTMLParser):
    """The page's elements in order with their attributes, and its text by section."""

    VOID = ("meta", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open: list[str] = []
        self.section = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text[self.section] = re.sub(r"[ \n]+", " ", self.text.get(self.section, "") + data + " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment()


@pytest.fixture(scope="module")
def reader(experiment: Experiment) -> Reader:
    return Reader(experiment.page())


def test_the_sections_stand_in_order_and_the_verdict_is_first(reader, experiment):
    assert [section["id"] for section in reader.all("section")] == SECTIONS
    assert len(experiment.comparison.verdict) == 5
    for sentence in experiment.comparison.verdict:
        assert reader.text["verdict"].count(sentence) == 1


def test_every_link_of_the_navigation_leads_to_a_section(reader):
    assert {link["href"] for link in reader.all("a")} <= {f"#{name}" for name in SECTIONS}


def test_the_page_holds_everything_that_it_needs_and_forbids_the_rest(reader):
    policies = [meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    for _, attributes in reader.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("data:", "#"))
        assert "url(" not in (attributes.get("style") or "")
    styles = (report_page.TEMPLATES / "report.css").read_text()
    assert "url(" not in styles
    assert "@import" not in styles


def test_the_title_asks_the_question_with_the_number_of_classes(reader):
    question = "At 10 classes, is it better to fine-tune resnet18 or to use convnext_tiny as it is?"
    assert reader.text[""].count(question) == 2  # the window's title and the heading


def test_the_square_shows_each_cells_accuracy_with_its_interval(reader, experiment):
    for arm in ("resnet.full", "resnet.linear", "convnext.full", "convnext.linear"):
        result = experiment.comparison.arm(arm).accuracy
        shown = f"{100 * result.value:.1f}\u202f% [{100 * result.low:.1f}, {100 * result.high:.1f}]"
        assert shown in reader.text["table"]


def test_the_answer_comes_first_and_its_word_stands_above_it(reader, experiment):
    """The legacy backbone fine-tuned leads by thirteen points."""
    assert experiment.comparison.primary.word == "ahead"
    text = reader.text["verdict"].strip()
    assert text.startswith(f"Verdict: ahead {experiment.comparison.verdict[0]}")


def test_each_seeds_own_difference_is_drawn_above_the_mean_with_its_interval(reader, experiment):
    primary = experiment.comparison.primary
    assert len(set(primary.seeds.values())) == 3
    shown = " ".join(f"seed {seed} {format.points(value)}" for seed, value in primary.seeds.items())
    mean = f"all seeds {format.points(primary.difference.value)} {format.points_interval(primary.difference)}"
    assert f"{shown} {mean}" in reader.text["verdict"]
    asked = tables.question(experiment.comparison, tables.by_arm(experiment.comparison, experiment.cells))
    assert asked.reach == max(abs(bound) for bound in (primary.difference.low, primary.difference.high))
    dots = [part["style"] for part in reader.all("i") if (part.get("class") or "").startswith("dot")]
    where = [0.5 + 0.48 * value / asked.reach for value in (*primary.seeds.values(), primary.difference.value)]
    assert dots[:4] == [f"left:{format.css(place)}" for place in where]


def test_margin_parts_of_the_variance_and_log_odds_stand_below(reader, experiment):
    primary, text = experiment.comparison.primary, reader.text["verdict"]
    parts = [primary.parts.seeds, primary.parts.images, primary.parts.residual]
    seed, images, both = (f"{100 * part / sum(parts):.0f}\u202f%" for part in parts)
    assert "the margin of ±1.00 points" in text
    assert f"Variance of one run: seed {seed}, choice of images {images}, both together {both}." in text
    odds = primary.log_odds
    assert f"Log odds {odds.value:+.2f} [{odds.low:+.2f}, {odds.high:+.2f}]" in text
    assert f"could have shown: {100 * primary.detectable:.2f} points" in text


def test_one_seed_answers_for_networks_alone_and_has_no_word():
    one = Experiment(settings={"seeds": [4]})
    text = Reader(one.page()).text["verdict"]
    assert text.strip().startswith(f"Verdict of one seed {one.comparison.verdict[0]}")
    assert "this network of resnet18" in text
    assert "the interval covers the choice of test images alone" in text
    for absent in ("Variance of one run", "could have shown", "all seeds", "ahead", "equivalent within"):
        assert absent not in text
    page = Reader(one.page())
    assert not [part for part in page.all("span") if part.get("class") == "word"]  # at no effect either


def test_a_question_of_two_arms_of_one_network_is_asked_by_their_names():
    settings = {"compare": {"question": ["resnet.linear", "resnet.knn"]}}
    page = Reader(Experiment(settings=settings).page())
    asked = "At 10 classes, which gets more right: resnet18, frozen, linear, or resnet18, frozen, k-NN?"
    assert page.text[""].count(asked) == 2
    assert "resnet18, frozen, linear less resnet18, frozen, k-NN, in points" in re.sub(" +", " ", page.text["verdict"])
    assert "Only resnet18, frozen, k-NN is wrong" in page.text["mistakes"]


def test_every_effect_has_its_word_and_its_p_of_a_family_of_three(reader, experiment):
    effects = experiment.comparison.effects
    assert set(effects) == {"backbone", "finetuning", "interaction"}
    for effect in effects.values():
        shown = f"{effect.said} {effect.title} {format.points(effect.difference.value)} "
        assert shown + format.points_interval(effect.difference) in reader.text["table"]
        assert f"p {format.p_value(effect.p)} · log odds {effect.log_odds.value:+.2f}" in reader.text["table"].replace(
            format.MINUS, "-"
        )
    assert "A family of three: p after Holm" in reader.text["table"]


def test_the_best_cell_is_that_of_validation_images_and_none_where_there_were_none(experiment):
    best = {cell: row.best for cell, row in experiment.context()["cells"].items()}
    assert [cell for cell, chosen in best.items() if chosen] == ["convnext.finetuned"]
    assert "best on validation images" in Reader(experiment.page()).text["table"]
    other = Experiment()
    other.comparison = other.comparison.model_copy(update={"best": "resnet.linear"})
    assert other.context()["cells"]["resnet.frozen"].best
    other.comparison = other.comparison.model_copy(update={"best": None})
    text = Reader(other.page()).text["table"]
    assert "best on validation images" not in text
    assert "No cell is called the best" in text


def test_costs_are_in_human_units_nominal_beside_executed_with_the_spread_of_speed(reader):
    for text in ("4.10\u202fT", "91.2\u202fM", "81.2\u202fM", "3\u202fmin 31\u202fs", "27.8\u202fM", "1.5\u202fGiB"):
        assert text in reader.text["costs"]
    assert "1.55\u202fk 1.48\u202fk to 1.61\u202fk" in reader.text["costs"]


def test_energy_is_shown_where_it_is_known_and_its_lack_said(reader):
    assert "The machine tells no energy" in reader.text["costs"]
    other = Experiment()
    for cell, evaluations in other.cells.items():
        for seed, arms in evaluations.seeds.items():
            other.cells[cell].seeds[seed] = {
                name: one.model_copy(update={"joules_per_image": 0.0123}) for name, one in arms.items()
            }
    text = Reader(other.page()).text["costs"]
    assert "Energy of an image, J 0.0123" in text
    assert "no energy" not in text


def test_backbones_are_said_to_differ_in_more_than_their_architecture(reader):
    assert (
        "differ not in architecture alone: their size and the recipe of their pretraining differ too"
        in (reader.text["verdict"])
    )


def test_the_backbones_of_a_list_have_a_table_and_their_contrasts(experiment, reader):
    """Without a list there is no such section."""
    assert "backbones" not in reader.text
    half, more = Interval(0.5, 0.45, 0.55), Interval(0.613, 0.5, 0.7)
    rows = [
        ListedBackbone(
            name=name,
            frozen_arm="resnet.linear",
            frozen=half,
            finetuned_arm="resnet.full",
            finetuned=more,
            parameters=25_600_000,
            macs=84_000_000,
        )
        for name in ("resnet18", "resnet50@<V1>")
    ]
    size = contrast(title="resnet50@<V1> less resnet18, mean of frozen and fine-tuned")
    told = experiment.comparison.model_copy(update={"backbones": rows, "contrasts": {"size": size}})
    left = replace(experiment.results(), comparison=told)
    page = Reader(report_page.render(report_page.context(experiment.settings, left)))
    text = re.sub(" +", " ", page.text["backbones"])
    assert f"resnet50@<V1> 25.6{format.THIN}M 84.0{format.THIN}M 50.0{format.THIN}% [45.0, 55.0] 61.3" in text
    assert f"size ahead {size.title} +10.00 [+9.00, +11.00]" in text
    assert "a family of their own: p after Holm." in text
    assert page.text["table"] == reader.text["table"]


def test_words_that_the_page_does_not_use(reader):
    text = " ".join(reader.text.values())
    for word in ("no difference shown", "wins", "the report", "Architecture"):
        assert word not in text


def test_classes_that_differ_in_size_have_their_picture_and_others_none(experiment, reader):
    assert "Accuracy by size of class" not in {result.get("aria-label") for result in reader.all("div")}
    prepare = Prepare(imbalance="long_tailed", imbalance_ratio=20.0)
    settings = experiment.settings.model_copy(update={"prepare": prepare})
    result = report_page.context(settings, experiment.results(by_frequency=experiment.picture))
    page = Reader(report_page.render(result))
    assert "Accuracy by size of class" in {result.get("aria-label") for result in page.all("div")}
    assert "(long_tailed, 20 to 1)" in report_page.render(result)


TUNED = SearchSummary(
    **{"configurations": 5, "diverged": 0, "best_trial": 4, "lr": 0.00034, "at_edge": True, "val_accuracy": 0.712},
    **{"first_val_accuracy": 0.684, "val_images": 500, "images": 1000, "train_macs": 83 * 10**12},
    **{"train_seconds": 305.0, "trials": []},
)


def test_what_was_tuned_stands_beside_the_probes_own_search_seed_by_seed():
    text = Reader(Experiment(tuned=SearchSummaries(backbones={"resnet": TUNED})).page()).text["budget"]
    assert "Every cell tried 5 configurations" in text
    assert "resnet18, fine-tuned 5 lr 0.00034 edge of the grid 71.2\u202f% 68.4\u202f% 83.0\u202fT 5" in text
    for name in ("resnet18", "convnext_tiny"):
        row = rf"{name}, frozen, linear 5 C 0.01, 0.1, 1 edge of the grid [\d.]+\u202f% \u2013 4.10\u202fT 3\u202fmin"
        assert re.search(row, text)
    assert "convnext_tiny, fine-tuned" not in text  # this one was not tuned
    assert "may lie beyond what was tried, and its arm may be better than it looks here: resnet18, fine-tuned;" in text


def test_without_a_search_or_with_unequal_ones_the_page_says_so():
    experiment = Experiment()
    arms = [arm.model_copy(update={"configurations": None}) for arm in experiment.comparison.arms]
    experiment.comparison = experiment.comparison.model_copy(update={"arms": arms})
    text = Reader(experiment.page()).text["budget"]
    assert "No search: every cell has the one configuration" in text
    assert "grid" not in text
    arms[0] = arms[0].model_copy(update={"configurations": 3})
    text = Reader(experiment.page()).text["budget"]
    assert "did not try the same number of configurations: resnet18, fine-tuned 3; resnet18, frozen, linear 1" in text


def test_the_curve_of_the_budget_is_drawn_where_there_is_one(experiment):
    assert "Accuracy by configurations tried" not in experiment.page()
    tuned = Experiment(tuned=SearchSummaries(backbones={"resnet": TUNED}))
    page = report_page.render(report_page.context(tuned.settings, tuned.results(budget=tuned.picture)))
    assert "Dodge et al. 2019" in Reader(page).text["budget"]


def test_how_often_test_images_were_looked_at_is_told(reader):
    assert "This is the only result on test images that this repository knows" in reader.text["test-images"]
    other = Experiment()
    other.tested = 1234
    said = Reader(other.page()).text["test-images"]
    assert "1,234 different results on test images, of this or other data, are known" in said


def test_duplicates_are_named_and_the_question_answered_without_them(reader):
    assert "No training image has the pixels of a test image." in reader.text["test-images"]
    experiment = Experiment(duplicates=range(40))
    experiment.said = ["training images whose pixels are those of a test image: 2 (a.png = <b>.png)"]
    text = Reader(experiment.page()).text["test-images"]
    assert "Training images whose pixels are those of a test image: 2 (a.png = <b>.png)." in text
    assert "prepare.without_duplicates=true leaves the training images out" in re.sub(" +", " ", text)
    found = experiment.comparison.without_duplicates
    assert 260 <= found.n < 300
    assert f"Without the {300 - found.n} of 300 test images that are among them" in text
    shown = f"{format.points(found.difference.value)} {format.points_interval(found.difference)} points"
    assert shown in re.sub(" +", " ", text)
    left_out = Experiment(settings={"prepare": {"without_duplicates": True}})
    left_out.said = experiment.said
    assert "These training images are left out" in Reader(left_out.page()).text["test-images"]


def test_without_controls_the_table_has_two_arms_and_says_so():
    reader = Reader(Experiment(controls=False).page())
    assert [section["id"] for section in reader.all("section")] == SECTIONS
    assert "controls: false" in reader.text["table"]
    assert "Effects" not in reader.text["table"]
    assert [cell["class"] for cell in reader.all("td") if "cell" in (cell.get("class") or "")] == [
        "cell question best",
        "cell question",
    ]


def test_a_read_out_that_cannot_be_had_is_shown_with_its_reason():
    page = Experiment(unavailable=True).page()
    assert "convnext_tiny, frozen, zero shot" not in Reader(page).text["arms"]
    assert "convnext.zero_shot : no mapping for <these> classes" in Reader(page).text["arms"]
    assert "no mapping for <these>" not in page


def test_zero_shot_says_which_classes_it_never_answers(reader, experiment):
    mapped = experiment.cells["convnext.frozen"].arms["zero_shot"].mapped
    shown = f"never answers dog ; {100 * mapped.accuracy:.1f}\u202f% of the {mapped.n} other images"
    assert shown in reader.text["arms"]


def test_all_arms_are_there_the_most_accurate_first(experiment):
    values = [row.accuracy.value for row in experiment.context()["arms"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(experiment.logits) == 2 * (1 + len(READOUTS))  # of two networks, and one fine-tuned


def test_every_pair_is_shown_folded_and_the_questions_pair_marked(reader, experiment):
    pairs = math.comb(len(experiment.logits), 2)
    assert len(experiment.comparison.pairs) == pairs
    assert [row.get("class") for row in reader.all("tr")].count("asked") == 1
    assert f"{pairs} pairs" in reader.text["pairs"]
    assert "no tests" in reader.text["pairs"]
    assert all("open" not in fold for fold in reader.all("details"))


def test_what_seeds_chose_and_how_their_training_went_is_told_of_each(reader):
    assert "C = 0.01, 0.1, 1 " in reader.text["arms"]
    assert "k = 20 " in reader.text["arms"]
    assert "settled 0 settled 1 " in reader.text["arms"]


def test_backbones_of_one_architecture_are_told_apart_by_their_roles():
    same = Experiment(settings={"resnet": {"arch": "resnet18"}, "convnext": {"arch": "resnet18"}})
    assert same.context()["names"] == {"resnet": "resnet18 (resnet)", "convnext": "resnet18 (convnext)"}


def test_arms_computed_on_different_machines_are_listed_by_machine_and_seed(experiment):
    other = Experiment()
    arms = other.cells["resnet.finetuned"].seeds["1"]
    arms["full"] = arms["full"].model_copy(update={"environment": {"device": "cuda", "processor": "H100"}})
    result = other.context()["environments"]
    assert [(row.environment["device"], len(row.seeds)) for row in result] == [("cpu", len(other.logits)), ("cuda", 1)]
    text = Reader(other.page()).text["settings"]
    assert "resnet18, fine-tuned (seed 0, 2);" in text
    assert "resnet18, fine-tuned (seed 1)." in text
    assert len(experiment.context()["environments"]) == 1


def test_confusion_shows_shares_of_each_row_with_a_shade_that_grows_with_the_root():
    rows = tables.confusion([[3, 1], [0, 0]], ["cat", "dog"]).rows
    assert [(cell.share, cell.right) for cell in rows["cat"]] == [(0.75, True), (0.25, False)]
    assert rows["cat"][1].shade == 0.5
    assert [cell.share for cell in rows["dog"]] == [0, 0]


def test_beyond_twenty_classes_the_most_frequent_mistakes_stand_for_the_matrix():
    counts = 10 * np.eye(21, dtype=int)
    counts[4, 7], counts[2, 0] = 5, 3
    result = tables.confusion(counts.tolist(), [f"class {label}" for label in range(21)])
    assert result.rows == {}
    assert [(pair.actual, pair.predicted, pair.count) for pair in result.pairs] == [
        ("class 4", "class 7", 5),
        ("class 2", "class 0", 3),
    ]
    assert result.pairs[0].share == pytest.approx(5 / 15)


LABELS = np.array([0, 0, 0, 1, 1, 1])
FIRST = np.log([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9], [0.9, 0.1]])
SECOND = np.log([[0.3, 0.7], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])


def shown(most: int = 12) -> dict[str, mistakes.Group]:
    raw = np.arange(20 * 4 * 4 * 3).reshape(20, 4, 4, 3).astype(np.uint8)
    result = mistakes.groups(FIRST, SECOND, LABELS, np.arange(10, 16), raw, most)
    return {group.name: group for group in result}


def test_mistakes_are_divided_by_who_made_them_the_most_confident_first():
    # Mean confidence where both are wrong: image 11 has 0.8, 12 has 0.75, 15 has 0.75.
    numbers = {name: [image.index for image in group.images] for name, group in shown().items()}
    assert numbers == {"both": [11, 12, 15], "first": [13], "second": [10]}
    assert {name: group.total for name, group in shown(1).items()} == {"both": 3, "first": 1, "second": 1}
    assert [image.index for image in shown(1)["both"].images] == [11]


def test_a_mistake_carries_the_true_class_and_both_answers_with_their_confidence():
    (image,) = shown()["first"].images
    assert image.label == 1
    assert [(guess.label, guess.right) for guess in image.predictions] == [(0, False), (1, True)]
    assert [guess.confidence for guess in image.predictions] == pytest.approx([0.7, 0.7])


def test_answers_of_minus_infinity_leave_the_confidence_of_the_others():
    logits = np.array([[-np.inf, 0.0, 0.0]])
    (both, *_) = mistakes.groups(logits, logits, np.array([0]), np.array([0]), np.zeros((1, 8, 8, 3), np.uint8))
    assert [guess.confidence for guess in both.images[0].predictions] == [0.5, 0.5]


def decode(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_thumbnails_hold_the_pixels_of_the_images_that_they_are_named_after(experiment, reader):
    thumbnails = [image for image in reader.all("img") if image["alt"].startswith("Test image")]
    assert len(thumbnails) == 36
    for image in thumbnails:
        number, name = re.fullmatch(r"Test image (\d+), of class (\w+)", image["alt"]).groups()
        np.testing.assert_array_equal(decode(image["src"]), experiment.raw[int(number)])
        assert experiment.classes[experiment.labels[list(experiment.index).index(int(number))]] == name


@pytest.mark.parametrize(
    ("side", "kept", "size"), [(8, 8, 96), (28, 28, 84), (32, 32, 96), (64, 64, 64), (96, 96, 96), (256, 96, 96)]
)
def test_small_images_are_enlarged_by_whole_numbers_and_large_ones_reduced(side, kept, size):
    result = mistakes.thumbnail(np.zeros((side, side, 3), np.uint8))
    assert decode(result.uri).shape == (kept, kept, 3)
    assert (result.width, result.height) == (size, size)


def test_a_page_of_large_images_and_many_classes_stays_small():
    page = Experiment(classes=[f"class {label}" for label in range(100)], side=256, per_class=3).page()
    assert len(page.encode()) < 3_000_000  # noise, which no PNG makes smaller


def test_a_hostile_class_name_changes_no_element_of_the_page(reader):
    result = Reader(Experiment(classes=HOSTILE).page())
    assert not result.all("script")
    assert [tag for tag, _ in result.elements] == [tag for tag, _ in reader.elements]
    kept = ("title", "style", "alt", "src", "width", "height", "class", "aria-label")
    for (_, ours), (_, theirs) in zip(reader.elements, result.elements, strict=True):
        assert {**ours, **dict.fromkeys(kept)} == {**theirs, **dict.fromkeys(kept)}


def test_long_names_are_cut_and_their_tooltips_bounded():
    result = Reader(Experiment(classes=HOSTILE).page())
    assert max(len(value) for _, attributes in result.elements for value in attributes.values() if value) == max(
        len(image["src"]) for image in result.all("img")
    )
    titles = [name["title"] for name in result.all("bdi") if name.get("title")]
    assert max(map(len, titles)) == format.FULL
    assert "W" * 25 not in "".join(result.text.values())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("x" * 24, "x" * 24),
        ("x" * 25, "x" * 23 + "…"),
        ("a\nb\x00", "a�b�"),
        ("x" * 22 + "e\u0301e\u0301", "x" * 22 + "e…"),
    ],
)
def test_cut_keeps_short_names_and_ends_long_ones_with_an_ellipsis(text, shown):
    assert format.cut(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (format.percent(0.9469), "94.7 %"),
        (format.percent(None), "\N{EN DASH}"),
        (format.points(0.0881), "+8.81"),
        (format.points(-0.0881), "\N{MINUS SIGN}8.81"),
        (format.points(-0.000001), "0.00"),
        (format.points_interval(Interval(0.0, -0.01, 0.02)), "[\N{MINUS SIGN}1.00, +2.00]"),
        (format.at_most(0.02341), "2.34 points"),
        (format.at_most(2.04), "more than 100 points"),
        (format.signed(-0.5), "\N{MINUS SIGN}0.50"),
        (format.quantity(0), "0"),
        (format.quantity(512), "512"),
        (format.quantity(37_200_000), "37.2 M"),
        (format.quantity(999_600), "1.00 M"),
        (format.quantity(4.56e18), "4.56 E"),
        (format.quantity(1550.4), "1.55 k"),
        (format.memory(1_610_612_736), "1.5 GiB"),
        (format.memory(3000 * 2**30), "2.9 TiB"),
        (format.duration(0.4242), "0.424 s"),
        (format.duration(211), "3 min 31 s"),
        (format.duration(3899), "1 h 05 min"),
        (format.p_value(1.0), "= 1"),
        (format.p_value(0.01234), "= 0.012"),
        (format.p_value(1e-5), "< 0.0001"),
        (format.css(1.2), "100.00%"),
    ],
)
def test_numbers_are_written_for_people(text, shown):
    assert text.replace("\u202f", " ") == shown


def rerun(command: str, folder: Path) -> Settings:
    """The settings that DVC makes of the repository's params.yaml when a shell is given the command."""
    path = folder / "params.yaml"
    path.write_text(Path("params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    dvc, exp, run, *words = shlex.split(command)
    assert (dvc, exp, run, *words[::2]) == ("dvc", "exp", "run", *["-S"] * (len(words) // 2))
    assert len(get_hydra_sweeps({"params.yaml": words[1::2]})) == 1  # one experiment, not a sweep
    apply_overrides(path, words[1::2])
    return settings_settings.load(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": 5, "controls": False, "finetune": {"lr": 1e-5}},
        {"classes": ["cat", "dog"], "subset_seed": 3},
        {"classes": ["null", "true", "3", "1e5", "", " ", "a,b", "[x]", "{a: b}", "it's", "~", "é"]},
        {"classes": [name for name in HOSTILE if "\0" not in name]},
        {"classes": ["${", "\\${a}", "\\\\${x}", "\\'${'", "\\", "\\\\'", "a\nb"]},
        {"dataset": "folder", "folder": "../my images/$HOME/it's"},
        {"finetune": {"methods": ["full", "lp_ft"]}, "frozen": {"readouts": ["linear"]}, "prepare": {"shots": 5}},
        {"protocol": "report", "classes": 2, "seeds": [0, 1, 2, 3, 4], "image_size": 32},
        {"protocol": "report_text", "compare": {"margin": 0.02}},
        {"resnet": {"weights": "https://example.org/a-0123.pth?x=1&y=2"}, "compare": {"confidence": 0.9}},
    ],
)
def test_the_command_gives_the_settings_back(settings, tmp_path):
    wanted = Settings.model_validate(protocols.filled(settings))
    assert rerun(report_page.command(wanted.model_dump()), tmp_path) == wanted


def test_the_command_names_only_what_differs_from_the_defaults():
    settings = Settings.model_validate({"classes": ["cat", "dog"], "finetune": {"epochs": 7}})
    assert report_page.command(settings.model_dump()) == "dvc exp run -S 'classes=[cat,dog]' -S finetune.epochs=7"
    assert report_page.command(Settings().model_dump()) == "dvc repro"


def test_the_command_names_the_protocol_and_not_what_follows_from_it():
    settings = Settings.model_validate(protocols.filled({"protocol": "report", "classes": 5}))
    assert settings.finetune.optimizer == "sgd"
    assert report_page.command(settings.model_dump()) == "dvc exp run -S protocol=report -S classes=5"


def test_all_settings_are_listed_and_those_that_differ_marked():
    rows = {row["name"]: row for row in report_page.setting_rows(Settings(seeds=[4]).model_dump())}
    assert rows["seeds"] == {"name": "seeds", "value": "[4]", "default": "[0, 1, 2]", "differs": True}
    assert rows["prepare.shots"] == {"name": "prepare.shots", "value": "null", "default": "null", "differs": False}
    assert rows["finetune.methods"]["value"] == "[full]"
    assert [name for name, row in rows.items() if row["differs"]] == ["seeds"]


@pytest.mark.parametrize("protocol", ["report", "report_text"])
def test_what_the_protocol_sets_is_told_and_is_no_change(protocol):
    settings = {"protocol": protocol, "frozen": {}}
    experiment = Experiment(controls=False, settings=settings)
    rows = report_page.setting_rows(experiment.settings.model_dump())
    assert [row["name"] for row in rows if row["differs"]] == ["protocol"]
    page = Reader(experiment.page())
    text = re.sub(" +", " ", page.text["settings"])
    assert {"report": "finetune.optimizer sgd adam", "report_text": "finetune.optimizer adam adam"}[protocol] in text
    assert "finetune.lr 0.01 the backbone's published rate" in text or protocol == "report_text"
    assert ("prepare.per_class all (assumed) 500" in text) == (protocol == "report_text")
    assert f"Protocol {protocol} :" in re.sub(" +", " ", page.text["verdict"])
    assert "augmented test images" in page.text["arms"]
    assert "validation images, never on test images" not in page.text["reproduce"]


def test_of_the_fair_protocol_the_name_alone_is_told(reader):
    assert "protocol fair" in reader.text[""]
    assert "Protocol" not in reader.text["verdict"]
    assert "What the protocol" not in reader.text["settings"].replace("What the protocol sets is its default", "")


def test_the_page_shows_the_command_as_it_is_typed():
    result = Experiment(settings={"classes": ["<b>", "it's"]})
    assert report_page.command(result.settings.model_dump()) in Reader(result.page()).text["reproduce"]


def test_the_stage_writes_the_page_from_the_files_of_the_others(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = experiment.results().predictions
    files.write_record(paths.record("compare"), experiment.comparison)
    files.write_empty(paths.record("robustness"), paths.record("tune"))
    for cell, evaluations in experiment.cells.items():
        files.write_record(paths.record(paths.cell_name(cell)), evaluations)
    files.write_arrays(paths.of_seed(paths.predictions("resnet.finetuned"), 0) / "full.npz", **first)
    files.write_arrays(paths.of_seed(paths.predictions("convnext.frozen"), 0) / "linear.npz", **second)
    files.write_json(paths.CLASSES, experiment.classes)
    write_raw({"test": (experiment.raw, np.zeros(0, np.int64))}, [])
    pictures = paths.pictures(paths.plots("compare"))
    pictures.mkdir(parents=True)
    (pictures / "reliability.png").write_bytes(experiment.picture)
    (tmp_path / "dvc.lock").write_text("- path: data/predictions/resnet\n  hash: md5\n  md5: abc.dir\n")  # this run
    report.main(experiment.settings)
    assert paths.REPORT.read_text() == experiment.page()


def test_the_stage_starts_without_torch_and_matplotlib():
    code = "import sys, stages.report; print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# The text whose contrast with what lies behind it is below WCAG's AA, as far as style sheets say.
FAINT = """() => {
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const over = colours => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = [];
  let seen = 0;
  for (const element of document.querySelectorAll('body, body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('.hidden') || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), behind = [];
    for (let parent = element; parent; parent = parent.parentElement)
      behind.unshift(getComputedStyle(parent).backgroundColor);
    const [a, b] = [luminance(over(behind)), luminance(over([...behind, style.color]))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    const enough = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if (ratio < enough) faint.push([element.textContent.trim().slice(0, 40), ratio]);
  }
  return [seen, faint];
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Page files by name."""
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "plain": Experiment(),
        "hostile": Experiment(classes=HOSTILE, unavailable=True, settings={"classes": HOSTILE}),
        "two arms": Experiment(controls=False),
        "hundred": Experiment(classes=[f"class {label}" for label in range(100)], per_class=3),
    }
    for name, experiment in made.items():
        (folder / f"{name}.html").write_text(experiment.page(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def opened(browser, pages):
    """Opens a page at a width, in a colour scheme; in the end nothing else was asked for and nothing complained."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def visit(name: str, width: int, scheme: str):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name].as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in asked) == len(contexts)


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *(("plain", width, scheme) for width in (1280, 375) for scheme in ("light", "dark")),
        *((name, *look) for name in ("hostile", "two arms", "hundred") for look in ((1280, "light"), (375, "dark"))),
    ],
)
def test_the_page_fits_its_window_and_its_text_stands_out(opened, name, width, scheme):
    page = opened(name, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
    seen, faint = page.evaluate(FAINT)
    assert seen > 200
    assert faint == []


# Tables that are wider than the box in which they scroll; of folded ones on paper alone, where all are open.
CUT = """[...document.querySelectorAll('.scroll > table')]
  .filter(table => matchMedia('print').matches || !table.closest('details:not([open])'))
  .filter(table => table.scrollWidth > table.parentElement.clientWidth + 1)
  .map(table => table.parentElement.getAttribute('aria-label'))"""


@pytest.mark.parametrize("name", ["plain", "two arms"])
def test_no_table_is_cut_on_a_narrow_screen_or_on_paper(opened, name):
    page = opened(name, 390, "light")
    assert page.evaluate(CUT) == []
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 between the margins
    page.emulate_media(media="print")
    assert page.evaluate(CUT) == []


def test_dark_and_light_differ_and_print_is_light(opened):
    def background(page) -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = (opened("plain", 1280, scheme) for scheme in ("light", "dark"))
    assert background(light) != background(dark)
    dark.emulate_media(media="print", color_scheme="dark")
    assert background(dark) == "rgb(255, 255, 255)"


def test_the_printed_page_shows_what_is_folded_on_the_screen(opened, tmp_path):
    page = opened("plain", 1280, "dark")
    table = page.locator("#pairs details table")
    assert not table.is_visible()
    page.emulate_media(media="print")
    assert table.bounding_box()["height"] > 500
    page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_small_images_keep_square_pixels(opened):
    page = opened("plain", 1280, "light")
    result = page.evaluate(
        "[...document.querySelectorAll('.thumbs img')].map(i => [getComputedStyle(i).imageRendering, i.clientWidth])"
    )
    assert {json.dumps(pair) for pair in result} == {'["pixelated", 96]'}
