"""What every command of the course does on a terminal: one line and a status where it cannot go on, no traceback."""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from inception_lab.common.checks import RunError

# What our output says in other than ASCII characters, for a terminal that knows no others.
IN_ASCII = {"×": "x", "–": "-", "−": "-", "·": "*", "µ": "u", "…": "...", "’": "'"}
OUT_OF_MEMORY = ("allocate memory", "out of memory", "not enough memory")  # in PyTorch's RuntimeErrors


def run(program: str, command: Callable[[], Any]) -> int:
    """Call what a command does, and return its exit status; what went wrong is told in a line on standard error.

    0, or the status that the command returns itself; 1 where it cannot go on (RunError; a file, the disk or the memory
    refuses); 2 for a wrong argument (ValueError); 130 after Ctrl-C, 141 where nobody reads the output any more, both
    as a shell has them. What a KeyboardInterrupt says, such as how the command can go on, is told too.
    """
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # nobody has decided otherwise
    if is_usual and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, partial(_interrupt, program))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # else it is none of a terminal
            stream.reconfigure(errors="in_ascii")
    try:
        try:
            return command() or 0
        finally:
            if sys.stdout:
                sys.stdout.flush()  # here, where a full disk or a closed pipe can be told
    except KeyboardInterrupt as interrupt:
        return _told(program, "; ".join(["interrupted", *filter(None, interrupt.args)]), 130)
    except BrokenPipeError:
        _discard_output()
        return 141
    except (RunError, ValueError) as error:
        return _told(program, str(error), 1 if isinstance(error, RunError) else 2)
    except OSError as error:
        where = error.filename or ("standard output" if _discard_output() else program)
        return _told(program, f"{where}: {error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise  # a fault of the program
        return _told(program, f"there is not enough memory for this: {str(error).partition(chr(10))[0]}", 1)


def _interrupt(program: str, number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt. While something is imported, end at once: C code would make other errors of it."""
    place = frame
    while place:
        if place.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(_told(program, "interrupted", 130))
        place = place.f_back
    signal.default_int_handler(number, frame)


def _told(program: str, message: str, status: int) -> int:
    """Print a message; what a terminal would obey, such as the escape character of a file's name, is spelled out."""
    message = message.strip()
    if "Original Traceback" in message:  # from a process that reads images: the last line says what was wrong
        message = message.rpartition("\n")[2].partition(": ")[2]
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in message)
    try:
        print(f"{program}: {shown}", file=sys.stderr, flush=True)
    except OSError:  # nobody reads that either
        _discard_output()
    return status


def _discard_output() -> bool:
    """Have output that cannot be written go nowhere: Python would try it again when it ends. Whether there is some."""
    discarded, nowhere = False, os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
            discarded = True
    os.close(nowhere)
    return discarded


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    shown = "".join(IN_ASCII.get(c, c.encode("ascii", "backslashreplace").decode()) for c in characters)
    return shown, error.end


codecs.register_error("in_ascii", _in_ascii)
