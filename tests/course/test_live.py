"""The page live.html: the network in a browser computes what it computes in Python, and the page asks no other host."""

import base64
import io
import json
import os
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import pytest
import skimage.data
import torch
from materials import CHROMIUM, NEED_BROWSER, WEIGHTS
from PIL import Image
from sphinx.cmd.build import main as sphinx_build
from test_site import CONTRAST, VIEWPORTS, script, small_source

from inception_lab import explorer, lens
from inception_lab.common.checks import DataError
from inception_lab.data.pictures import read_rgb

live = pytest.importorskip("live", reason="the extra docs is not installed")
to_onnx = pytest.importorskip("to_onnx")

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "color", "grass"),
    *("gravel", "hubble_deep_field", "ihc", "moon", "motorcycle_left", "motorcycle_right", "page", "retina"),
    *("rocket", "text"),
]
# What the page's own functions make of a picture: pixels, logits, the class activation map of the guess, a path's map.
COMPUTE = """async ([address, off]) => {
  const live = await import(new URL("live/live.js", location).href);
  const answer = await fetch(address), how = { colorSpaceConversion: "none" };
  const seen = live.view(await createImageBitmap(await answer.blob(), how)), pixels = live.normalized(seen);
  const keep = live.without(new Set(off)), start = performance.now();
  const found = await live.forward(pixels, keep), milliseconds = performance.now() - start;
  const logits = [...found.logits.data], guess = logits.indexOf(Math.max(...logits));
  const cam = [...live.enlarged(live.classMap(found, guess))];
  const strength = [...live.strength(found.inception_4a, 0, 192).values], kind = await live.kind();
  return JSON.stringify({ seen: [...seen], logits, guess, cam, strength, milliseconds, kind });
}"""  # as a text, because Playwright takes a second to hand over so many numbers one by one


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/favicon.ico":
            return super().do_GET()
        self.send_response(204)
        return self.end_headers()

    def log_message(self, *_):
        pass


def build(place, monkeypatch, weights):
    """A site of this page and the gallery: the folder of its pages."""
    monkeypatch.setenv(WEIGHTS, str(weights))
    try:
        live.fetch(live.WASM)
    except DataError as error:
        if os.environ.get(NEED_BROWSER):
            raise
        pytest.skip(str(error))
    source = place / "source"
    (source / "live").mkdir(parents=True)
    small_source(source, "# A site\n\n```{toctree}\nlive\n```\n")
    (source / "live" / "page.html").write_bytes((ROOT / "docs" / "live" / "page.html").read_bytes())
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    (source / "live.md").write_text(re.sub(r"\]\(\.\.[^)]*\)", "](index.md)", text), encoding="utf-8")
    explorer.gallery(source / "extra" / "unit-gallery")
    script.add_network(source, place / "no explorer", "wasm")
    assert sphinx_build(["-q", "-W", "-b", "html", str(source), str(place / "html")]) == 0
    return place / "html"


