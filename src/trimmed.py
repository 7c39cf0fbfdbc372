"""Convolutions without the taps that meet nothing but padding. For every stage that holds a network.

At 32 pixels, ResNet-18's last feature map is one pixel large: of each 3 x 3 kernel there, eight taps multiply zeros, in
both directions, and ConvNeXt's 7 x 7 kernels see a map of 2 x 2. Leaving them out changes no output but by rounding.
"""

from functools import cache

from torch import Tensor, nn
from torch.nn import functional as F


@cache
def reach(pixels: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int]:
    """The taps of a kernel, first to last + 1, that see a pixel of a map at any place, and the padding left for them.

    All of them where fewer would need other padding on one side than on the other.
    """
    places = (pixels + 2 * padding - kernel) // stride + 1
    seeing = [
        tap for tap in range(kernel) if any(0 <= place * stride + tap - padding < pixels for place in range(places))
    ]
    first, last, left = (seeing[0], seeing[-1] + 1, padding - seeing[0]) if seeing else (0, kernel, padding)
    if left < 0 or (pixels + 2 * left - (last - first)) // stride + 1 != places:
        return 0, kernel, padding
    return first, last, left


class TrimmedConv2d(nn.Conv2d):
    """A convolution whose kernel is cut to the taps that its input lets see a pixel; its weights stay as they are."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (top, bottom, pad_y), (left, right, pad_x) = (
            reach(pixels, kernel, stride, padding)
            for pixels, kernel, stride, padding in zip(
                input.shape[2:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        if (bottom - top, right - left) != self.kernel_size:
            # A copy, since MPS has been wrong on views (pytorch#169342).
            weight = weight[:, :, top:bottom, left:right].contiguous()
        return F.conv2d(input, weight, bias, self.stride, (pad_y, pad_x), self.dilation, self.groups)


def trim(model: nn.Module) -> nn.Module:
    """The same network, with the same names and numbers, whose plain convolutions are trimmed."""
    for layer in model.modules():
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and layer.dilation == (1, 1):
            layer.__class__ = TrimmedConv2d
    return model
