"""Kernels for notebooks from a server that has imported PyTorch once: each starts at once, with nothing of another's.

Run by itself, this file is the server, and its arguments are what it imports. It reads an order per line as JSON,
and writes the kernel's process id.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client.launcher import launch_kernel

# What most notebooks import. Not the library, nor pandas: its bars of progress, and what fits a line of a table, are
# chosen when they are imported, by whether that is in a notebook.
IMPORTED = ("ipykernel.kernelapp", "lightning_fabric", "matplotlib.pyplot", "scipy.stats", "torchvision")
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # as kernels set it before they import Matplotlib
# What Python and the imported packages read once, when they start. A kernel that wants another value is not forked.
READ_ONCE = ("PYTHON", "OMP_", "MKL_", "MPL")


class Server:
    """Starts kernels as `jupyter_client.launcher.launch_kernel` does."""

    def __init__(self, imported=IMPORTED):
        self.imported, self.process, self.started_as = imported, None, None

    def launch(self, command, *, cwd=None, env=None, **options):
        """A kernel in this folder and with these variables: (python, "-m", "ipykernel_launcher", options...).

        By default those of this process.
        """
        env = dict(os.environ if env is None else env)
        wanted = command[0], {name: value for name, value in env.items() if name.startswith(READ_ONCE)}
        if self.process is None:
            self.started_as = wanted
            server = [command[0], __file__, *self.imported]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(server, env=env | INLINE, stdin=pipe, stdout=pipe, text=True)
        if wanted != self.started_as:
            return launch_kernel(command, cwd=cwd, env=env, **options)
        order = {"command": command[2:], "cwd": str(cwd or Path.cwd()), "env": env}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return Kernel(int(self.process.stdout.readline()))

    def close(self):
        if self.process is not None:
            self.process.communicate()


class Kernel:
    """As much of `subprocess.Popen` as jupyter_client asks for. What a kernel ends with, only the server knows."""

    stdin = stdout = stderr = None

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self):
        while self.poll() is None:
            time.sleep(0.05)
        return 0

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # as Popen does
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def serve():
    sys.path.pop(0)  # the folder of this file, where a kernel must find nothing
    sys.ps1 = "In : "  # as in a kernel: somebody may type
    for name in sys.argv[1:]:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, bury)
    for line in sys.stdin:
        if os.fork() == 0:
            become_kernel(**json.loads(line))


def bury(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:  # there is none left
        pass


def become_kernel(command, cwd, env):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(1, f"{os.getpid()}\n".encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [*command, f"--IPKernelApp.parent_handle={os.getppid()}"]  # with the server it ends, too

    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    os._exit(0)


if __name__ == "__main__":
    serve()
