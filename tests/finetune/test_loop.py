"""Training: what one step does, what an epoch counts, which epoch is kept, and that a seed decides everything."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from src.core import seeds
from src.core.design import FINETUNED
from src.core.errors import UserError
from src.device import runtime
from src.finetune import batches as finetune_batches
from src.finetune import loop, methods, optim
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch, Trained, TrainState
from src.finetune.part import Part
from src.nets import models, preprocess
from src.nets.crops import Watched
from src.nets.inference import predict
from src.storage.resume import StateFile
from tests.helpers import toy_training
from tests.helpers.toy_training import VIEW, config, digits, network

CPU = runtime.start("cpu", "fp32")


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def train(data: Data, model: nn.Module | None = None, **changes: object) -> tuple[nn.Module, list[Epoch]]:
    model = model or network()
    return model, list(toy_training.train(model, data, **changes))


def validate(model: nn.Module, data: Data) -> tuple[float, float]:
    """Cross-entropy and accuracy on the watched images."""
    loss, accuracy, _ = loop.validate(Part(model, data, VIEW), 0, 1, CPU)
    return loss, accuracy


def copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_rate_follows_its_schedule_through_all_epochs_to_the_last_step(data, monkeypatch):
    used = []
    step = optim.SGD.step
    monkeypatch.setattr(optim.SGD, "step", lambda opt, *_: (used.append(opt.param_groups[0]["lr"]), step(opt))[1])
    train(data, optimizer="sgd", lr=0.1, schedule="cosine", epochs=3)
    assert len(used) == 3 * (70 // 16)
    assert used == [pytest.approx(0.1 * (1 + math.cos(math.pi * done / 12)) / 2) for done in range(12)]


def train_epoch(model: nn.Module, batches: list, *, rate: float, **changes: object) -> tuple[float, float]:
    """Loss and accuracy of an epoch whose learning-rate factor is `rate`."""
    optimizer = optim.make_optimizer(model, config(**{"optimizer": "sgd", "lr": 0.5} | changes))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: rate)
    trained, state = Trained(model, optimizer, scheduler, None, CPU), TrainState()
    loop.train_epoch(model, batches, F.cross_entropy, CPU.prepare_optimizer(optimizer), trained, state)
    epoch = state.end_epoch(trained, 0.0, 0.0, whole=True)
    return epoch.train_loss, epoch.train_accuracy


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_steps_at_a_rate_of_zero_change_no_weight(optimizer):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    before = copy(model)
    fed = [(torch.randn(4, 3, 2, 2), torch.arange(4) % 3)] * 3
    train_epoch(model, fed, rate=0.0, optimizer=optimizer, weight_decay=0.1)
    assert same(copy(model), before)


def test_a_first_step_of_sgd_worked_by_hand():
    """Two classes, one feature 2, no weight yet: both have probability 1/2, so the gradients are -1/2 * 2 and 1/2 * 2.

    Nesterov's momentum 0.9 makes the first step 1 + 0.9 times the gradient's, here at rate 0.5.
    """
    model = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(model.weight)
    loss, accuracy = train_epoch(model, [(torch.tensor([[2.0]]), torch.tensor([0]))], rate=1.0)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[0.95], [-0.95]]))
    assert loss == pytest.approx(math.log(2))
    assert accuracy == 1.0


def test_steps_are_those_of_nesterovs_momentum_written_out():
    """Each by the gradient of its own batch alone, on top of a velocity that keeps nine tenths of itself."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False)
    fed = [(torch.randn(5, 4), torch.arange(5) % 3) for _ in range(4)]
    weight, velocity = model.weight.detach().clone().requires_grad_(), torch.zeros(3, 4)
    train_epoch(model, fed, rate=1.0, lr=0.5)
    for inputs, labels in fed:
        (gradient,) = torch.autograd.grad(F.cross_entropy(inputs @ weight.T, labels), weight)
        velocity = 0.9 * velocity + gradient
        weight = (weight - 0.5 * (gradient + 0.9 * velocity)).detach().requires_grad_()
    torch.testing.assert_close(model.weight, weight)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_every_step_of_sgd_is_pytorchs_own(momentum, nesterov):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    plain = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=momentum, nesterov=nesterov, weight_decay=5e-4)
    optimizer = optim.make_optimizer(
        ours, config(optimizer="sgd", lr=0.5, momentum=momentum, nesterov=nesterov, weight_decay=5e-4)
    )
    for _ in range(5):
        inputs, labels = torch.randn(6, 4), torch.arange(6) % 3
        for model, opt in ((ours, optimizer), (theirs, plain)):
            opt.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            opt.step()
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-6, atol=1e-7)


