"""The library's docstrings as Sphinx reads them.

They are plain text with `code` between backticks, and their lines may hang. reStructuredText would take hanging lines
for lists and single stars for emphasis. So each paragraph is joined, code is marked as such, and the rest is escaped.
A paragraph in which every line is indented is shown as it stands.
"""

import re
import textwrap

CODE = re.compile(r"`+([^`\n]+)`+")
SPECIAL = re.compile(r"([*|\\]|_\b)")


def paragraphs(lines):
    """reStructuredText for the lines of a docstring."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if not paragraph.strip():
            continue
        if all(line.startswith("    ") for line in paragraph.splitlines()):
            yield from ["::", "", *textwrap.indent(textwrap.dedent(paragraph), "    ").splitlines(), ""]
            continue
        text = " ".join(line.strip() for line in paragraph.splitlines())
        pieces = CODE.split(text)  # text and code in turn
        written = [f"``{p}``" if i % 2 else SPECIAL.sub(r"\\\1", p) for i, p in enumerate(pieces)]
        for i in range(1, len(written), 2):  # a word character right after code would swallow its end
            if i + 1 < len(written) and re.match(r"\w", written[i + 1]):
                written[i] += "\\ "
            if re.search(r"\w$", written[i - 1]):
                written[i - 1] += "\\ "
        yield from ["".join(written), ""]


def rewrite(app, what, name, obj, options, lines):
    lines[:] = list(paragraphs(lines))


def skip(app, what, name, obj, skipped, options):
    """Leave out the fields of named tuples, about which Python only says which number they have."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
