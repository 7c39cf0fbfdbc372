"""State_dicts as other people save them: inside an entry, under prefixes, without a head or with one of another task.

Self-supervised backbones (SimCLR, MoCo, SwAV, BYOL, DINO, Barlow Twins) come so. A file of MoCo holds, in its entry
`state_dict`, the backbone as `module.encoder_q.conv1.weight`, a second copy, a queue and a projection head.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.nets import models, sound

if TYPE_CHECKING:
    from torch import Tensor

# Entries that hold the state_dict, in the order in which they are tried. DINO's authors evaluate the teacher.
ENTRIES = ("state_dict", "model_state_dict", "teacher", "model", "net", "network", "encoder", "backbone", "weights")
# Copies of a backbone beside the one that the method's authors evaluate; taken if there is no other.
COPIES = {"encoder_k", "student", "momentum_encoder", "target_encoder", "target_network", "backbone_momentum"}
# What self-supervised methods put beside a backbone or behind it.
BESIDE = COPIES | {"projector", "projection_head", "projection", "predictor", "prototypes", "prediction_head"}
BESIDE |= {"projection_head_momentum", "head", "heads", "bn", "queue", "queue_ptr"}


def unwrap(content: Any) -> "dict[str, Tensor] | None":
    """The state_dict in a file's content: the content itself, or what is in an entry of `ENTRIES`; None without any."""
    import torch

    if not isinstance(content, dict) or not content:
        return None
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return dict(content)
    entries = (unwrap(content[name]) for name in ENTRIES if name in content)
    return next((state for state in entries if state), None)


def adopt(arch: str, state: "Mapping[str, Tensor]") -> "tuple[dict[str, Tensor], list[str]]":
    """Bring a state_dict to the names of an architecture, as `models.restore` takes them.

    Returns:
        The state_dict, without a head if it came without; and what was left out or is missing, one line each.

    Raises:
        UserError: a name or shape is not that of the architecture, or the numbers are none; the first such tensor is
            named.
    """
    skeleton = models.build(arch, 1000, 0)
    own = skeleton.state_dict()
    head, names = models.head_name(skeleton), set(own)
    prefix = prefix_of(state, {name for name in names if not name.startswith(f"{head}.")})
    renamed = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    beside = [name for name in renamed if name not in names and _is_beside(name, prefix, head)]
    kept = {name: tensor for name, tensor in renamed.items() if name not in beside}
    sound.require_numbers(kept, own)
    restored = models.restore(arch, kept, needs_head=False).state_dict()
    lines = []
    if beside:
        lines.append(f"{len(beside)} tensors beside the backbone are left out, {beside[0]} the first of them")
    if f"{head}.weight" not in kept:
        lines.append(f"there is no head {head}.weight, so the read-out zero_shot will be left out")
        restored = {name: tensor for name, tensor in restored.items() if not name.startswith(f"{head}.")}
    return restored, lines


def prefix_of(state: "Mapping[str, Tensor]", names: set[str]) -> str:
    """The prefix, such as `module.encoder_q.`, under which a state_dict has most of an architecture's names.

    It is empty if no prefix has half of them. Of two copies of a backbone it is the one that is evaluated.
    """
    found = Counter[str]()
    for name in state:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in names:
                found["".join(f"{part}." for part in parts[:cut])] += 1
    counted = sum(not name.endswith("num_batches_tracked") for name in names)  # which old files lack
    candidates = [prefix for prefix, count in found.items() if 2 * count >= counted]
    return max(candidates, key=lambda prefix: (not COPIES & set(prefix.split(".")), found[prefix]), default="")


def _is_beside(name: str, prefix: str, head: str) -> bool:
    """Whether a tensor that is none of the architecture's belongs to what stands beside or behind a backbone.

    Args:
        name: in the file, without the prefix if it had that.
    """
    outer = prefix.split(".")
    parts = name.split(".")
    while len(parts) > 1 and outer and parts[0] == outer[0]:  # of `module.queue`, beside `module.encoder_q.`
        parts, outer = parts[1:], outer[1:]
    return parts[0] in BESIDE or name.startswith(f"{head}.")