def test_steps_without_nesterov_are_those_of_plain_momentum_written_out():
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False)
    fed = [(torch.randn(5, 4), torch.arange(5) % 3) for _ in range(4)]
    weight, velocity = model.weight.detach().clone().requires_grad_(), torch.zeros(3, 4)
    train_epoch(model, fed, rate=1.0, lr=0.5, nesterov=False, momentum=0.8)
    for inputs, labels in fed:
        (gradient,) = torch.autograd.grad(F.cross_entropy(inputs @ weight.T, labels), weight)
        velocity = 0.8 * velocity + gradient
        weight = (weight - 0.5 * velocity).detach().requires_grad_()
    torch.testing.assert_close(model.weight, weight)


def test_a_first_step_of_adam_moves_every_weight_by_the_rate():
    model = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(model.weight)
    train_epoch(model, [(torch.tensor([[2.0]]), torch.tensor([0]))], rate=1.0, optimizer="adam", lr=0.01)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[0.01], [-0.01]]))


def test_weight_decay_pulls_towards_zero():
    """A gradient of nothing but decay: 0.1 * 4, by rate 0.5 and Nesterov's 1.9."""
    model = nn.Linear(1, 2, bias=False)
    nn.init.constant_(model.weight, 4.0)
    train_epoch(model, [(torch.tensor([[0.0]]), torch.tensor([0]))], rate=1.0, weight_decay=0.1)
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 1), 4 - 0.5 * 1.9 * 0.4))


def test_loss_and_accuracy_are_means_over_images_whatever_the_sizes_of_the_batches():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    inputs, labels = torch.randn(10, 3, 2, 2), torch.arange(10) % 3
    loss, accuracy = train_epoch(model, [(inputs[:7], labels[:7]), (inputs[7:], labels[7:])], rate=0.0)
    logits = model(inputs)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def batches_of(data: Data, *, size: int, augment: bool = False) -> list[tuple[Tensor, Tensor]]:
    chosen = config(batch_size=size, augment=augment)
    return list(finetune_batches.shuffled(data, 1, chosen, view=VIEW, seed=0, accelerator=CPU))


def test_batches_follow_the_order_and_are_full(data):
    order = seeds.generator(0, "order", 1).permutation(70)
    result = batches_of(data, size=16)
    assert [len(labels) for _, labels in result] == [16] * 4
    assert torch.cat([labels for _, labels in result]).tolist() == data.train_labels[order[:64]].tolist()
    inputs = torch.cat([inputs for inputs, _ in result])
    expected = preprocess.to_input(torch.from_numpy(data.images[data.train_index[order[:64]]]), VIEW)
    torch.testing.assert_close(inputs, expected)


