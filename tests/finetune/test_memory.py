"""Out of memory: the setting is named."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from src.device import runtime
from src.core.errors import UserError
from tests.helpers.toy_training import train

runtime.start("cpu", "fp32")
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Upsample(scale_factor={scale}), torch.nn.Flatten(1),
                            torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), torch.nn.Linear(1, 10))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {room} * 2**20,) * 2)
try:
    list(train(model, batch_size=64))
except UserError as error:
    print(error)
"""


def said(**limits: int) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(**limits)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to a limit of address space")
def test_a_batch_that_does_not_fit_is_named():
    """On a CPU whose process may take 512 MB more: 64 maps of 8 x 800 x 800 float32 are 1.3 GB."""
    advice = "finetune.batch_size = 64: out of memory on cpu; try a smaller one, or a smaller image_size"
    assert said(scale=100, room=512) == advice
