"""Weights as Caffe stores them, each tensor under the name of its layer: "inception_3a/5x5_reduce.bias".

A .caffemodel is one protobuf message: NetParameter in BVLC/caffe, src/caffe/proto/caffe.proto. On the wire a message is
a sequence of fields, each a key (the field's number and the kind of its value) and the value.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import torch

from inception_lab.common.checks import DataError

Buffer = bytes | memoryview
SIZES = {1: 8, 5: 4}  # bytes of a value by its kind; 0 is a varint, 2 a length and so many bytes


def read_caffemodel(content: Buffer) -> dict[str, torch.Tensor]:
    """The tensors of a .caffemodel, in the layer format of today or of 2014; DataError for anything else."""
    tensors = {}
    try:
        net = fields(memoryview(content))
        layers = [(fields(layer), 1, 7) for layer in net[100]]  # LayerParameter: its name is field 1, its blobs 7
        layers += [(fields(layer), 4, 6) for layer in net[2]]  # V1LayerParameter, of 2014
        for layer, name, blobs in layers:
            for kind, blob in zip(("weight", "bias"), layer[blobs], strict=False):
                tensors[f"{bytes(layer[name][0]).decode()}.{kind}"] = read_blob(fields(blob))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError("it is no .caffemodel, or a part of one") from error
    return tensors


def read_blob(blob: dict[int, list[Any]]) -> torch.Tensor:
    """The tensor of a BlobProto: floats in field 5, its shape in field 7, or in 2014 as fields 1 to 4."""
    values = np.frombuffer(b"".join(blob[5]), "<f4")
    if blob[7]:
        (packed,) = fields(blob[7][0])[1]
        shape, at = [], 0
        while at < len(packed):
            side, at = varint(packed, at)
            shape.append(side)
    else:
        shape = [blob[number][0] for number in (1, 2, 3, 4)]
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def fields(message: memoryview) -> dict[int, list[Any]]:
    """The values of each field of a message by its number: whole numbers of varints, else bytes."""
    found: dict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        size, at = varint(message, at) if kind in (0, 2) else (SIZES[kind], at)
        if kind == 0:
            found[number].append(size)  # it is the value
        else:
            found[number].append(message[at : at + size])
            at += size
    if at > len(message):
        raise ValueError("the message ends within a field")
    return found


def varint(message: Buffer, at: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, the lowest first; the top bit says that one more follows. And its end."""
    value = shift = 0
    while message[at] & 128:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1