@pytest.fixture(scope="module")
def published(tmp_path_factory, published_weights):
    """The site with the published network, and this network in PyTorch, its weights rounded alike."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = build(tmp_path_factory.mktemp("published"), monkeypatch, published_weights)
        return site, to_onnx.rounded(lens.open("googlenet", device="cpu"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = build(tmp_path_factory.mktemp("recorded"), monkeypatch, "off")
        return site, to_onnx.rounded(lens.open("googlenet", device="cpu"))


@pytest.fixture
def visit(browser):
    """A function that opens the page of a site in a new window, and notes errors and requests of other hosts."""
    opened = []

    def visit(site, with_browser=browser, **options):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = with_browser.new_context(**options)
        opened.append((server, context))
        page, host = context.new_page(), f"http://127.0.0.1:{server.server_port}/"
        page.set_default_timeout(120_000)  # a busy machine
        page.trouble = []
        page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        ours = (host, "data:", "blob:")
        page.on("request", lambda r: page.trouble.append(r.url) if not r.url.startswith(ours) else None)
        page.goto(f"{host}live.html")
        page.wait_for_selector("#live-app:not([hidden])")
        return page

    yield visit
    for server, context in opened:
        context.close()
        server.shutdown()


@pytest.fixture(scope="module")
def photographs():
    folder = Path(skimage.data.__file__).parent
    return {name: read_rgb(next(folder.glob(f"{name}.*g"))) for name in NAMES}


def compute(page, photograph, off=()):
    png = io.BytesIO()
    photograph.save(png, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return json.loads(page.evaluate(COMPUTE, [address, list(off)]))


def check(page, network, photographs):
    """Pixels, logits and maps of these photographs against PyTorch; the milliseconds of each pass."""
    times = []
    for name, photograph in photographs.items():
        found, view = compute(page, photograph), network.view(photograph)
        seen = torch.tensor(found["seen"]).view(network.size, network.size, 3).permute(2, 0, 1)
        assert torch.equal(seen, (view[0] * 255).round().long()), name
        logits = network(view)[0]
        assert (torch.tensor(found["logits"]) - logits).abs().max() < 1e-3, name
        cam = lens.cam(network, view, found["guess"])[0]
        assert (torch.tensor(found["cam"]).view_as(cam) - cam).abs().max() < 1e-3 * cam.abs().max(), name
        strength = lens.activations(network, view, "inception_4a")["inception_4a"][0, :192].square().sum(0).sqrt()
        assert torch.allclose(torch.tensor(found["strength"]).view_as(strength), strength, rtol=1e-3, atol=1e-3), name
        times.append(found["milliseconds"])
    return times


@pytest.mark.slow
def test_the_published_network_answers_as_in_pytorch_within_400_milliseconds(visit, published, photographs):
    site, network = published
    page = visit(site)
    times = check(page, network, photographs)
    print(f"{median(times):.0f} ms a pass, at best {min(times):.0f}")
    assert min(times) < 400  # others may use this machine: what it takes is the least
    assert page.trouble == []


@pytest.mark.slow
def test_the_recorded_run_answers_as_in_pytorch_and_the_page_says_that_it_is_one(visit, recorded, photographs):
    site, network = recorded
    page = visit(site)
    check(page, network, {name: photographs[name] for name in NAMES[:6]})
    text = page.inner_text("#live").replace("\u00a0", " ")
    assert "recorded run of this course (tiny-imagenet-96)" in text and "46.9 %" in text
    assert page.locator("#live-paths a").count() == 0  # its units have no page here
    assert page.trouble == []


@pytest.mark.slow
@pytest.mark.parametrize("off", [["inception_3a.one"], ["inception_4c.three", "inception_5b.pool"]])
def test_a_path_that_is_off_gives_zeros_as_in_pytorch(visit, published, photographs, off):
    site, network = published
    handles = [
        network.model.get_submodule(name).register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        for name in off
    ]
    photograph = photographs["chelsea"]
    without = network(network.view(photograph))[0]
    for handle in handles:
        handle.remove()
    found = torch.tensor(compute(visit(site), photograph, off)["logits"])
    assert (found - without).abs().max() < 1e-3
    assert (without - network(network.view(photograph))[0]).abs().max() > 0.1


@pytest.mark.slow
def test_the_page_is_used_with_the_keyboard(visit, published):
    site, network = published
    page = visit(site)
    ((guess, probability),) = network.guess(skimage.data.chelsea(), top=1)
    first = page.locator("#live-classes label").first
    assert guess in first.inner_text()
    assert float(first.locator("b").inner_text().removesuffix(" %")) == pytest.approx(100 * probability, abs=0.1)

    page.locator("#live-modules input:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#live-paths h3").first.inner_text() == "4d 1×1"

    page.locator("#live-paths input").nth(1).focus()
    page.keyboard.press("Space")
    page.wait_for_function("document.getElementById('live-change').textContent.startsWith('Without 4d 3×3: ')")
    assert page.evaluate("document.activeElement.dataset.path") == "inception_4d.three"
    assert page.locator("#live-table button[aria-pressed=true]").count() == 1
    page.locator("#live-on").press("Enter")
    page.wait_for_function("document.getElementById('live-change').textContent === ''")

    page.locator("#live-all").press("Enter")
    page.wait_for_function("!document.getElementById('live-all').disabled")
    changes = page.locator("#live-table button").all_inner_texts()
    assert len(changes) == 36 and all(re.fullmatch(r"[+−]\d+\.\d\d", text) for text in changes)

    link = page.locator("#live-paths a").first
    unit = link.get_attribute("href").partition("#")[2]
    link.press("Enter")
    page.wait_for_selector("#unit-name")
    assert page.inner_text("#unit-name") == unit
    assert page.trouble == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_the_page_can_be_read(visit, published, viewport, scheme):
    page = visit(published[0], viewport=VIEWPORTS[viewport], color_scheme=scheme)
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    assert page.evaluate(CONTRAST) == []
    assert page.trouble == []


@pytest.mark.slow
def test_photographs_come_from_a_file_and_from_the_camera(visit, published, browser, tmp_path):
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "coffee.png")
    (tmp_path / "broken.png").write_text("no picture")
    options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    path = next(filter(None, map(shutil.which, CHROMIUM)))
    with_camera = browser.browser_type.launch(executable_path=path, args=options)
    page = visit(published[0], with_camera)
    page.set_input_files("#live-file", tmp_path / "coffee.png")
    page.wait_for_function("document.getElementById('live-classes').textContent.includes('espresso')")
    page.set_input_files("#live-file", tmp_path / "broken.png")
    page.wait_for_function("document.getElementById('live-state').textContent.includes('broken.png is no picture')")
    page.click("#live-camera")
    page.wait_for_function("!document.getElementById('live-classes').textContent.includes('espresso')")
    page.click("#live-camera")
    assert page.get_attribute("#live-camera", "aria-pressed") == "false"
    assert page.trouble == []
    with_camera.close()


def test_on_a_disk_the_page_says_how_to_serve_it(tmp_path, browser):
    html = (ROOT / "docs" / "live" / "page.html").read_text(encoding="utf-8")
    (tmp_path / "live.html").write_text(html.replace('<link rel="stylesheet" href="live/live.css">', ""))
    page, trouble = browser.new_page(), []
    page.on("console", lambda message: trouble.append(message.text))
    page.goto(f"file://{tmp_path / 'live.html'}")
    assert "python -m http.server -d build/site/html" in page.inner_text("#live-state")
    assert trouble == []
    page.close()


def test_a_site_without_the_network_says_so(tmp_path, monkeypatch, capsys):
    script.add_network(tmp_path, tmp_path, "off")
    assert "built without the network" in (tmp_path / "live" / "page.html").read_text(encoding="utf-8")
    monkeypatch.setattr(live, "ROOT", tmp_path)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")  # nobody answers there
    script.add_network(tmp_path, tmp_path, "wasm")
    assert re.search("could not be fetched by npm: .*ECONNREFUSED", capsys.readouterr().out)
    monkeypatch.setattr("shutil.which", lambda name: None)
    script.add_network(tmp_path, tmp_path, "wasm")
    assert "there is no command npm here" in capsys.readouterr().out
    assert "built without the network" in (tmp_path / "live" / "page.html").read_text(encoding="utf-8")


def test_another_package_than_the_pinned_one_is_refused(tmp_path):
    (tmp_path / f"onnxruntime-web-{live.VERSION}.tgz").write_bytes(b"something else")
    with pytest.raises(DataError, match="has the SHA-512"):
        live.fetch(live.WASM, tmp_path)


def test_a_layer_without_an_operator_is_named():
    with pytest.raises(ValueError, match="got GELU"):
        to_onnx.Graph().layer(torch.nn.GELU(), "x")
