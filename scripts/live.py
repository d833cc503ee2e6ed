"""What the page docs/live.md needs, so that GoogLeNet runs in the reader's browser: the network, its runtime, pictures.

write("build/site/source")           # `make site` calls it; LIVE=webgpu adds a runtime for GPUs, LIVE=off leaves it out

The network is the published one where its weights are on the machine that builds the site, else the recorded run
that stands in for it, as ONNX with float16 weights. ONNX Runtime Web comes from its package on npm, pinned by hash,
once for each checkout. All of it lies beside the page: a reader's browser asks no other host. What it adds to the site
are 28 MB with the published network (the runtime 14, the weights 14), and 17 MB more with `webgpu`.
"""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from html import escape
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from skimage import data
from to_onnx import to_onnx

from inception_lab import lens, pretrained
from inception_lab.common import files
from inception_lab.common.checks import DataError, check_one_of
from inception_lab.evaluation.inference import digest_of_weights
from inception_lab.explorer import page
from inception_lab.lens.opening import STAND_IN
from inception_lab.lens.units import modules
from inception_lab.training.runs import RunFolder

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # SHA-512
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm")
RUNTIMES = {"wasm": WASM, "webgpu": WASM + WEBGPU}
PAGE = ("live.js", "live.css")
PHOTOGRAPHS = {"chelsea": "a cat", "coffee": "a cup", "camera": "a photographer", "rocket": "a rocket"}  # all CC0


class About(NamedTuple):
    """What the page says of its network: the text, and the folder of the page that shows its units, "" for none."""

    name: str
    text: str
    units: str


def write(source: Path, explorer: Path, runtime: str = "wasm") -> None:
    """Put what the page needs into the source of the site. Raises DataError where the runtime cannot be had.

    explorer: where a unit explorer was built. runtime: "wasm", for every browser, or "webgpu", for that and for GPUs.
    """
    check_one_of("runtime", runtime, RUNTIMES)
    scripts = fetch(RUNTIMES[runtime])
    out = source / "extra" / "live"
    network = lens.open("googlenet", device="cpu")
    about = describe(network, explorer)
    graph = to_onnx(network).SerializeToString()
    files.write(out / "network.onnx", graph)
    for name in PHOTOGRAPHS:
        picture = io.BytesIO()
        Image.fromarray(getattr(data, name)()).save(picture, "WebP", lossless=True)
        files.write(out / f"{name}.webp", picture.getvalue())
    for name, content in scripts.items():
        files.write(out / name, content)
    for name in PAGE:
        files.write(out / name, (ROOT / "docs" / "live" / name).read_bytes())
    facts = {
        "name": about.name,
        "units": about.units,
        "size": network.size,
        "classes": network.classes,
        "paths": page.path_styles(network.model.design),
        "modules": [(name, widths(network, name)) for name in modules(network)],
        "photographs": PHOTOGRAPHS,
        "bytes": len(graph),
        "webgpu": runtime == "webgpu",
    }
    files.write(out / "network.json", json.dumps(facts, ensure_ascii=False).encode())
    html = (source / "live" / "page.html").read_text(encoding="utf-8")
    files.write(source / "live" / "page.html", html.replace("ABOUT", about.text).encode())


def widths(network: lens.Network, module: str) -> list[tuple[str, int]]:
    """The paths of a module, such as "five", with their channels, in their order."""
    return [(p.partition(".")[2], w) for p, w in lens.paths(network).items() if p.startswith(f"{module}.")]


def describe(network: lens.Network, explorer: Path) -> About:
    """What network it is, how good, by whom and on what terms; and where its units are shown."""
    if network.published:
        google = pretrained("googlenet")
        text = (
            "the <strong>published GoogLeNet</strong>: BVLC's replication of 2014, trained on ILSVRC-2012 by Sergio "
            "Guadarrama, “released for unrestricted use”. Its publisher states that it recognizes "
            f"{google.accuracy.top1} % of the validation images, and {google.accuracy.top5} % within five guesses "
            f"({escape(google.accuracy.images)}; before the weights were rounded to float16 for this page). "
            f"It has {len(network.classes):,} classes and sees {network.size} pixels along a side"
        )
        return About("the published GoogLeNet", text, "unit-gallery")
    run = RunFolder(files.recorded("runs", STAND_IN))
    metrics = run.metrics
    text = (
        f"a <strong>recorded run of this course</strong> ({STAND_IN}), a GoogLeNet of full width with batch norm, "
        "since the published weights were not at hand when this site was built. It was trained on the 100,000 images "
        f"of Tiny ImageNet for {metrics['epochs']} epochs (weights: CC BY 4.0), and recognizes "
        f"{100 - metrics['val_top1_error']:.1f} % of the validation images, {100 - metrics['val_top5_error']:.1f} % "
        f"within five guesses. It has {len(network.classes)} classes and sees only {network.size} pixels along a side: "
        "expect wrong guesses"
    )
    built = page.read_script(explorer / "data" / "run.js")
    own = built and built["made_from"].get("weights") == digest_of_weights(run.path)[:16]
    return About(f"the recorded run {STAND_IN}", text, "unit-explorer" if own else "")


def fetch(names: tuple[str, ...], place: Path | None = None) -> dict[str, bytes]:
    """Files of ONNX Runtime Web: from build/npm, or by npm, whose package is kept there. {name: content}.

    Raises DataError where there is no npm or it finds no package, and for a package that is not the pinned one.
    """
    package = (ROOT / "build" / "npm" if place is None else place) / f"onnxruntime-web-{VERSION}.tgz"
    content = package.read_bytes() if package.is_file() else packed()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != INTEGRITY:
        raise DataError(f"{package.name} has the SHA-512 {found}, and should have {INTEGRITY}")
    if not package.is_file():
        files.write(package, content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {name: archive.extractfile(f"package/dist/{name}").read() for name in names}


def packed() -> bytes:
    """The package of ONNX Runtime Web, as npm fetches it from wherever it is told to."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("ONNX Runtime Web could not be fetched: it is on npm, and there is no command npm here")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", folder, "--fetch-retries=0"]
        done = subprocess.run(command, capture_output=True, text=True)
        made = list(Path(folder).glob("*.tgz"))
        if done.returncode or not made:
            said = next(iter(done.stderr.strip().splitlines()), "it does not say why")
            raise DataError(f"ONNX Runtime Web could not be fetched by npm: {said}")
        return made[0].read_bytes()
