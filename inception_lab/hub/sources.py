"""Where the weights of the published GoogLeNet are, and how they get here: whole and right, or not at all.

The folder of the variable INCEPTION_LAB_WEIGHTS goes first; if it is set, nothing else is tried, and "off" is as if
there were no weights anywhere. Then comes PyTorch's cache. Only `fetch` asks the network: first the address of
INCEPTION_LAB_WEIGHTS_URL, then the ADDRESSES in their order. Whatever the source, the digest is compared.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError
from tqdm.auto import tqdm

from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError
from inception_lab.hub import names
from inception_lab.hub.caffe import read_caffemodel
from inception_lab.models import build

Tensors = dict[str, torch.Tensor]  # under Caffe's names

FOLDER, ADDRESS = "INCEPTION_LAB_WEIGHTS", "INCEPTION_LAB_WEIGHTS_URL"
FILES = ("bvlc-googlenet.safetensors", "bvlc_googlenet.caffemodel")  # ours, and the original, which has trained heads
DIGEST = "559e245b6ed083924f7cd2699fbb8297fbb8feaf8d744356890d6b9b96d754b9"
ORIGINAL_SHA1 = "405fc5acd08a3bb12de8ee5e23a96bec22f08204"
ADDRESSES = (  # one that ends in a slash is a folder of 116 raw files
    "https://raw.githubusercontent.com/chaosmail/caffejs/424d98682b50dd88d0b8cca401c66855709bd013/models/bvlc_googlenet/weights/",
    f"http://dl.caffe.berkeleyvision.org/{FILES[1]}",
)
CONNECT, SILENT = 5.0, 60.0  # seconds to the first answer, and within one
CONNECTIONS = 7  # at a time: with the first, which may be closing still, 8
HEADS = ("loss1/", "loss2/")  # what the names of the auxiliary heads' tensors begin with
WITHOUT = "The course works without it: a recorded run stands in. To try again: inception-lab pretrained googlenet"


def where() -> Path | None:
    """The file or folder with the published GoogLeNet's weights, or None if there is none; nothing is read.

    Raises DataError where INCEPTION_LAB_WEIGHTS names a folder that does not hold them.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return cached() if cached().is_file() else None
    if folder == "off":
        return None
    if not any(Path(folder, name).exists() for name in (*FILES, "conv1")):
        raise DataError(f"{FOLDER} is {folder}, a folder without {', without '.join(FILES)} and without raw files")
    return Path(folder)


def cached() -> Path:
    """The file in PyTorch's cache of published weights, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir(), "checkpoints", FILES[0])


def fetch(source: str | Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Bring the weights into PyTorch's cache, unless they are here, and return where they are.

    source: a .caffemodel, a .safetensors file or a folder of raw files; by default the network is asked. say: is called
    with what comes from where and how large it is. Raises DataError where no source has the right weights, and RunError
    where the cache cannot be written to. Two processes at once fetch once, and nothing is ever half there.
    """
    if source is None and os.environ.get(FOLDER):
        place = where()
        if place is None:
            raise DataError(f"{FOLDER} is off, so that nothing is fetched")
        read(place)
        return place
    place = cached()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if source is None and _is_whole(place):
                return place
            tensors = _download(say) if source is None else read(Path(source))
            metadata = {"sha256": digest(tensors)}  # of the heads too, if there are any
            files.write(place, safetensors.torch.save(tensors, metadata))
    except OSError as error:
        raise RunError(f"{place} could not be written ({error.strerror}). {WITHOUT}") from error
    return place


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and bool(read(path))
    except DataError:
        return False  # it is fetched anew


# --- reading ------------------------------------------------------------------------------------------------