@pytest.mark.parametrize(
    ("images", "size", "sizes"),
    [(70, 16, [16] * 4 + [6]), (65, 16, [16] * 4), (66, 16, [16] * 4 + [2]), (64, 16, [16] * 4), (10, 16, [10])],
)
def test_without_drop_last_every_image_is_trained_on_once_an_epoch_but_for_one_that_is_left_alone(
    data, images, size, sizes
):
    """With batch normalisation a batch of one image cannot be trained on."""
    few = replace(data, train_index=np.arange(images), train_labels=np.arange(images))
    chosen = config(batch_size=size, drop_last=False)
    assert chosen.batches(images) == (min(size, images), len(sizes))
    given = list(finetune_batches.shuffled(few, 1, chosen, view=VIEW, seed=0, accelerator=CPU))
    assert [len(labels) for _, labels in given] == sizes
    seen = torch.cat([labels for _, labels in given]).tolist()  # every image has a label of its own here
    assert len(set(seen)) == len(seen) == sum(sizes) >= images - 1


def test_an_epoch_that_goes_on_before_a_batch_that_is_not_full_gives_the_same(data):
    chosen = config(drop_last=False)
    whole, rest = (
        list(finetune_batches.shuffled(data, 1, chosen, view=VIEW, seed=0, accelerator=CPU, skip=skip))
        for skip in (0, 3)
    )
    assert [len(labels) for _, labels in rest] == [16, 6]
    for (inputs, labels), (same_inputs, same_labels) in zip(whole[3:], rest, strict=True):
        assert torch.equal(inputs, same_inputs)
        assert torch.equal(labels, same_labels)


def test_an_epoch_counts_the_images_of_its_last_batch_too(data):
    _, history = train(data, drop_last=False)
    assert [epoch.images for epoch in history] == [70, 70]


def test_only_augmentation_changes_the_images(data):
    (plain, _), (augmented, _) = batches_of(data, size=70)[0], batches_of(data, size=70, augment=True)[0]
    assert not torch.equal(plain, augmented)
    assert torch.equal(augmented, batches_of(data, size=70, augment=True)[0][0])


def test_nothing_happens_before_the_first_epoch_is_asked_for(data):
    model = network()
    before = copy(model)
    toy_training.train(model, data)
    assert same(copy(model), before)


def test_one_batch_can_be_learnt_by_heart(data):
    few = replace(data, train_index=data.train_index[:16], train_labels=data.train_labels[:16])
    model, history = train(few, epochs=40, augment=False)
    assert history[0].train_loss > 2
    assert history[-1].train_loss < 0.05
    assert history[-1].train_accuracy == 1
    assert validate(model, replace(few, watched=Watched(few.images, few.train_index, few.train_labels)))[1] == 1


def test_digits_are_learnt_well_enough_to_recognise_others(data):
    _, history = train(data, epochs=15, augment=False)
    assert history[-1].val_accuracy > 0.6
    assert history[-1].val_loss < history[0].val_loss


def test_the_same_seed_gives_the_same_bytes(data):
    (first, history), (second, again) = train(data), train(data)
    assert same(copy(first), copy(second))
    assert [epoch.results() for epoch in history] == [epoch.results() for epoch in again]


def test_the_same_seed_gives_the_same_bytes_whatever_was_drawn_before(data):
    first, _ = train(data)
    torch.manual_seed(99)
    np.random.default_rng(99).random(5)
    torch.rand(3)
    assert same(copy(train(data)[0]), copy(first))


def test_another_seed_gives_another_result(data):
    assert not same(copy(train(data)[0]), copy(train(data, seed=1)[0]))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimizer_learns_by_every_schedule(data, optimizer, schedule):
    _, history = train(data, optimizer=optimizer, schedule=schedule, warmup=0.3, epochs=4, augment=False)
    assert history[-1].train_loss < history[0].train_loss


def test_an_epoch_counts_the_images_of_its_full_batches(data):
    _, history = train(data, batch_size=16, epochs=3)
    assert [epoch.number for epoch in history] == [1, 2, 3]
    assert [epoch.images for epoch in history] == [64] * 3
    assert all(epoch.seconds > 0 for epoch in history)


def test_a_batch_larger_than_the_data_is_all_of_them(data):
    _, history = train(data, batch_size=1000)
    assert [epoch.images for epoch in history] == [70, 70]


