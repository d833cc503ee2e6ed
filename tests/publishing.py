"""The published weights as others hand them out: a .caffemodel, and a web server with good and bad days."""

import http.server
import threading
import time

import numpy as np


class Server(http.server.ThreadingHTTPServer):
    """Serves /KIND/NAME from `files`: whole, or spoiled in the way that KIND says."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.now, self.most, self.lock = files, [], 0, 0, threading.Lock()

    def address(self, kind, name=""):
        return f"http://127.0.0.1:{self.server_port}/{kind}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, (kind, _, name) = self.server, self.path.lstrip("/").partition("/")
        with server.lock:
            server.asked.append((kind, name))
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            self.answer(kind, name)
        except ConnectionError:
            pass  # the other side had enough
        finally:
            with server.lock:
                server.now -= 1

    def answer(self, kind, name):
        content = self.server.files.get(name)
        status = {"busy": 429, "broken": 503}.get(kind, 200 if content is not None else 404)
        content = content or b""
        if kind == "slow":
            time.sleep(0.02)
        if kind == "page":
            content = b"<html>Please log in to the network of this hotel.</html>"
        if kind == "flipped" and (len(content) > 500_000 or "." not in name):
            content = content[:9999] + bytes([content[9999] ^ 4]) + content[10_000:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "silent":
            time.sleep(20)
        elif status == 200:
            self.wfile.write(content[: len(content) // 2] if kind == "half" else content)

    def log_message(self, *args):
        pass


# --- a .caffemodel, written from the description of its wire format -------------------------------------------


def varint(number):
    head = b""
    while number > 127:
        head += bytes([number % 128 + 128])
        number //= 128
    return head + bytes([number])


def field(number, content):
    """A field of a message: bytes with their length, or a whole number."""
    if isinstance(content, int):
        return varint(number * 8) + varint(content)
    return varint(number * 8 + 2) + varint(len(content)) + content


def caffemodel(tensors, old=False):
    """The message NetParameter with a layer for each pair of weight and bias, in the format of today or of 2014."""
    layers = {}
    for name, tensor in tensors.items():
        layers.setdefault(name.rsplit(".", 1)[0], []).append((name, tensor))
    parts = [field(1, b"GoogleNet")]
    for layer, blobs in {"data": [], **layers}.items():
        content = field(4 if old else 1, layer.encode()) + field(2 if not old else 5, b"Convolution" if not old else 4)
        for _, tensor in sorted(blobs, reverse=True):  # weight, bias
            values = field(5, np.ascontiguousarray(tensor.numpy(), "<f4").tobytes())
            if old:
                sides = [1] * (4 - tensor.ndim) + list(tensor.shape)
                shape = b"".join(field(number, side) for number, side in enumerate(sides, 1))
            else:
                shape = field(7, field(1, b"".join(map(varint, tensor.shape))))
            content += field(6 if old else 7, shape + values)
        parts.append(field(2 if old else 100, content))
    return b"".join(parts)
