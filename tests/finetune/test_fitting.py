"""Out of memory: the setting is named, and the largest batch that would have fit."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from src.finetune import loop

SCRIPT = """
import resource
import torch
from src.device import runtime
from src.finetune import loop
from src.core.errors import UserError
from tests.helpers.toy_training import RECIPE, digits

CPU = runtime.start("cpu", "fp32")
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Upsample(scale_factor={scale}), torch.nn.Flatten(1),
                            torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), torch.nn.Linear(1, 10))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {room} * 2**20,) * 2)
try:
    list(loop.train(model, digits(), accelerator=CPU, **(RECIPE | {{"batch_size": 64}})))
except UserError as error:
    print(error)
"""


def said(**limits: int) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(**limits)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to a limit of address space")
def test_a_batch_that_does_not_fit_is_named_with_one_that_does():
    """On a CPU whose process may take 512 MB more: 64 maps of 8 x 800 x 800 float32 are 1.3 GB."""
    found = said(scale=100, room=512)
    assert found.startswith("finetune.batch_size = 64: out of memory on cpu; ")
    assert found.endswith(" fits")
    assert int(found.split()[-2]) in (4, 8, 16)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to a limit of address space")
def test_a_network_of_which_no_batch_fits_is_told_apart():
    assert said(scale=1000, room=256).endswith("not even 1 image fits; try a smaller image_size")


@pytest.mark.parametrize(("limit", "found"), [(63, 32), (16, 16), (1, 1), (0, 0)])
def test_the_largest_half_of_a_half_that_fits(limit, found):
    assert loop.largest(lambda size: size <= limit, 64) == found


def test_another_error_is_no_lack_of_memory():
    assert not loop.is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert loop.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        loop.learns(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), 8, torch.device("cpu"), 4)
