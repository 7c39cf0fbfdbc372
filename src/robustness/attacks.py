"""Attacks: changes of an image's pixels, by at most epsilon each, that make a network wrong.

Images are those of the dataset, (n, 3, H, W) float32 in [0, 1], before any resizing, so that epsilon means the same for
every network. Random noise, FGSM (Goodfellow et al. 2015) and PGD (Madry et al. 2018) are our own code; APGD-CE, Square
and all of AutoAttack (Croce and Hein 2020) are their authors' code, packaged as `pyautoattack`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from src.core import seeds
from src.core.errors import UserError
from src.nets.preprocess import View
from src.records.robustness import AttackCheck, AttackChecks

OWN = ("fgsm", "pgd")
NOISE, SHORT = "noise", "pgd_short"  # what attacks are checked against: no attack at all, and a quarter of the steps
PIXELS = 2**19  # of the network's input in one batch of a CPU: what the backward pass keeps grows with them
LARGEST = 256  # images in a batch


class Attacked(nn.Module):
    """A network with its preprocessing: images (n, 3, H, W) in [0, 1] -> logits (n, K)."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, head: nn.Module, view: View) -> None:
        super().__init__()
        self.backbone, self.head, self.size, self.interpolation = backbone, head, view.size, view.interpolation
        self.register_buffer("mean", torch.tensor(view.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(view.std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        # Flat and back, so that the gradient comes out contiguous, which AutoAttack takes for granted.
        x = (x.flatten(1).unflatten(1, x.shape[1:]) - self.mean) / self.std
        if tuple(x.shape[2:]) != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode=self.interpolation, antialias=True)
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)  # as the weights are, see specialised.place
        return self.head(self.backbone(x))


@dataclass(frozen=True)
class Budget:
    """The `steps` of PGD and APGD-CE, and the `queries` of Square, each of which is a forward pass alone."""

    steps: int
    queries: int

    @classmethod
    def of(cls, steps: int) -> "Budget":
        """The budget of the setting `robustness.steps`."""
        return cls(steps, 25 * steps)


Attack = Callable[[nn.Module, Tensor, Tensor, float, Budget, int], Tensor]


def available(names: Sequence[str], classes: int) -> tuple[list[str], dict[str, str]]:
    """The attacks that exist for so many classes, and why the others do not.

    Raises:
        UserError: one of them needs a package that is not installed.
    """
    others = [name for name in names if name not in OWN]
    if others and find_spec("pyautoattack") is None:
        raise UserError(
            f"robustness.attacks = [{', '.join(names)}]: {others[0]} needs the package pyautoattack; allowed without "
            f"it are {', '.join(OWN)}; or run pip install -r requirements-robustness.txt"
        )
    missing = {2: "the DLR loss does not exist for 2 classes", 3: "the targeted DLR loss does not exist for 3 classes"}
    why = {name: missing[classes] for name in names if name == "autoattack" and classes in missing}
    return [name for name in names if name not in why], why


def survivors(
    name: str, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, *, budget: Budget, seed: int
) -> np.ndarray:
    """Which images (n,) the network gets right, unchanged and attacked.

    Args:
        model: in evaluation mode, no parameter requires a gradient; images (n, 3, H, W) in [0, 1] -> logits (n, K).
        images, labels: on the model's device.
        epsilon: the most by which any value changes, as a share of the range.

    Raises:
        ValueError: an attack broke its bounds.
    """
    images = images.contiguous()  # as the package takes for granted
    right = torch.cat([predict(model, x) for x in images.split(LARGEST)]) == labels
    waiting = right.nonzero().flatten()
    parts = waiting.split(batch_size(model, images)) if len(waiting) else ()
    for number, part in enumerate(parts, start=1):
        x, y = images[part], labels[part]
        with torch.random.fork_rng(devices=[]):  # the package seeds PyTorch's own generator
            changed = ATTACKS[name](model, x, y, epsilon, budget, seeds.derive(seed, name, number)).detach()
        if (changed - x).abs().max() > epsilon + 1e-6 or changed.min() < 0 or changed.max() > 1:
            raise ValueError(f"{name}: changed a pixel by more than {epsilon}, or beyond black or white")
        right[part] = predict(model, changed) == y
    return right.cpu().numpy()


def batch_size(model: nn.Module, images: Tensor) -> int:
    side = max(getattr(model, "size", 0), *images.shape[2:])
    return LARGEST if images.device.type != "cpu" else min(LARGEST, max(8, PIXELS // side**2))


@torch.no_grad()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).argmax(1)


def within(changed: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """The nearest image that differs from x by at most epsilon everywhere."""
    return torch.minimum(torch.maximum(changed, x - epsilon), x + epsilon).clamp(0, 1)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient (n, 3, H, W) of the cross-entropy at x, and the logits (n, K) at x."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)
    return slope, logits.detach()


def noise(_: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:  # noqa: ARG001
    """No attack: every value moves by epsilon, up or down at random."""
    signs = 2.0 * torch.randint(2, x.shape, generator=torch.Generator().manual_seed(seed)) - 1
    return within(x + epsilon * signs.to(x.device), x, epsilon)


def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:  # noqa: ARG001
    """The fast gradient sign method: one step, as far as it may go."""
    return within(x + epsilon * gradient(model, x, y)[0].sign(), x, epsilon)


def pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:
    """Projected gradient descent from a random start, with steps of 2.5 epsilon / steps.

    Images that are wrong already are not changed any further.
    """
    start = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x.device)
    changed = within(x + epsilon * (2 * start - 1), x, epsilon)
    left = torch.arange(len(x), device=x.device)
    for _ in range(budget.steps):
        slope, logits = gradient(model, changed[left], y[left])
        still = logits.argmax(1) == y[left]
        left, slope = left[still], slope[still]
        if len(left) == 0:
            break
        step = 2.5 * epsilon / budget.steps
        changed[left] = within(changed[left] + step * slope.sign(), x[left], epsilon)
    return changed


def pgd_short(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:
    """PGD with a quarter of the steps, each four times as long."""
    return pgd(model, x, y, epsilon, Budget(max(1, budget.steps // 4), budget.queries), seed)


def apgd_ce(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:
    """PGD on the cross-entropy whose steps are halved when they stop helping: the first attack of AutoAttack."""
    from pyautoattack.autopgd_base import APGDAttack

    attack = APGDAttack(model, n_iter=budget.steps, eps=epsilon, seed=seed, loss="ce", device=x.device)
    return within(attack.perturb(x, y), x, epsilon)


def square(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:
    """Square Attack (Andriushchenko et al. 2020): random search over squares, without gradients."""
    from pyautoattack.square import SquareAttack

    attack = SquareAttack(model, n_queries=budget.queries, eps=epsilon, seed=seed, device=x.device, resc_schedule=True)
    return within(attack.perturb(x, y), x, epsilon)


def autoattack(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, budget: Budget, seed: int) -> Tensor:  # noqa: ARG001
    """AutoAttack's standard version: APGD-CE, targeted APGD-DLR, targeted FAB and 5,000 queries of Square in turn."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(model, eps=epsilon, seed=seed, device=x.device)
    with torch.no_grad():
        targets = min(9, model(x[:1]).shape[1] - 1)  # all other classes, as far as there are nine
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = targets
    return within(attack.run_standard_evaluation(x, y, batch_size=len(x))[0], x, epsilon)


ATTACKS: dict[str, Attack] = {
    function.__name__: function for function in (noise, fgsm, pgd, pgd_short, apgd_ce, square, autoattack)
}


Survivors = Mapping[tuple[str, float], np.ndarray]  # which images (n,) are right, by attack and epsilon

CHANCE = 0.01  # the probability below which a stronger attack that does worse is none


def _real(attacked: Survivors) -> list[str]:
    """The names of the attacks, without noise and PGD of fewer steps."""
    return list(dict.fromkeys(name for name, _ in attacked if name not in (NOISE, SHORT)))


def worst(attacked: Survivors) -> dict[float, np.ndarray]:
    """The images (n,) that no attack of a size makes wrong, by epsilon; nothing if there was no attack."""
    names = _real(attacked)
    sizes = dict.fromkeys(size for _, size in attacked)
    return {size: np.all([attacked[name, size] for name in names], axis=0) for size in sizes} if names else {}


def summarise_checks(attacked: Mapping[str, Survivors]) -> AttackChecks:
    """How many of the checks were made and hold, and those that do not."""
    rows = checks(attacked)
    broken = [row for row in rows if not row.holds]
    return AttackChecks(made=len(rows), hold=len(rows) - len(broken), broken=broken)


def checks(attacked: Mapping[str, Survivors]) -> list[AttackCheck]:
    """Whether a larger epsilon, more steps, and an attack in place of noise, never help the network."""
    rows = []
    for arm, survivors in attacked.items():
        real, sizes = _real(survivors), sorted({size for _, size in survivors})
        pairs = [("larger epsilon", (name, small), (name, large)) for name in real for small, large in pairwise(sizes)]
        pairs += [("beats noise", (NOISE, size), (name, size)) for name in real for size in sizes]
        if (SHORT, sizes[0]) in survivors:
            pairs += [("more steps", (SHORT, size), ("pgd", size)) for size in sizes]
        rows += [_check(arm, check, survivors, weak, strong) for check, weak, strong in pairs]
    return rows


def _check(
    arm: str, check: str, survivors: Survivors, weak: tuple[str, float], strong: tuple[str, float]
) -> AttackCheck:
    right, wrong = survivors[strong], ~survivors[strong]
    helped, hurt = int((right & ~survivors[weak]).sum()), int((wrong & survivors[weak]).sum())
    p = float(stats.binomtest(helped, helped + hurt, alternative="greater").pvalue) if helped + hurt else 1.0
    return AttackCheck(
        arm=arm,
        check=check,
        attack=strong[0],
        epsilon=strong[1],
        than=weak[0],
        than_epsilon=weak[1],
        helped=helped,
        hurt=hurt,
        p=p,
        holds=p >= CHANCE,
    )