def read(path: Path) -> Tensors:
    """The checked tensors of a .safetensors file, a .caffemodel, or a folder of Caffe's raw files or of one of these.

    Raises DataError for a file or folder that is not there, is broken, or holds other weights.
    """
    path = next((path / name for name in FILES if (path / name).is_file()), path)
    try:
        if path.is_dir():
            tensors = _raw(lambda name: (path / name).read_bytes())
        elif path.suffix == ".caffemodel":
            tensors = read_caffemodel(path.read_bytes())
        else:
            tensors = safetensors.torch.load(path.read_bytes())
            with safetensors.safe_open(path, framework="pt") as file:
                stated = (file.metadata() or {}).get("sha256")
            if stated not in (None, digest(tensors)):
                raise DataError(f"the SHA-256 of its tensors is {digest(tensors)} and should be {stated}")
        return check(tensors)
    except (OSError, SafetensorError, DataError) as error:
        advice = "; `inception-lab pretrained googlenet` fetches it anew" if path == cached() else ""
        raise DataError(f"{path} is not the published GoogLeNet: {error}{advice}") from error


def check(tensors: Tensors) -> Tensors:
    """The same tensors; DataError unless the 116 of the published GoogLeNet are among them, with its digest."""
    missing = [name for name in _shapes() if name not in tensors]
    if missing:
        raise DataError(f"{len(missing)} of {len(_shapes())} tensors are missing, the first of them {missing[0]}")
    if (found := digest({name: tensors[name] for name in _shapes()})) != DIGEST:
        raise DataError(f"the SHA-256 of its {len(_shapes())} tensors is {found} and should be {DIGEST}")
    return tensors


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 over all tensors, sorted by name, of the name in UTF-8, a zero byte and little-endian float32."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(name.encode() + b"\0")
        total.update(tensor.float().contiguous().numpy().astype("<f4").tobytes())
    return total.hexdigest()


@cache
def _shapes() -> dict[str, torch.Size]:
    """The shapes of the 116 tensors by Caffe's names."""
    with torch.device("meta"):
        return names.shapes(build("googlenet", aux=False), names.CAFFE)


def _raw(get: Callable[[str], bytes]) -> Tensors:
    """The tensors of the raw files that `get` returns by name; convolutions are (out, height, width, in) there."""
    shapes = _shapes()

    def tensor(name: str) -> torch.Tensor:
        file = name.replace(".weight", "_filter.bin").replace(".bias", "_bias.bin")
        content, shape = get(file), shapes[name]
        if len(content) != 4 * shape.numel():
            raise DataError(f"{file} has {len(content):,} bytes and should have {4 * shape.numel():,}")
        values = torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))
        if len(shape) < 4:
            return values.reshape(shape)
        out, channels, height, width = shape
        return values.reshape(out, height, width, channels).permute(0, 3, 1, 2).contiguous()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return dict(
            zip(shapes, tqdm(pool.map(tensor, shapes), total=len(shapes), leave=False, disable=None), strict=True)
        )


# --- the network --------------------------------------------------------------------------------------------


def _download(say: Callable[[str], None]) -> Tensors:
    """The tensors from the first address that has them; DataError, with what each address said, if none has."""
    said = []
    for address in filter(None, (os.environ.get(ADDRESS), *ADDRESSES)):
        size = "53.5 MB" if address.endswith(".caffemodel") else "28 MB"
        say(f"The published GoogLeNet comes from {address} ({size}).")
        try:
            return check(_get_all(address))
        except (OSError, HTTPException, SafetensorError, ValueError) as error:
            said.append(f"{address}: {error or type(error).__name__}")
    raise DataError(f"the published GoogLeNet could not be fetched ({'; '.join(said)}). {WITHOUT}")


def _get_all(address: str) -> Tensors:
    if not address.endswith((".caffemodel", ".safetensors")):
        folder = address.rstrip("/") + "/"
        _get(folder + "conv1/7x7_s2_bias.bin", CONNECT)
        return _raw(lambda name: _get(folder + name))
    urlopen(address, timeout=CONNECT).close()
    content = _get(address)
    if address.endswith(".safetensors"):
        return safetensors.torch.load(content)
    if address in ADDRESSES and (found := hashlib.sha1(content).hexdigest()) != ORIGINAL_SHA1:
        raise DataError(f"its SHA-1 is {found} and should be {ORIGINAL_SHA1}")
    return read_caffemodel(content)


def _get(address: str, timeout: float = SILENT) -> bytes:
    with urlopen(address, timeout=timeout) as answer:
        return answer.read()
