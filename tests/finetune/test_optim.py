"""The loss: class weights, priors and smoothed labels, against libraries and formulas written out."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from src.finetune import optim
from src.finetune.config import Finetune
from src.finetune.optim import Adam

CPU = torch.device("cpu")
TRAIN = np.repeat([0, 1, 2], [60, 30, 10])
LOGITS = torch.tensor(np.random.default_rng(0).normal(size=(9, 3)), dtype=torch.float32)
LABELS = torch.tensor([0, 0, 1, 0, 2, 1, 0, 2, 1])


def loss(balance: str = "none", smoothing: float = 0.0, logits=LOGITS, labels=LABELS, train=TRAIN) -> torch.Tensor:
    return optim.make_loss(Finetune(balance=balance, label_smoothing=smoothing), train, CPU)(logits, labels)


def test_without_settings_it_is_cross_entropy_to_the_last_bit():
    assert torch.equal(loss(), F.cross_entropy(LOGITS, LABELS))
    assert torch.equal(loss("sampling"), F.cross_entropy(LOGITS, LABELS))


def test_weights_are_inverse_frequencies_as_in_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TRAIN)
    result = optim.inverse_frequency(np.bincount(TRAIN))
    np.testing.assert_allclose(result, expected)
    np.testing.assert_allclose(result, [100 / 180, 100 / 90, 100 / 30])
    assert result[TRAIN].mean() == pytest.approx(1)


def test_every_image_counts_by_the_weight_of_its_class():
    each = F.cross_entropy(LOGITS, LABELS, reduction="none")
    weight = torch.tensor([100 / 180, 100 / 90, 100 / 30])
    torch.testing.assert_close(loss("weights"), (weight[LABELS] * each).sum() / 9)


def test_halves_of_a_batch_give_in_the_mean_what_the_whole_gives():
    """As several processes need; a mean by the sum of a batch's weights would not."""
    logits, labels = LOGITS[:8], LABELS[:8]
    halves = [loss("weights", 0.1, logits[part], labels[part]) for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, loss("weights", 0.1, logits, labels))


@pytest.mark.parametrize("balance", ["weights", "logit_adjustment"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_of_one_size_need_no_balance(balance, smoothing):
    even = np.repeat(np.arange(3), 7)
    torch.testing.assert_close(loss(balance, smoothing, train=even), loss(smoothing=smoothing))


def test_logit_adjustment_multiplies_each_odds_by_the_prior():
    odds = LOGITS.exp() * torch.tensor([0.6, 0.3, 0.1])
    expected = -(odds[torch.arange(9), LABELS] / odds.sum(1)).log().mean()
    torch.testing.assert_close(loss("logit_adjustment"), expected)


def test_under_logit_adjustment_a_network_that_knows_only_the_priors_answers_that_it_knows_nothing():
    """The best constant logits are equal ones, where plain cross-entropy's are the log priors."""
    constant = torch.zeros(3, requires_grad=True)
    loss("logit_adjustment", logits=constant.expand(100, 3), labels=torch.from_numpy(TRAIN)).backward()
    torch.testing.assert_close(constant.grad, torch.zeros(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("balance", ["none", "logit_adjustment"])
def test_smoothing_gives_every_class_an_equal_part_of_a_share_of_the_label(balance):
    shift = torch.tensor([0.6, 0.3, 0.1]).log() if balance == "logit_adjustment" else 0
    log_p = (LOGITS + shift).log_softmax(1)
    targets = 0.9 * F.one_hot(LABELS, 3) + 0.1 / 3
    torch.testing.assert_close(loss(balance, 0.1), -(targets * log_p).sum(1).mean())


@pytest.mark.parametrize("balance", ["none", "weights", "logit_adjustment"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_soft_label_that_is_all_one_class_counts_as_that_class(balance, smoothing):
    soft = F.one_hot(LABELS, 3).float()
    torch.testing.assert_close(loss(balance, smoothing, labels=soft), loss(balance, smoothing))


@pytest.mark.parametrize("balance", ["none", "weights", "logit_adjustment"])
def test_the_loss_of_a_mixed_label_is_the_mixture_of_the_losses(balance):
    first, second = F.one_hot(LABELS, 3).float(), F.one_hot(LABELS.roll(1), 3).float()
    mixed = loss(balance, labels=0.7 * first + 0.3 * second)
    torch.testing.assert_close(mixed, 0.7 * loss(balance) + 0.3 * loss(balance, labels=LABELS.roll(1)))


@pytest.mark.parametrize(
    ("arch", "lr"),
    [("convnext_tiny", 5e-5), ("timm/vit_tiny_patch16_224", 5e-5), ("swin_v2_t", 5e-5), ("resnet18", 1e-3)],
)
def test_a_rate_that_is_not_set_is_the_one_of_the_backbones_kind(arch, lr):
    assert Finetune().at(arch) == Finetune(lr=lr)
    assert Finetune(lr=0.2).at(arch).lr == 0.2


def test_the_dominant_class_has_the_largest_part():
    assert optim.dominant(torch.tensor([[0.2, 0.8], [0.6, 0.4]])).tolist() == [1, 0]
    assert optim.dominant(LABELS) is LABELS


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 0, 1)])
def test_adam_of_weights_in_any_layout_steps_as_pytorchs_and_goes_on_alike_from_a_file(order):
    """A file has its tensors in the default layout."""
    torch.manual_seed(0)
    back = [order.index(axis) for axis in range(4)]
    start = torch.randn(8, 6, 3, 3).permute(order).contiguous().permute(back)
    steps = [torch.randn(8, 6, 3, 3) for _ in range(4)]

    def run(kind, resumed=False, **how):
        weight = nn.Parameter(start.clone())
        optimizer = kind([weight], 0.1, weight_decay=0.01, **how)
        for number, gradient in enumerate(steps):
            if resumed and number == 2:
                state = optimizer.state_dict()
                kept = {name: tensor.contiguous() for name, tensor in state["state"][0].items()}
                optimizer = kind([weight], 0.1, weight_decay=0.01, **how)
                optimizer.load_state_dict({**state, "state": {0: kept}})
            weight.grad = torch.empty_like(weight).copy_(gradient)
            optimizer.step()
        assert weight.stride() == start.stride()
        return weight.detach()

    torch.testing.assert_close(run(Adam, fused=True), run(torch.optim.Adam))
    torch.testing.assert_close(run(Adam, resumed=True, fused=True), run(Adam, fused=True), rtol=0, atol=0)
