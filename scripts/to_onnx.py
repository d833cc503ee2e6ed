"""A GoogLeNet as an ONNX graph, the format that ONNX Runtime reads: to run where no PyTorch is, such as in a browser.

    network = lens.open("googlenet", device="cpu")
    onnx.save(to_onnx(network), "googlenet.onnx")        # 14 MB: the weights are float16

Inputs: `images`, (1, 3, size, size) from 0 to 1, and `keep`, (channels, 1, 1), one number for each channel of all
modules in their order, by which its map is multiplied: 1 keeps a unit, 0 switches it off. Outputs: `logits`, (1,
classes); `class_maps`, (1, classes, h, w), see `lens.cam`; and each module's map under its name, such as
`inception_4a`, (1, channels, h, w).

The weights are rounded to float16, which halves the file, and what is computed with them is float32: `rounded` gives
the same network in PyTorch.
"""

import copy

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from inception_lab import lens
from inception_lab.lens.units import modules
from inception_lab.models.blocks import Inception

OPSET = 17  # of 2022; LRN and all else that is used here is older


def rounded(network: lens.Network) -> lens.Network:
    """A copy of the network whose weights are those of float16, in float32."""
    network = copy.deepcopy(network)
    for weight in network.model.parameters():
        weight.data = weight.data.half().float()
    return network


def to_onnx(network: lens.Network) -> onnx.ModelProto:
    """The graph of a network, checked by ONNX. Raises ValueError for a layer that it has no operator for."""
    graph = Graph()
    names = modules(network)
    widths = [network.model.get_submodule(name).out_channels for name in names]
    keep = dict(zip(names, graph.split("keep", widths), strict=True))

    x = graph.add("Sub", "images", graph.constant(network.mean.numpy()))
    x = graph.add("Div", x, graph.constant(network.std.numpy()))
    for stage in network.model.stages:
        x = graph.layer(network.model.get_submodule(stage), x)
        if stage in names:
            x = graph.add("Mul", x, keep[stage], output=stage)
    graph.add("Identity", x, output="logits")
    _, weight, _ = next(node for node in graph.nodes if node.op_type == "Gemm").input
    kernel = graph.add("Unsqueeze", weight, graph.constant(np.array([2, 3])))  # for each position, not for the mean
    graph.add("Conv", names[-1], kernel, output="class_maps")

    outputs = ["logits", "class_maps", *names]
    made = helper.make_graph(
        graph.nodes,
        "GoogLeNet",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, network.size, network.size]),
            helper.make_tensor_value_info("keep", TensorProto.FLOAT, [sum(widths), 1, 1]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        graph.tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


class Graph:
    """The operators and weights of a graph. Each method adds some, and returns the name of what they compute."""

    def __init__(self):
        self.nodes, self.tensors = [], []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes) -> str:
        output = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, values: torch.Tensor) -> str:
        """Weights that lie in the file as float16, and are float32 for all that computes with them."""
        return self.add("Cast", self.constant(values.detach().half().numpy()), to=TensorProto.FLOAT)

    def split(self, x: str, sizes: list[int]) -> list[str]:
        parts = [f"{x}{i}" for i in range(len(sizes))]
        self.nodes.append(helper.make_node("Split", [x, self.constant(np.array(sizes))], parts, axis=0))
        return parts

    def layer(self, module: nn.Module, x: str) -> str:
        """What a layer, or a module with all its layers, makes of x."""
        match module:
            case Inception():
                return self.add("Concat", *[self.layer(path, x) for path in module.children()], axis=1)
            case nn.Sequential():
                for part in module:
                    x = self.layer(part, x)
                return x
            case nn.Conv2d():
                parameters = [self.weight(p) for p in (module.weight, module.bias) if p is not None]
                pads = [*module.padding, *module.padding]
                return self.add("Conv", x, *parameters, strides=module.stride, pads=pads, group=module.groups)
            case nn.ReLU():
                return self.add("Relu", x)
            case nn.MaxPool2d():
                # PyTorch rounds the number of windows up: the same as more padding, which no maximum sees.
                more = module.padding + (module.stride - 1) * module.ceil_mode
                pads, sides = [module.padding] * 2 + [more] * 2, [module.kernel_size] * 2
                return self.add("MaxPool", x, kernel_shape=sides, strides=[module.stride] * 2, pads=pads)
            case nn.LocalResponseNorm():
                constants = dict(alpha=module.alpha, beta=module.beta, bias=module.k)
                return self.add("LRN", x, size=module.size, **constants)
            case nn.AdaptiveAvgPool2d(output_size=1):
                return self.add("GlobalAveragePool", x)
            case nn.Flatten():
                return self.add("Flatten", x)
            case nn.Linear():
                return self.add("Gemm", x, self.weight(module.weight), self.weight(module.bias), transB=1)
            case nn.Identity() | nn.Dropout():
                return x
        raise ValueError(f"network must have layers that this knows, got {type(module).__name__}")
