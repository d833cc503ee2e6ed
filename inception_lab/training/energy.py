"""The energy that a GPU has used, where its driver tells: NVIDIA's own counter, through the package nvidia-ml-py."""

from collections.abc import Callable
from functools import cache

import torch


@cache
def counter(device: torch.device) -> Callable[[], float] | None:
    """A function that gives the joules that a GPU has used since its driver was loaded; None where nobody can tell.

    Nobody can for a CPU, without nvidia-ml-py, or for a card or a virtual machine that refuses (before Volta all do).
    The counter is of the whole card: what other programs do on it counts, and what the host draws does not.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml  # the module of nvidia-ml-py
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By its UUID, because CUDA_VISIBLE_DEVICES gives the cards other numbers than NVML.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000  # it counts millijoules
