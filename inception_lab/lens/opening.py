"""One name for every network that one can look into: a published one, a recorded run, a run folder or a module.

network = open("googlenet")          # the published GoogLeNet, or the recorded run that stands in for it
network.published                    # which of the two
open("shapes-laptop"), open("runs/mine"), open(model)
"""

from pathlib import Path

import torch
from torch import nn

from inception_lab import hub
from inception_lab.common import files
from inception_lab.lens.network import Network, open_run
from inception_lab.lens.objectives import logit
from inception_lab.lens.visualization import visualize
from inception_lab.training.runs import find_run

STAND_IN = "tiny-imagenet-96"
LINE = (
    f"The published GoogLeNet is not on this machine, so a recorded run stands in ({STAND_IN}: 200 classes, images of "
    "96 pixels, batch norm in place of LRN). What is stored and what the text says is the published network's; what "
    "runs now is not. To fetch it, 28 MB: inception-lab pretrained googlenet"
)


def open(what: str | Path | nn.Module | hub.Pretrained = "googlenet", device: str | None = None) -> Network:
    """A network to look inside.

    what: "googlenet", the published GoogLeNet if its weights are on this machine, else the recorded run STAND_IN, which
    one printed line says; the name of a recorded run; a run folder; a GoogLeNet of this library; or what `pretrained`
    returns. Nothing is downloaded. device: such as "cpu" or "cuda"; by default what this machine computes fastest on.
    Raises ValueError for anything else, RunError for a folder without finished weights, DataError where the weights of
    the published network are broken.
    """
    network = _opened(what)
    return accelerated(network) if device is None else network.to(checked_device(device))


def checked_device(name: str) -> torch.device:
    """The device of this name, as PyTorch has them; ValueError for one that this machine does not compute on."""
    try:
        torch.zeros(1, device=name).item()  # "meta" holds no numbers
        return torch.device(name)
    except (RuntimeError, AssertionError, TypeError) as error:  # PyTorch without CUDA asserts
        raise ValueError(f"device must be one that is on this machine, such as 'cpu', got {name!r}") from error


def _opened(what: str | Path | nn.Module | hub.Pretrained) -> Network:
    if isinstance(what, Network):
        return what
    if isinstance(what, str) and what == "googlenet":
        if hub.where() is None:
            print(LINE)
            return open_run(files.recorded("runs", STAND_IN))
        what = hub.pretrained()
    if isinstance(what, hub.Pretrained):
        network = Network(what.network, what.mean, what.std, what.categories, what.size, "googlenet")
        network.published = True
        return network
    if isinstance(what, nn.Module):
        return Network(what)
    return open_run(find_run(what, "what", "googlenet"))


def accelerated(network: Network) -> Network:
    """The network on this machine's GPU, CUDA or MPS; on the CPU where there is none, or one that lacks operators."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None:
        try:
            visualize(network.to(device), logit(0), size=network.smallest, steps=1, progress=False)
        except (NotImplementedError, RuntimeError):
            network.to("cpu")
    return network
