"""Open the course in JupyterLab, as the reader's own copy in work/.

inception-lab lab                     what `make lab` calls when it has installed the course
inception-lab lab --offline           do not ask for the published weights
inception-lab lab --port 9000 --no-browser
"""

import logging
import os
import sys
import sysconfig

import workspace

from inception_lab.common.checks import RunError, check_whole

ROOT = workspace.ROOT
FIRST = f"/lab/tree/{workspace.WORK}/00_welcome.ipynb"
ASKED = ".asked"  # in work: the published weights were asked for
PACKED = ROOT / "weights"  # where `make bundle` puts them
OPTIONS = [
    "--allow-root",
    f"--ServerApp.root_dir={ROOT}",
    f"--LabApp.default_url={FIRST}",
    f"--LabApp.app_settings_dir={ROOT / 'scripts' / 'jupyterlab'}",  # no question about news; names of files in full
    "--KernelManager.transport_encryption=auto",  # else each kernel warns, below the address
]
BANNER = """
Inception Lab {how}. Your copy of the course: {work}
Ctrl-C, twice, ends it. The address:

    {address}
"""


def open_course(offline: bool = False, browser: bool = True, port: int | None = None) -> None:
    """Fetch the weights once, bring work/ up to date, and run JupyterLab until Ctrl-C."""
    if port is not None:
        check_whole("port", port, 1, 65535)
    beside = workspace.update()
    if not offline or PACKED.is_dir():  # those that came along are here, too
        ask_for_weights()
    for name in beside:
        print(f"{workspace.WORK}/{name} is a newer lesson; the one that you worked in is left as it is")
    serve(browser and has_display(), port)


def ask_for_weights() -> None:
    """Fetch the published GoogLeNet, once: where it cannot be had, a line says so, and the course works without it."""
    asked = ROOT / workspace.WORK / ASKED
    if asked.exists():
        return
    from inception_lab import hub

    try:
        hub.fetch(PACKED if PACKED.is_dir() else None)
    except (RunError, ValueError) as error:
        print(error, file=sys.stderr)
    asked.touch()


def has_display() -> bool:
    """Whether a browser can open. Without a display Jupyter would take one for text terminals."""
    shown = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in shown)


def serve(browser: bool, port: int | None) -> None:
    """Run JupyterLab until Ctrl-C; its address is the last line on the terminal."""
    # The kernel is this Python, it finds the commands installed beside it, and figures belong into the notebook.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    os.environ.pop("MPLBACKEND", None)
    from jupyterlab.labapp import LabApp

    options = OPTIONS + ["--no-browser"] * (not browser) + [f"--ServerApp.port={port}"] * (port is not None)
    logging.disable(logging.WARNING)  # what Jupyter says of itself would hide the address. An error here is the end,
    server = LabApp.initialize_server(argv=options)
    how = "opens in your browser" if browser else "can be opened in a browser"
    print(BANNER.format(how=how, work=ROOT / workspace.WORK, address=server.public_url), flush=True)
    server.identity_provider.token_generated = False  # else Jupyter prints a banner of its own
    logging.disable(logging.ERROR)  # and later one that the browser shows
    server.start()
