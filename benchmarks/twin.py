"""Where the time of the fast twin goes, layer by layer, against what its multiply-accumulates need at the peak.

Each layer of `fast(googlenet-torchvision)` is called many times in a row with the input that it has in the network; the
median counts. "At the peak" is its multiply-accumulates divided by the most that this machine did in a product of
matrices. What a convolution takes beyond that is the price of a call, and of a shape that does not fill the processor.

    python benchmarks/twin.py [--batch 1] [--dtype float32|bfloat16] [--rounds 31]
"""

import argparse
import statistics
import sys

import pandas as pd
import torch
from bench import SIZE
from torch import nn

from inception_lab import build
from inception_lab.common import console
from inception_lab.common.checks import check_whole
from inception_lab.costs.speed import peak, timed
from inception_lab.models.fast_twin import fast
from inception_lab.models.fused import FusedConv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1, help="images per call")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the convolutions")
    parser.add_argument("--rounds", type=int, default=31, help="counted calls of each layer")
    args = parser.parse_args()
    for name in ("batch", "rounds"):
        check_whole(name, getattr(args, name))
    dtype = getattr(torch, args.dtype)
    twin = fast(build("googlenet-torchvision", aux=False), dtype=dtype)
    table = layers(twin, torch.randn(args.batch, 3, SIZE, SIZE), args.rounds)
    best = peak("cpu", dtype)
    table["ms at the peak"] = 1000 * table["MACs"] / best
    print(table.to_string(float_format="{:.3f}".format))
    kinds = table.groupby("kind", sort=False)
    print(kinds[["ms", "ms at the peak"]].sum().assign(layers=kinds.size()).to_string(float_format="{:.2f}".format))
    convolutions = table[table["MACs"] > 0]
    beyond = 1000 * (convolutions["ms"] - convolutions["ms at the peak"]).median()
    print(f"peak {best / 1e9:.0f} billion MACs per second; a convolution takes {beyond:.0f} µs beyond it (median)")


@torch.no_grad()
def layers(twin: nn.Module, images: torch.Tensor, rounds: int) -> pd.DataFrame:
    """A row for each layer without parts: its kind, MACs and milliseconds. What copies or joins maps has no row."""
    rows, hooks = {}, []

    def watch(name):
        def clock(layer, inputs, output):
            calls = [timed(lambda: layer.forward(*inputs), "cpu") for _ in range(rounds + 3)][3:]
            macs = output.numel() * layer.weight[0].numel() if isinstance(layer, FusedConv) else 0
            rows[name] = dict(kind=type(layer).__name__, MACs=macs, ms=1000 * statistics.median(calls))

        return clock

    for name, layer in twin.named_modules():
        if not list(layer.children()) and not isinstance(layer, nn.Sequential | nn.Identity | nn.Flatten):
            hooks.append(layer.register_forward_hook(watch(name)))
    twin(images)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows).T.astype({"MACs": float, "ms": float})


if __name__ == "__main__":
    sys.exit(console.run("twin.py", main))
