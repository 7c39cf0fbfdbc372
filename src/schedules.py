"""By how much the rate of learning is multiplied at a step. For the stages `finetune_*`."""

import math


def rate_at(step: int, steps: int, schedule: str, warmup: float) -> float:
    """The factor at a step, from 0: `constant`; `cosine` to 0; `one_cycle`, up and then down to 0.

    All of them rise in a line for a share `warmup` of the steps. One-cycle is Smith and Topin's super-convergence
    (2018) in its linear form; cosine is Loshchilov and Hutter's (2017), without restarts.
    """
    done = step / steps
    if schedule == "one_cycle":
        return min((done + 1 / steps) / warmup, (1 - done) / (1 - warmup), 1.0)
    rise = min((done + 1 / steps) / warmup, 1.0) if warmup else 1.0
    if schedule == "cosine":
        return rise * (1 + math.cos(math.pi * max(0.0, done - warmup) / (1 - warmup))) / 2
    return rise
