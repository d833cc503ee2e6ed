"""Formulas as MathML, written when the site is built, so that a page needs no script to show them.

The converter is docutils' own. A formula that it cannot read is a warning, and so an error of the build.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

# What is written, as a regular expression, and what the converter understands, or sets as LaTeX does.
SPELLINGS = {
    "·": r"\\cdot ",
    "×": r"\\times ",
    r"\\dots": r"\\ldots",
    r"\\Big\(": r"\\left(",
    r"\\Big\)": r"\\right)",
    r"\\frac(\d)": r"\\frac{\1}",
    r"\\frac\{(\d)\}(\d)": r"\\frac{\1}{\2}",
    r"_\{([a-z]{2,})\}": r"_\\text{\1}",
    r"(?<=\d)\{,\}(?=\d)": r"\\text{,}",
    r"(\\(?:ln|log|exp|max|min))(?: +(?=[A-Za-z\d\\])|(?=\d))": r"\1\\, ",  # and an argument without brackets
}
THOUSANDS = re.compile(r"</mn>\s*<mtext>,</mtext>\s*<mn>")


def to_mathml(formula: str, block: bool = False) -> str:
    """MathML for a formula in LaTeX's notation. Raises docutils' MathError for one that is not understood."""
    for written, understood in SPELLINGS.items():
        formula = re.sub(written, understood, formula)
    return THOUSANDS.sub(",", tex2mathml(formula, as_block=block))


def visit(block: bool):
    def write(translator, node):
        try:
            formula = to_mathml(node.astext(), block)
        except MathError as error:
            logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
            formula = translator.encode(node.astext())
        translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
        raise nodes.SkipNode

    return write


def setup(app):
    app.add_html_math_renderer("mathml", (visit(False), None), (visit(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
