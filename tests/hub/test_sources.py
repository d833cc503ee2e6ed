"""Weights come whole and right, or not at all, wherever they come from: files, folders, servers with bad days."""

import hashlib
import json
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from publishing import Server, caffemodel

from inception_lab import hub
from inception_lab.cli import main
from inception_lab.common.checks import DataError, RunError
from inception_lab.hub import caffe, names, sources, where
from inception_lab.models import build

FILE, ORIGINAL = sources.FILES
NOBODY_LISTENS = "http://127.0.0.1:9/"


def quiet(line):
    pass


@pytest.fixture(scope="session")
def tensors(published_weights):
    """The 116 tensors under Caffe's names."""
    return safetensors.torch.load_file(published_weights / "bvlc-googlenet.safetensors")


@pytest.fixture(scope="session")
def raw_files(tensors):
    """Caffe's raw files by name: convolutions have their input channels last there."""
    files = {}
    for name, tensor in tensors.items():
        layer, kind = name.rsplit(".", 1)
        values = tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor
        content = np.ascontiguousarray(values.numpy(), "<f4").tobytes()
        files[f"{layer}_{'filter' if kind == 'weight' else 'bias'}.bin"] = content
    return files


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of PyTorch's, and no variable set: the folder that a fetched file comes into."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for variable in ("INCEPTION_LAB_WEIGHTS", "INCEPTION_LAB_WEIGHTS_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def server(raw_files):
    serving = Server(dict(raw_files))
    threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def addresses(monkeypatch, server):
    """A function that makes these kinds of answers of the server the library's addresses."""

    def use(*kinds):
        monkeypatch.setattr(sources, "ADDRESSES", tuple(server.address(kind) for kind in kinds))

    return use


def assert_whole(folder):
    assert sources.read(folder / FILE) and [p.name for p in folder.iterdir() if p.suffix != ".lock"] == [FILE]


def assert_nothing(folder):
    assert [p.name for p in folder.iterdir() if p.suffix != ".lock"] == []


# --- files -------------------------------------------------------------------------------------------------


def test_the_raw_files_made_here_are_the_published_ones(published_weights, raw_files):
    listed = json.loads((published_weights / "bvlc-googlenet-files.json").read_text())
    made = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in raw_files.items()}
    assert made == listed


def test_a_raw_folder_is_read_and_put_into_the_cache(raw_files, tensors, cache, tmp_path):
    for name, content in raw_files.items():
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(content)
    assert where() is None
    assert hub.fetch(tmp_path / "raw") == where() == cache / FILE
    found = sources.read(cache / FILE)
    assert found.keys() == tensors.keys() and all(torch.equal(found[n], tensors[n]) for n in tensors)
    (tmp_path / "raw" / "conv1" / "7x7_s2_filter.bin").write_bytes(raw_files["conv1/7x7_s2_filter.bin"][:-4])
    with pytest.raises(DataError, match="raw is not .*7x7_s2_filter.bin has 37,628 bytes and should have 37,632"):
        hub.fetch(tmp_path / "raw")
    assert_whole(cache)


@pytest.fixture
def heads():
    """Made-up trained heads under Caffe's names."""
    model = build("googlenet")
    shapes = names.shapes(model, names.CAFFE)
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(s, generator=generator) for n, s in shapes.items() if n.startswith(sources.HEADS)}


@pytest.mark.parametrize("old", [False, True])
def test_a_caffemodel_is_read_with_its_heads(tensors, heads, cache, tmp_path, old):
    path = tmp_path / ORIGINAL
    path.write_bytes(caffemodel(tensors | heads, old))
    found = caffe.read_caffemodel(path.read_bytes())
    assert found.keys() == tensors.keys() | heads.keys()
    hub.fetch(path)
    with_heads, without = hub.pretrained(heads=True).network, hub.pretrained().network
    assert set(with_heads.heads) == {"inception_4a", "inception_4d"} and not without.heads
    assert torch.equal(with_heads.aux2.fc1.weight, heads["loss2/fc.weight"])
    assert torch.equal(with_heads.aux1.conv.conv.bias, heads["loss1/conv.bias"])
    assert sum(p.numel() for p in without.parameters()) == 6_998_552
    assert sum(p.numel() for p in with_heads.parameters()) == 13_378_280
    content = bytearray((cache / FILE).read_bytes())
    at = content.rfind(heads["loss2/fc.weight"].numpy().tobytes()[:400])
    content[at + 100] ^= 1  # one bit of a head, which the digest of the 116 tensors does not see
    (cache / FILE).write_bytes(content)
    with pytest.raises(DataError, match="should be .*fetches it anew"):
        hub.pretrained()


