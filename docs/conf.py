"""How the course site is built. `make site` calls this; nothing here fetches or runs anything."""

import sys
from pathlib import Path

import inception_lab

sys.path.insert(0, str(Path(__file__).parent))  # for the extensions beside this file

project = "Inception Lab"
author = "The Inception Lab authors"
copyright = "The Inception Lab authors. Prose and figures: CC BY 4.0, code: MIT"
release = inception_lab.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "mathml", "docstrings", "living", "pages"]
html_title = "Inception Lab"
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_show_sourcelink = False
html_copy_source = False
html_extra_path = ["extra"] if (Path(__file__).parent / "extra").is_dir() else []  # the unit explorer
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
# A page without pages below it has nothing to show in a sidebar.
WITH_PAGES_BELOW = ("notebooks", "exercises", "library")
html_sidebars = {page.stem: [] for page in Path(__file__).parent.glob("*.md") if page.stem not in WITH_PAGES_BELOW}
html_math_renderer = "mathml"

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no script from a network: living figures bring theirs
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what arguments are
autodoc_default_options = {"members": True}
