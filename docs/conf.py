"""Settings of the documentation site. Formulas become MathML at build time: no network needed."""

from importlib.metadata import version

from docutils import nodes
from latex2mathml.converter import convert

project = "swjax"
author = "The swjax authors"
release = version("swjax")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "swjax"
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ["myst.header"]


def _visit_inline(self, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _visit_block(self, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app):
    """Register the MathML renderer."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