def test_every_epoch_has_an_order_of_its_own_and_leaves_out_other_images(data, monkeypatch):
    orders = []
    draw = finetune_batches.draw_order
    monkeypatch.setattr(finetune_batches, "draw_order", lambda *given: (orders.append(draw(*given)), orders[-1])[1])
    train(data, epochs=3)
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert len({frozenset(order[64:]) for order in orders}) == 3


def test_the_model_holds_the_weights_of_the_epoch_that_was_yielded(data):
    model = network()
    for epoch in toy_training.train(model, data):
        assert validate(model, data)[:2] == (epoch.val_loss, epoch.val_accuracy)


@pytest.mark.parametrize("right", [1, 2, 7])
def test_an_accuracy_is_the_share_of_right_answers_to_the_last_bit(data, right):
    """As the evaluation counts it, so that the two can be compared."""
    model = network()
    answers = predict(model, data.images, data.watched.index, view=VIEW, accelerator=CPU).argmax(1)
    labels = np.where(np.arange(30) < right, answers, (answers + 1) % 10)
    assert validate(model, replace(data, watched=replace(data.watched, labels=labels)))[1] == right / 30


def test_validation_changes_nothing_and_is_never_random(data):
    model = network()
    before = copy(model)
    assert validate(model, data)[:2] == validate(model, data)[:2]
    assert same(copy(model), before)


def test_a_rate_at_which_the_loss_is_no_number_is_named(data):
    with pytest.raises(
        UserError,
        match=r"^finetune\.lr = 100\.0: the loss is no longer a number at step \d of epoch \d+; try a smaller",
    ):
        train(data, nn.Sequential(nn.Flatten(), *[nn.Linear(192, 192) for _ in range(6)]), optimizer="sgd", lr=100)


def test_a_last_step_after_which_the_loss_is_no_number_is_noticed_too(data):
    with pytest.raises(UserError, match=r"finetune\.lr = 100"):
        train(data, models.build("resnet18", 10, seed=0), optimizer="sgd", lr=100, epochs=1, batch_size=70)


def test_with_soft_labels_the_dominant_class_is_the_right_answer():
    """Images of three classes, by a network that takes each for its own: half of it right where labels are turned."""
    model, inputs = nn.Identity(), torch.eye(3)[[0, 1, 2, 0]]
    labels = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9], [0.0, 0.3, 0.7]])
    learner = nn.Sequential(model, nn.Linear(3, 3, bias=False))
    nn.init.eye_(learner[1].weight)
    loss, accuracy = train_epoch(learner, [(inputs, labels)], rate=0.0)
    assert accuracy == 0.5
    assert loss == pytest.approx(F.cross_entropy(inputs, labels).item())


@pytest.mark.parametrize(
    "change",
    [
        {"mix": "mixup", "label_smoothing": 0.1},
        {"mix": "cutmix", "balance": "weights"},
        {"policy": "trivialaugment", "erasing": 0.3, "balance": "sampling"},
        {"label_smoothing": 0.2, "balance": "logit_adjustment"},
    ],
)
@pytest.mark.parametrize("classes", [2, 10])
def test_every_answer_to_imbalance_and_every_augmentation_learns_two_classes_and_ten(data, change, classes):
    kept, seen = data.train_labels < classes, data.watched.labels < classes
    watched = Watched(data.images, data.watched.index[seen], data.watched.labels[seen])
    few = Data(data.images, data.train_index[kept], data.train_labels[kept], watched)
    model = nn.Sequential(network()[0], nn.Linear(8 * 36, classes))
    _, history = train(few, model, epochs={2: 60, 10: 12}[classes], batch_size=8, augment=False, **change)
    assert history[-1].val_accuracy > {2: 0.7, 10: 0.5}[classes]


