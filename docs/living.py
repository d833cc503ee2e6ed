"""The directive `living`: a living figure of `inception_lab.plots`, by its name, as a page holds it."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from inception_lab import plots


class Living(SphinxDirective):
    """```{living} module_cost``` puts the figure there."""

    required_arguments = 1

    def run(self):
        return [nodes.raw("", plots.living(self.arguments[0])._repr_html_(), format="html")]


def setup(app):
    app.add_directive("living", Living)
    return {"parallel_read_safe": True}
