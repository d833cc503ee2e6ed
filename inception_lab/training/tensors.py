"""Files of tensors that notice when a bit of them has changed: safetensors with a checksum among the metadata.

The checksum is the SHA-256 of the whole file, taken while 64 dashes stand in its place.
"""

import hashlib
import json
import re
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from inception_lab.common.checks import RunError

Tensors = dict[str, torch.Tensor]
KEY, MARK = "checksum of the file", "sha256:"
EMPTY = MARK + 64 * "-"


def to_bytes(tensors: Tensors, metadata: dict[str, str]) -> bytes:
    """The content of a file with these tensors, row by row, and these texts."""
    rows = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    content = safetensors.torch.save(rows, metadata | {KEY: EMPTY})
    return content.replace(EMPTY.encode(), (MARK + hashlib.sha256(content).hexdigest()).encode(), 1)


def read(path: Path, other: str = "holds no tensors") -> tuple[Tensors, dict[str, str]]:
    """The tensors and texts of a file. Files of version 0.2 and before have no checksum, and are read unchecked.

    Raises RunError, naming the file, where it is damaged, truncated or something else (`other` says what).
    """
    try:
        content = path.read_bytes()
        tensors = dict(sorted(safetensors.torch.load(content).items()))
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"{path} is truncated or {other} ({error})") from error
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    # If the bit that has changed is one of the key or of the mark, the other is still there.
    if KEY.encode() in header or MARK.encode() in header:
        found = re.search(rb"sha256:([0-9a-f]{64})", header)
        empty = content.replace(found[0], EMPTY.encode(), 1) if found else b""
        if not found or hashlib.sha256(empty).hexdigest() != found[1].decode():
            raise RunError(f"{path} is damaged: its content has changed since it was written, as its checksum shows")
    metadata = json.loads(header).get("__metadata__", {})
    metadata.pop(KEY, None)
    return tensors, metadata
