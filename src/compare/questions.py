"""What is asked of the arms: the declared question, and the effects of the 2 x 2 table as a family of three.

One rule makes the word of a contrast. It is *ahead* where p, adjusted in a family, is below 1 - confidence, which is
where the interval of a single question excludes 0. Else it is *equivalent within the margin* where two one-sided tests
say so at the same level. Else it is *not settled*, and so is everything that only one seed was asked.
"""

from collections.abc import Mapping, Sequence

from src.compare.config import Compare
from src.core.records import Interval
from src.records.compare import Contrast, Parts, Word
from src.stats import contrasts
from src.stats.contrasts import Answers, Weights
from src.stats.crossed import Crossed
from src.stats.intervals import EFFECTS, holm

Titles = Mapping[str, str]  # of the arms, for people


def primary(answers: Sequence[Answers], titles: Titles, first: str, second: str, config: Compare) -> Contrast:
    """The contrast that the settings declare as the question: it needs no adjustment."""
    (result,) = _family(answers, [(f"{titles[first]} less {titles[second]}", {first: 1, second: -1})], config)
    return result


def effects(
    answers: Sequence[Answers], titles: Titles, cells: Mapping[str, str], config: Compare
) -> dict[str, Contrast]:
    """The effects of the backbone and of fine-tuning, and their interaction; p adjusted for the three (Holm 1979).

    Args:
        cells: the arm in each cell of the 2 x 2 table, which is complete.
    """
    modern, legacy = (titles[cells[f"{role}.frozen"]].split(", ")[0] for role in ("convnext", "resnet"))
    words = {
        "backbone": f"{modern} less {legacy}, mean of frozen and fine-tuned",
        "finetuning": "fine-tuned less frozen, mean of both backbones",
        "interaction": f"what fine-tuning adds to {modern} less what it adds to {legacy}",
    }
    weights = [(title, {cells[cell]: part for cell, part in EFFECTS[name].items()}) for name, title in words.items()]
    return dict(zip(words, _family(answers, weights, config), strict=True))


def contrasts_of_backbones(
    answers: Sequence[Answers], cells: Mapping[str, str], names: Mapping[str, str], config: Compare
) -> dict[str, Contrast]:
    """The declared contrasts of backbones: the mean of frozen and fine-tuned of the first less that of the second.

    Their p are adjusted together.

    Args:
        cells: the arm that stands for each backbone, frozen and fine-tuned: by `resnet.frozen` and so on.
        names: of the backbones for people, as the contrasts have them, by the beginning of their arms' names.
    """
    called = {name: each for each, name in names.items()}
    weights = []
    declared = config.contrasts or {}
    for first, second in declared.values():
        sides = ((called[first], 0.5), (called[second], -0.5))
        halves = {cells[f"{each}.{column}"]: half for each, half in sides for column in ("frozen", "finetuned")}
        weights.append((f"{first} less {second}, mean of frozen and fine-tuned", halves))
    return dict(zip(declared, _family(answers, weights, config), strict=True))


def _family(answers: Sequence[Answers], weights: Sequence[tuple[str, Weights]], config: Compare) -> list[Contrast]:
    """Contrasts, each a title and its weights, whose p are adjusted together."""
    points = [contrasts.contrast(answers, part, config.confidence) for _, part in weights]
    odds = [contrasts.log_odds(answers, part, config.confidence) for _, part in weights]
    p, odds_p = (holm([result.p for result in results]) for results in (points, odds))
    p_equivalent = holm([result.equivalent(config.margin) for result in points])
    return [
        Contrast(
            title=title,
            weights=dict(part),
            difference=result.interval,
            seeds=result.each,
            covers="seeds and test images" if result.count > 1 else "test images",
            se=result.se,
            df=result.df,
            parts=_parts(result),
            p=p[place],
            p_equivalent=p_equivalent[place],
            word=word(p[place], p_equivalent[place], result),
            detectable=result.detectable(),
            log_odds=Interval(odds[place].value, odds[place].low, odds[place].high),
            log_odds_p=odds_p[place],
        )
        for place, ((title, part), result) in enumerate(zip(weights, points, strict=True))
    ]


def word(p: float, p_equivalent: float, result: Crossed) -> Word:
    """The word of a contrast from its two p values, see the head of this module."""
    level = 1 - result.confidence
    if result.count == 1 or min(p, p_equivalent) >= level:
        return "not settled"
    return "ahead" if p < level else "equivalent within the margin"


def _parts(result: Crossed) -> Parts:
    parts = result.parts
    if result.count == 1:
        return Parts(seeds=None, images=float(parts.images), residual=None)
    return Parts(seeds=float(parts.rows), images=float(parts.images), residual=float(parts.residual))
