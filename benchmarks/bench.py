"""How fast GoogLeNet runs here and in torchvision: the same weights, side by side, in one process.

    python benchmarks/bench.py                              # prints a Markdown table
    python benchmarks/bench.py --table data/bench/cpu.csv   # the table of recorded results

Rounds alternate between the contenders, and who goes first changes. The first call of each, in which a compiler may
work, is timed apart. What bounds them is measured too: the most multiply-accumulates per second that this machine
does in a product of matrices.
"""

import argparse
import csv
import ctypes
import datetime
import io
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
import torchvision
from torch import nn

from inception_lab.common import console, files
from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.common.environment import git_commit
from inception_lab.costs import count
from inception_lab.costs.speed import peak, timed
from inception_lab.models.fast_twin import compiled, fast, merge_ones
from inception_lab.models.torchvision_weights import from_torchvision
from inception_lab.training.trainer import loss

SIZE, CLASSES = 224, 1000
TASKS = ("inference", "training")


def bench(
    device: str = "cpu", batches=None, tasks=TASKS, *, compile: bool = True, rounds: int = 15, out: str | None = None
) -> list[dict]:
    """Measure every contender; one dict for each, with what was measured and the environment.

    batches: images per call; by default 1 and 32, or 1 and 256 on a GPU. compile: also what a compiler makes of both.
    median_ms, low_ms, high_ms: milliseconds per call, with the quartiles. first_call_s: seconds of the first call;
    it is short where the compiler finds its work of an earlier day (TORCHINDUCTOR_FORCE_DISABLE_CACHES=1 forbids that).
    peak_mb: how much more memory a call takes at its peak than there was before it; None where it cannot be told.
    ratio: to torchvision's model as it comes, at the same batch. share_of_peak_percent: multiply-accumulates per
    second, of the most that this machine does in that type of number. A training step counts as three forward passes.
    others_percent: how much of the processor other programs took meanwhile, where Linux tells; above some per cent, two
    threads that wait for each other wait for those too, and the figures mean little. out: a CSV file that is written
    after each task and batch, so that a run that is stopped keeps what it has measured.

    Raises ValueError for a device that is not there, an unknown task, and fewer than two rounds.
    """
    rounds = check_whole("rounds", rounds, 2)  # quartiles need two
    for task in tasks:
        check_one_of("tasks", task, TASKS)
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device must be 'cpu', or 'cuda' where there is a GPU, got {device!r}")
    if batches is None:
        batches = (1, 256) if device == "cuda" else (1, 32)
    batches = [check_whole("batches", batch) for batch in batches]
    peaks = {dtype: peak(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    about = environment(device) | {f"peak_{str(d)[6:]}_gmacs": round(p / 1e9, 1) for d, p in peaks.items()}
    macs = count("googlenet-torchvision", SIZE).macs
    rows: list[dict] = []
    for task in tasks:
        for batch in batches:
            calls = contenders(task, device, batch, compile)
            others = OtherPrograms()
            measured = measure({name: call for name, (*_, call) in calls.items()}, device, rounds)
            others.stop()
            base = measured["torchvision"]["median_ms"]
            for name, (is_compiled, dtype, _) in calls.items():
                row = dict(task=task, batch=batch, contender=name, compiled=is_compiled, dtype=str(dtype)[6:])
                row |= measured[name] | {"ratio": base / measured[name]["median_ms"]}
                work = macs * batch * (3 if task == "training" else 1)
                rate = work / measured[name]["median_ms"] * 1000
                row |= {"share_of_peak_percent": 100 * rate / peaks[dtype], "others_percent": others.percent}
                rows.append(row | about)
            if out is not None:
                write(rows, out)
    return rows


# --- who runs


def contenders(task: str, device: str, batch: int, compile: bool) -> dict[str, tuple[bool, torch.dtype, Callable]]:
    """Name → (compiled?, type of number, a function without arguments that makes one call)."""
    torch.manual_seed(0)
    original = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True).to(device)
    images = torch.randn(batch, 3, SIZE, SIZE, device=device)
    return (inference if task == "inference" else training)(original, images, compile)


def inference(original: nn.Module, images: torch.Tensor, compile: bool) -> dict:
    """torchvision's model in each form that a reader would give it, and the twins of ours with its weights."""
    ours, relaid = (
        from_torchvision(original.state_dict()).to(images.device).eval(),
        images.to(memory_format=torch.channels_last),
    )
    half = torch.bfloat16

    def theirs(dtype=torch.float32, freeze=None):
        model = from_state(original).eval().to(dtype=dtype, memory_format=torch.channels_last)
        if freeze is not None:
            model = compiled(model, images.device.type, freeze=freeze)
        inputs = relaid.to(dtype)
        return lambda: model(inputs)

    def twin(dtype=torch.float32, compile=False):
        model = fast(ours, dtype=dtype, compile=compile)
        return lambda: model(relaid)

    original.eval()
    calls = {
        "torchvision": (False, torch.float32, lambda: original(images)),
        "torchvision, channels last": (False, torch.float32, theirs()),
        "torchvision, channels last, bf16": (False, half, theirs(half)),
        "twin": (False, torch.float32, twin()),
        "twin, bf16": (False, half, twin(half)),
    }
    if compile:
        calls |= {
            "torchvision, compiled": (True, torch.float32, theirs(freeze=False)),
            "torchvision, compiled, frozen": (True, torch.float32, theirs(freeze=True)),
            "torchvision, compiled, frozen, bf16": (True, half, theirs(half, freeze=True)),
            "twin, compiled": (True, torch.float32, twin(compile=True)),
            "twin, compiled, bf16": (True, half, twin(half, compile=True)),
        }
    return {name: (*about, torch.no_grad()(call)) for name, (*about, call) in calls.items()}


def training(original: nn.Module, images: torch.Tensor, compile: bool) -> dict:
    """A step of SGD with momentum: forward with both heads, backward, new weights."""
    labels = torch.randint(CLASSES, (len(images),), device=images.device)
    relaid, half = images.to(memory_format=torch.channels_last), torch.bfloat16

    def step(model, images, dtype=torch.float32, compiled=False):
        network = torch.compile(model, dynamic=False) if compiled else model
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

        def call():
            with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
                total = loss(tuple(network(images)), labels)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

        return call

    def theirs():
        return from_state(original).train().to(memory_format=torch.channels_last)

    def ours(merge):
        model = from_torchvision(original.state_dict()).train().to(images.device, memory_format=torch.channels_last)
        return merge_ones(model, merge)

    calls = {
        "torchvision": (False, torch.float32, step(original.train(), images)),
        "torchvision, channels last": (False, torch.float32, step(theirs(), relaid)),
        "ours, channels last": (False, torch.float32, step(ours(False), relaid)),
        "ours, channels last, merged": (False, torch.float32, step(ours(True), relaid)),
        "torchvision, channels last, bf16": (False, half, step(theirs(), relaid, half)),
        "ours, channels last, merged, bf16": (False, half, step(ours(True), relaid, half)),
    }
    if compile and images.is_cuda:
        calls |= {
            "torchvision, compiled, bf16": (True, half, step(theirs(), relaid, half, True)),
            "ours, compiled, bf16": (True, half, step(ours(False), relaid, half, True)),
            "ours, compiled, merged, bf16": (True, half, step(ours(True), relaid, half, True)),
        }
    return calls


def from_state(original: nn.Module) -> nn.Module:
    """A copy of torchvision's model."""
    copy = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    copy.load_state_dict(original.state_dict())
    return copy.to(next(original.parameters()).device)


# --- the clock


def measure(calls: dict[str, Callable], device: str, rounds: int) -> dict[str, dict]:
    """Milliseconds per call: for each name the median, the quartiles, the first call and the peak of memory."""
    seconds, results = {name: [] for name in calls}, {}
    for name, call in calls.items():
        first = timed(call, device)
        results[name] = {"first_call_s": first, "peak_mb": peak_memory(call, device)}
    for number in range(rounds + 1):
        for name in list(calls)[:: 1 if number % 2 else -1]:
            spent = timed(calls[name], device)
            if number:  # the first round warms up
                seconds[name].append(1000 * spent)
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        results[name] |= dict(median_ms=median, low_ms=low, high_ms=high, rounds=rounds)
    return results


def peak_memory(call: Callable, device: str) -> float | None:
    """By how many MB (10⁶ bytes) a call's peak of memory exceeds what was in use before; None if nobody counts."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak
        ctypes.CDLL(None).malloc_trim(0)  # glibc: what is free goes back to the system, and counts again if it is taken
        before = resident("VmRSS")
        call()
        return (resident("VmHWM") - before) / 1e6
    except (OSError, AttributeError):
        return None


def resident(field: str) -> int:
    """Bytes of this process in memory, now ("VmRSS") or at most ("VmHWM"), as Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


class OtherPrograms:
    """The share of the processor, in per cent, that other programs take between its making and `stop`; else None."""

    def __init__(self):
        self.percent, self.start = None, self.now()

    def now(self) -> tuple[float, float, float] | None:
        """Seconds by the clock, of all programs on all cores, and of this one with its children."""
        try:
            fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _, _, *rest = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields)
        return time.perf_counter(), user + nice + system + sum(rest), sum(os.times()[:4])

    def stop(self) -> None:
        if self.start:
            clock, every, own = (b - a for a, b in zip(self.start, self.now(), strict=True))
            self.percent = max(0.0, 100 * (every - own) / (clock * os.cpu_count()))