@pytest.mark.parametrize("method", ["head", "lp_ft"])
def test_images_are_mixed_whatever_part_of_the_network_learns(data, method):
    mixed, others = (list(toy_training.finetune(network(), data, method, mix=mix)) for mix in ("cutmix", "none"))
    assert [epoch.whole for epoch in mixed] == [epoch.whole for epoch in others]
    assert all(one.train_loss != other.train_loss for one, other in zip(mixed, others, strict=True))


def test_of_a_long_tail_the_adjusted_network_answers_with_rare_classes_more_often():
    """Two classes, 20 to 1, from the same start: recall of the rare one."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 3])
    pixels = (100 + 25 * labels[:, None, None, None] + rng.normal(0, 40, (63, 8, 8, 3))).clip(0, 255).astype(np.uint8)
    fresh = (100 + 25 * np.ones((40, 1, 1, 1)) + rng.normal(0, 40, (40, 8, 8, 3))).clip(0, 255).astype(np.uint8)
    rare = Data(pixels, np.arange(63), labels, Watched(fresh, np.arange(40), np.ones(40, np.int64)))
    recall = {}
    for balance in ("none", "weights", "sampling", "logit_adjustment"):
        model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 2))
        nn.init.zeros_(model[2].weight)
        _, history = train(rare, model, epochs=10, augment=False, lr=0.05, balance=balance)
        recall[balance] = history[-1].val_accuracy
    assert recall.pop("none") < 0.5 < min(recall.values()), recall


EPOCH = Epoch(1, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, whole=True, images=64, seconds=2.0)


@pytest.mark.parametrize(
    ("val_accuracy", "val_loss", "better"),
    [(0.6, 2.0, True), (0.4, 0.1, False), (0.5, 0.9, True), (0.5, 1.1, False), (0.5, 1.0, False)],
)
def test_the_better_epoch_has_the_higher_validation_accuracy_then_the_lower_loss(val_accuracy, val_loss, better):
    assert replace(EPOCH, val_accuracy=val_accuracy, val_loss=val_loss).beats(EPOCH) == better


def test_training_accuracy_never_decides():
    assert not replace(EPOCH, train_accuracy=1.0, train_loss=0.0).beats(EPOCH)


def ended(*epochs: tuple[bool, float], keep: str = "best") -> TrainState:
    """The state after epochs that trained the whole network or not and reached a validation accuracy; the weight of
    the network is the number of the epoch."""
    model, state = nn.Linear(1, 1), TrainState(keep=keep)
    optimizer = torch.optim.SGD(model.parameters())
    trained = Trained(model, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0), None, CPU)
    for number, (whole, accuracy) in enumerate(epochs, start=1):
        nn.init.constant_(model.weight, number)
        state.images = 1
        state.end_epoch(trained, 1.0, accuracy, whole=whole)
        state.next_epoch()
    return state


def test_the_weights_of_the_best_epoch_are_kept():
    """Of two equal epochs the first; what training did to the weights afterwards does not matter."""
    state = ended((True, 0.5), (True, 0.8), (True, 0.8), (True, 0.6))
    assert [epoch.number for epoch in state.history] == [1, 2, 3, 4]
    assert state.best.number == 2
    assert state.best_weights["weight"].item() == 2


def test_the_last_epoch_is_kept_where_it_is_asked_for_though_an_earlier_one_was_better():
    state = ended((True, 0.5), (True, 0.9), (True, 0.6), keep="last")
    assert state.best.number == state.best_weights["weight"].item() == 3


def test_a_training_knows_which_epoch_it_is_to_keep(tmp_path):
    for keep in ("best", "last"):
        assert TrainState.load(StateFile(), config(keep=keep)).keep == keep
        TrainState(StateFile(tmp_path), keep="best").finish(2)
        assert TrainState.load(StateFile(tmp_path), config(keep=keep)).keep == keep


def test_a_probe_is_never_kept_where_fine_tuning_followed():
    state = ended((False, 0.9), (True, 0.6), (True, 0.7), (True, 0.5))
    assert state.best.number == state.best_weights["weight"].item() == 3


def test_results_hold_nothing_that_differs_from_run_to_run():
    assert EPOCH.results() == {
        **{"number": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    }


def test_an_epoch_is_shown_in_one_line():
    assert str(EPOCH) == "epoch 1: train loss 1.0000, accuracy 0.5000; val loss 1.0000, accuracy 0.5000; 32 images/s"


def test_the_cost_is_that_of_all_epochs_at_the_pace_of_the_median_one():
    history = [replace(EPOCH, seconds=seconds) for seconds in (1.0, 2.0, 64.0)]
    result = loop.cost(history, macs=10, watched=5)
    assert (result["images"], result["train_seconds"], result["train_images_per_second"]) == (192, 67.0, 32.0)
    assert result["train_macs"] == 10 * 3 * (64 * 3 + 5)  # those of watched images are forward passes alone


def test_the_arithmetic_of_a_step_is_three_forward_passes_or_one_where_only_the_head_learns():
    """Counted by PyTorch, at a width where the head is next to nothing and no gradient of the images is asked for."""
    model = nn.Sequential(*[nn.Linear(64, 64, bias=False) for _ in range(20)], nn.Linear(64, 2, bias=False))
    inputs, labels = torch.randn(8, 64), torch.arange(8) % 2
    forward = 8 * (20 * 64 * 64 + 64 * 2)
    for whole in (True, False):
        model.requires_grad_(whole)
        model[-1].requires_grad_(True)
        with FlopCounterMode(display=False) as counter:
            train_epoch(model, [(inputs, labels)], rate=0.0)
        epoch = replace(EPOCH, images=8, whole=whole)
        counted = counter.get_total_flops() / 2
        assert loop.cost([epoch], forward // 8, 0)["train_macs"] == pytest.approx(counted, rel=0.03)


def finetune(data: Data, method: str, **changes: object) -> tuple[nn.Module, list[Epoch], dict[str, Tensor]]:
    """A network, its epochs, and what it was before."""
    model = network()
    before = copy(model)
    return model, list(toy_training.finetune(model, data, method, **changes)), before


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Which part has changed: the body `0` or the head `1`."""
    return {name.split(".")[0] for name, tensor in copy(model).items() if not torch.equal(tensor, before[name])}


