"""Four counters on one network, and the reason for each difference between them.

This library's count, PyTorch's `torch.utils.flop_counter`, fvcore and torchinfo.
"""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inception_lab.costs.counting import Size, count
from inception_lab.costs.lent import lent
from inception_lab.models import zoo

if TYPE_CHECKING:
    import pandas as pd  # slow to import

BATCH_NORM = ("BatchNorm2d", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
GLOBAL_POOL = ("AdaptiveAvgPool2d", "_adaptive_avg_pool2d", "mean")


def compare_counters(model: nn.Module | str, input_size: Size | None = None, **options: Any) -> "pd.DataFrame":
    """A DataFrame with one row per counter: what it reports for one image in evaluation mode, and why.

    Arguments as for `count`. The columns are

    parameters: the counter's total, and `idle`, those among them that the pass never read.
    reported: the number that the counter gives, under whatever name.
    macs: the multiply-accumulates of convolutions and matrix products, the same in every row.
    factor_2: what counting a MAC as two operations adds.
    bias: what adding the biases adds (elements of the outputs that have one).
    batch_norm: fvcore adds 2 for each element, torchinfo each layer's parameters once.
    pooling: fvcore adds 1 for each input element of an adaptive average pool.
    unexplained: reported − the sum of the columns before it.

    The additions are computed from this library's rows by the rule in their description, and not read from
    the counter that they explain: `unexplained` is 0 where the rules are the true ones.
    """
    import pandas as pd

    ours = count(model, input_size, **options)
    if isinstance(model, str):
        with torch.device("meta"):
            model = zoo.build(model, **options)
        model = model.to_empty(device="cpu")  # fvcore traces a real pass, whatever the values are
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0, device="cpu"))
    with torch.inference_mode(False):
        image = torch.zeros(1, *ours.input_size, dtype=like.dtype, device=like.device)
    total = sum(p.numel() for p in model.parameters())
    has_bias = {name for name, m in model.named_modules() if getattr(m, "bias", None) is not None}
    rows = ours.rows
    weighted = rows[rows["operation"].isin(["Conv2d", "Linear"]) & rows["name"].isin(has_bias)]
    norms = rows[rows["operation"].isin(BATCH_NORM)]
    pooled = rows.loc[rows["operation"].isin(GLOBAL_POOL), "input"]
    pool_elements = sum(torch.Size(shape).numel() for shape in pooled)
    plain_norms = norms.loc[norms["operation"] == "BatchNorm2d", "params"]  # torchinfo adds up leaf modules alone

    kind = image.device.type
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(kind, enabled=False), lent(model, meta=False):
        model.eval()
        fvcore_norms, torchinfo_norms = int(2 * norms["activations"].sum()), int(plain_norms.sum())
        bias = int(weighted["activations"].sum())
        reports = [
            Report("inception_lab", ours.params, ours.macs),
            Report("torch", total, _torch_flops(model, image), factor_2=ours.macs),
            Report("fvcore", total, _fvcore_flops(model, image), batch_norm=fvcore_norms, pooling=pool_elements),
            Report("torchinfo", *_torchinfo(model, image), bias=bias, batch_norm=torchinfo_norms),
        ]
    table = pd.DataFrame(reports).set_index("counter")
    table.insert(1, "idle", table["parameters"] - ours.params)
    table.insert(3, "macs", ours.macs)
    return table.assign(unexplained=table["reported"] - table.loc[:, "macs":].sum(axis=1))


class Report(NamedTuple):
    """What one counter reports, and what it adds to the MACs, see `compare_counters`."""

    counter: str
    parameters: int
    reported: int
    factor_2: int = 0
    bias: int = 0
    batch_norm: int = 0
    pooling: int = 0


def _torch_flops(model: nn.Module, image: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops()


def _fvcore_flops(model: nn.Module, image: torch.Tensor) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing and tracing warn of things that do not bear on the count
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return int(analysis.total())


def _torchinfo(model: nn.Module, image: torch.Tensor) -> tuple[int, int]:
    import torchinfo

    summary = torchinfo.summary(model, input_data=image, device="cpu", verbose=0)
    return summary.total_params, summary.total_mult_adds