def test_without_heads_the_error_says_where_they_are(published_weights, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    with pytest.raises(DataError, match="has no heads: docs/weights.md says"):
        hub.pretrained(heads=True)


def test_what_is_no_caffemodel_or_a_part_of_one_is_refused(tensors, tmp_path):
    whole = caffemodel({name: tensors[name] for name in list(tensors)[:8]})
    for cut in (len(whole) // 2, len(whole) - 1, 3):
        with pytest.raises(DataError, match="no .caffemodel, or a part of one"):
            caffe.read_caffemodel(whole[:cut])
    for content in (b"<html>Please log in</html>", b"\x89PNG\r\n\x1a\n" * 50, bytes(range(256)) * 9, b"\xff" * 99):
        with pytest.raises(DataError, match="no .caffemodel"):
            caffe.read_caffemodel(content)
    for content in (b"", whole):
        (tmp_path / "some.caffemodel").write_bytes(content)
        with pytest.raises(DataError, match="tensors are missing, the first of them"):
            sources.read(tmp_path / "some.caffemodel")


def test_the_variable_s_folder_goes_first_and_alone(published_weights, cache, tmp_path, monkeypatch):
    hub.fetch(published_weights)
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(tmp_path))
    for call in (where, hub.pretrained, hub.fetch):
        with pytest.raises(DataError, match=f"INCEPTION_LAB_WEIGHTS is {tmp_path}, a folder without {FILE}"):
            call()
    (tmp_path / FILE).write_bytes((published_weights / FILE).read_bytes()[:-9])
    for call in (hub.pretrained, hub.fetch):
        with pytest.raises(DataError, match=f"{tmp_path} is not|{FILE} is not the published GoogLeNet"):
            call()
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    assert where() is None
    with pytest.raises(DataError, match="not here: `inception-lab pretrained googlenet` fetches them"):
        hub.pretrained()
    with pytest.raises(DataError, match="is off, so that nothing is fetched"):
        hub.pretrained(download=True)


def test_a_flipped_bit_in_the_cache_is_found_and_mended_by_fetching(published_weights, cache, addresses, server):
    place = hub.fetch(published_weights)
    content = bytearray(place.read_bytes())
    content[-1000] ^= 1
    place.write_bytes(content)
    with pytest.raises(DataError, match="the SHA-256 of its tensors is .*`inception-lab pretrained googlenet` fetches"):
        hub.pretrained()
    addresses("whole")
    hub.fetch(say=quiet)
    assert hub.pretrained().guess(torch.rand(3, 224, 224))
    assert_whole(cache)


# --- the network ---------------------------------------------------------------------------------------------


def test_the_addresses_and_digests_are_the_published_ones():
    raw, original = sources.ADDRESSES
    assert raw.startswith(
        "https://raw.githubusercontent.com/chaosmail/caffejs/424d98682b50dd88d0b8cca401c66855709bd013/"
    )
    assert raw.endswith("/models/bvlc_googlenet/weights/")
    assert original == "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel"
    assert sources.DIGEST == "559e245b6ed083924f7cd2699fbb8297fbb8feaf8d744356890d6b9b96d754b9"
    assert sources.ORIGINAL_SHA1 == "405fc5acd08a3bb12de8ee5e23a96bec22f08204"


def test_raw_files_are_fetched_with_at_most_8_connections(addresses, server, cache):
    addresses("slow")
    said = []
    assert hub.fetch(say=said.append) == cache / FILE
    assert_whole(cache)
    assert said == [f"The published GoogLeNet comes from {server.address('slow')} (28 MB)."]
    assert 2 <= server.most <= 8 and len(server.asked) <= 117
    asked = len(server.asked)
    hub.fetch(say=said.append)  # it is here
    assert len(server.asked) == asked and len(said) == 1


@pytest.mark.parametrize("kind", ["busy", "broken", "missing/", "page", "half", "flipped"])
def test_a_source_with_a_bad_day_is_left_for_the_next(addresses, server, cache, kind):
    addresses(kind, "whole")
    hub.fetch(say=quiet)
    assert_whole(cache)
    if kind in ("busy", "broken", "page"):
        assert len([name for k, name in server.asked if k == kind]) <= 30  # of 117: it is not asked for all the others


def test_where_every_source_fails_one_error_says_why_and_nothing_is_left(addresses, server, cache):
    addresses("busy", "page", "half", "flipped")
    with pytest.raises(DataError) as refusal:
        hub.fetch(say=quiet)
    (line,) = str(refusal.value).splitlines()
    for reason in ("429", "bin has 56 bytes and should have", "IncompleteRead", "SHA-256 of its 116 tensors"):
        assert reason in line
    assert "works without it" in line and "try again: inception-lab pretrained googlenet" in line
    assert_nothing(cache)


def test_an_address_of_one_s_own_goes_first(addresses, server, tensors, published_weights, cache, monkeypatch):
    addresses("whole")
    server.files["a/model.caffemodel"] = caffemodel(tensors)
    server.files["a/weights.safetensors"] = (published_weights / FILE).read_bytes()
    for name in ("a/model.caffemodel", "a/weights.safetensors"):
        monkeypatch.setenv("INCEPTION_LAB_WEIGHTS_URL", server.address("whole", name))
        hub.fetch(say=quiet)
        assert server.asked[-1] == ("whole", name)
        assert_whole(cache)
        (cache / FILE).unlink()
    half, page = server.address("half", "a/model.caffemodel"), server.address("page", "a/weights.safetensors")
    for own in (half, page, "nonsense"):
        monkeypatch.setenv("INCEPTION_LAB_WEIGHTS_URL", own)
        hub.fetch(say=quiet)  # from the next one
        assert_whole(cache)
        (cache / FILE).unlink()


def test_the_original_must_have_its_own_checksum(server, tensors, cache, monkeypatch):
    server.files[ORIGINAL] = caffemodel(tensors)
    monkeypatch.setattr(sources, "ADDRESSES", (server.address("whole", ORIGINAL),))
    with pytest.raises(DataError, match="its SHA-1 is .* and should be 405fc5ac"):
        hub.fetch(say=quiet)
    assert_nothing(cache)


def test_without_a_network_and_with_a_silent_one_it_does_not_wait(server, cache, monkeypatch):
    monkeypatch.setattr(sources, "CONNECT", 0.3)
    assert sources.CONNECT < 5.1
    monkeypatch.setattr(sources, "ADDRESSES", (NOBODY_LISTENS, server.address("silent")))
    start = time.monotonic()
    with pytest.raises(DataError, match="refused.*timed out"):
        hub.fetch(say=quiet)
    assert time.monotonic() - start < 5
    assert_nothing(cache)


def test_no_space_and_no_permission_are_told(published_weights, cache, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="could not be written .No space left on device"):
        hub.fetch(published_weights)
    assert_nothing(cache)
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(published_weights / FILE))  # a file where a folder is wanted
    with pytest.raises(RunError, match="could not be written"):
        hub.fetch(published_weights)