# --- the limit


def environment(device: str) -> dict:
    """What the figures depend on."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {
        "device": f"{device}, {name}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": metadata.version("torchvision"),
        "python": platform.python_version(),
        "system": platform.system(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "git_commit": git_commit(),
    }


def processor() -> str:
    """The processor's name and the instructions that matter here, as Linux tells; else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name", platform.machine())
    kinds = [kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if kind in told.get("flags", "").split()]
    return f"{name} ({os.cpu_count()} cores; {' '.join(kinds)})"


# --- the results


def write(rows: list[dict], path: str | Path) -> None:
    """The rows as CSV, numbers with four digits. What the file holds of other tasks and batches stays."""
    kinds = {(row["task"], row["batch"]) for row in rows}
    kept = [row for row in read(path) if (row["task"], int(row["batch"])) not in kinds] if Path(path).exists() else []
    lines = kept + [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    text = io.StringIO()
    out = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    out.writeheader()
    out.writerows(sorted(lines, key=lambda row: (TASKS.index(row["task"]), int(row["batch"]))))
    files.write(Path(path), text.getvalue().encode())


def read(path: str | Path) -> list[dict]:
    """The rows of a CSV file that `write` wrote. Raises ValueError for another file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            check_one_of("task", row["task"], TASKS)
            int(row["batch"]), float(row["median_ms"]), float(row["ratio"]), row["contender"]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} holds no results of this benchmark: {type(error).__name__} {error}") from error
    return rows


def table(rows: list[dict]) -> str:
    """A Markdown table: one row per contender, and by task and batch its milliseconds and the ratio to torchvision."""
    kinds = list(dict.fromkeys((row["task"], int(row["batch"])) for row in rows))
    cells = {(row["contender"], row["task"], int(row["batch"])): row for row in rows}
    head = ["", *(f"{task}, batch {batch}" for task, batch in kinds)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * len(kinds)]
    for name in dict.fromkeys(row["contender"] for row in rows):
        found = [cells.get((name, *kind)) for kind in kinds]
        texts = [f"{float(r['median_ms']):.1f} ms, {float(r['ratio']):.2f}×" if r else "" for r in found]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The exit status, see `console.run`."""
    return console.run("bench.py", lambda: command(arguments))


def command(arguments: list[str] | None) -> None:
    """Measure, write and print what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="Time inference and training steps of GoogLeNet at 224 pixels, here and in torchvision, on the "
        "same weights, and say how much of what the machine can do each uses. Nothing else should run meanwhile.",
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda (default: cpu)")
    parser.add_argument("--batches", type=int, nargs="+", metavar="N", help="images per call (1 32; GPU: 1 256)")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), metavar="T", help="one or both of them")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="counted calls of each (default: 15)")
    parser.add_argument("--no-compile", action="store_true", help="leave out what has to be compiled")
    files_of_results = parser.add_mutually_exclusive_group()
    files_of_results.add_argument("--out", metavar="CSV", help="write the results here, with the environment")
    files_of_results.add_argument("--table", metavar="CSV", help="measure nothing: print the table of these results")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    if args.out and files.check_out(args.out).exists():
        read(args.out)
    options = dict(compile=not args.no_compile, rounds=args.rounds, out=args.out)
    rows = read(args.table) if args.table else bench(args.device, args.batches, args.tasks, **options)
    print(json.dumps(rows, indent=1) if args.json else table(rows), end="\n" if args.json else "")


if __name__ == "__main__":
    sys.exit(main())
