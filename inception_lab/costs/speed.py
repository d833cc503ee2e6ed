"""How fast a machine multiplies: the peak that a product of matrices reaches, by the clock."""

import time
from collections.abc import Callable

import torch

from inception_lab.models.fused import FusedConv


def timed(call: Callable, device: str) -> float:
    """Seconds that a call takes, until a GPU has finished too."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def peak(device: str, dtype: torch.dtype, side: int = 2048, rounds: int = 8) -> float:
    """The most multiply-accumulates per second of a product of two square matrices, over the ways that PyTorch has.

    On a CPU `a @ b` may take another library (MKL) than convolutions do (oneDNN), and MKL is slower on some
    processors; a 1×1 convolution is the same product in oneDNN, here with its weights in the order that it wants.
    """
    side = 8192 if device == "cuda" else side
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    # A pixel is a row of `a`.
    image = a.T.reshape(1, side, 32, side // 32).contiguous(memory_format=torch.channels_last)
    convolution = FusedConv(b.T.reshape(side, side, 1, 1), relu=False)
    ways = [lambda: a @ b, lambda: convolution(image)]
    with torch.no_grad():
        best = min(timed(way, device) for way in ways for _ in range(rounds))
    return side**3 / best
