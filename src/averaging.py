"""A network whose weights are means over the steps of training. For the stages `finetune_*`."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def start(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """The exponential moving average of weights and running statistics; None where none was asked for.

    After every step the average keeps a share `decay` of itself and takes the rest from the network (Polyak and
    Juditsky 1992 is the plain mean); after the first step it is the network.
    """
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def standing_in(average: AveragedModel | None, model: nn.Module) -> Iterator[None]:
    """In the block the network has the average's weights, and after it its own again."""
    if average is None:
        yield
        return
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(own)