def fetch_in_another_process(address, home, out):
    os.environ["TORCH_HOME"] = home
    os.environ.pop("INCEPTION_LAB_WEIGHTS", None)
    sources.ADDRESSES = (address,)
    out.put(str(hub.fetch(say=quiet)))


def test_two_processes_at_once_fetch_once(server, cache, tmp_path):
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    arguments = (server.address("slow"), str(tmp_path / "torch"), out)
    both = [context.Process(target=fetch_in_another_process, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    assert {out.get(timeout=120), out.get(timeout=120)} == {str(cache / FILE)}
    for process in both:
        process.join()
    assert len(server.asked) <= 117
    assert_whole(cache)


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_lists_what_there_is(published_weights, cache, capsys):
    hub.fetch(published_weights)
    (cache / "alexnet-owt-7be5be79.pth").write_bytes(b"whatever")
    assert main(["pretrained"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert str(cache / FILE) in lines["googlenet"] and "28 MB" in lines["googlenet"]
    assert "alexnet-owt" in lines["alexnet"] and "None" in lines["vgg16"] and "553 MB" in lines["vgg16"]
    assert {"inception-v4", "nasnet-a", "googlenet-torchvision"} < lines.keys()


def test_the_command_gets_weights_from_a_folder_or_says_why_not(published_weights, cache, capsys, monkeypatch):
    monkeypatch.setattr(sources, "ADDRESSES", (NOBODY_LISTENS,))
    assert main(["pretrained", "googlenet"]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == len(captured.out.splitlines()) == 1
    assert main(["pretrained", "googlenet", "--from", str(published_weights)]) == 0
    assert capsys.readouterr().out.strip() == str(cache / FILE)
    assert main(["pretrained", "googlenet", "--from", str(cache / "nothing")]) == 2
    assert main(["pretrained", "vgg16", "--from", str(published_weights)]) == 2
    assert main(["pretrained", "zfnet"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and "nothing is not the published GoogLeNet" in errors[0] and "--from is for" in errors[1]


def test_importing_the_library_does_not_look_for_weights(monkeypatch):
    """And the safetensors file that others hand out is one of ours."""
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "/nowhere")
    import inception_lab

    assert inception_lab.pretrained is hub.pretrained
    with pytest.raises(ValueError, match="name must be one of 'googlenet', got 'vgg16'"):
        inception_lab.pretrained("vgg16")
