"""Settings of the documentation site. Formulas become MathML at build time: no network needed."""

import re
from importlib import metadata
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

project = "swjax"
author = "The swjax authors"
release = metadata.version("swjax")
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
napoleon_use_ivar = True
napoleon_attr_annotations = False
default_role = "code"
suppress_warnings = ["myst.header", "ref.python"]  # names such as `shape` are not links


def _visit_inline(self, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _visit_block(self, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _escape(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings write |u| and u * v as in mathematics: of markup only `code` and **bold**."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`+[^`]*`+)", line)
            keep_bold = lambda found: found[1] or "\\" + found[2]
            bold = r"(\*\*\w[^*]*\*\*)|([|*])"
            parts[::2] = [re.sub(bold, keep_bold, text) for text in parts[::2]]
            lines[i] = "".join(parts)


def _skip(app, what, name, obj, skip, options) -> bool | None:
    """Fields of named tuples are told by their class: `Alias for field number 3` says nothing."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def _include_readme(app, docname: str, source: list[str]) -> None:
    """The front page is the README, its links seen from this folder."""
    if docname == "index":
        readme = (Path(__file__).parent.parent / "README.md").read_text()
        text = readme.split("<!-- intro -->")[1].split("<!-- end -->")[0]
        text = re.sub(r"\[([^]]*)\]\([^)]*/\)", r"`\1`", text)  # a folder is no page
        text = re.sub(r"\]\((configs|experiments)/", r"](../\1/", text).replace("](docs/", "](")
        source[0] = source[0].replace("<!-- readme -->", text)


def setup(app):
    """Register the MathML renderer, and what makes docstrings and README fit."""
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon, at 500
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _include_readme)
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