def test_the_head_alone_learns_and_the_backbone_stays_byte_for_byte_its_statistics_too(data):
    model, history, before = finetune(data, "head", epochs=5, augment=False)
    assert changed(model, before) == {"1"}
    assert history[-1].train_loss < history[0].train_loss
    assert not any(epoch.whole for epoch in history)


def test_full_fine_tuning_is_the_one_loop_over_the_whole_network(data):
    model, history, before = finetune(data, "full")
    assert changed(model, before) == {"0", "1"}
    assert same(copy(model), copy(train(data)[0]))
    assert all(epoch.whole for epoch in history)


@pytest.mark.parametrize(("epochs", "probe"), [(2, 1), (5, 2), (6, 3)])
def test_lp_ft_probes_for_half_of_the_epochs_and_goes_on_from_the_probes_head(data, epochs, probe):
    model, history, before = finetune(data, "lp_ft", epochs=epochs)
    assert [epoch.number for epoch in history] == list(range(1, epochs + 1))
    assert [epoch.whole for epoch in history] == [False] * probe + [True] * (epochs - probe)
    assert changed(model, before) == {"0", "1"}
    _, probed, _ = finetune(data, "head", epochs=probe)
    assert [epoch.results() for epoch in history[:probe]] == [epoch.results() for epoch in probed]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_every_method_is_given_the_same_number_of_epochs():
    for epochs in (2, 5, 100):
        assert {sum(count for _, count in methods.phases(method, epochs)) for method in FINETUNED} == {epochs}
