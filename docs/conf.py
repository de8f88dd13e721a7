"""The site of the documentation; `make docs` builds it into build/docs."""

import inspect
import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext import napoleon
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.inspect import stringify_signature

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]  # generated.py, and tfseg itself
os.environ["COLUMNS"] = "100"  # of the usage lines
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}  # it says less

import generated  # noqa: E402

from tfseg import __version__  # noqa: E402
from tfseg.config.settings import SETTINGS  # noqa: E402
from tfseg.io import command  # noqa: E402

command.FRONT = "tfseg "  # how help calls the commands

project = "tfseg"
author = "The tfseg authors"
copyright = "The tfseg authors, Apache License 2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_inherit_docstrings = False  # those of Keras are not reStructuredText
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# Docstrings are Google's, and have names in single backticks.
default_role = "code"

nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages, and tfseg's private ones

html_theme = "furo"
html_title = f"tfseg {version}"
html_copy_source = False
html_show_sphinx = False


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts what comes from the code into a page."""
    source[0] = generated.fill(source[0])


class NoPages(SphinxPostTransform):
    """Leaves of links to what the site has not, folders and the files beside README.md, their text alone."""

    default_priority = 5  # before MyST looks for their targets

    def run(self, **kwargs) -> None:
        for link in list(self.document.findall(pending_xref)):
            if link["reftype"] == "myst" and is_no_page(link["refdoc"], link["reftarget"]):
                link.replace_self(link.children or nodes.Text(link["reftarget"]))


def is_no_page(page: str, target: str) -> bool:
    """Whether a link of a page leads to a folder, or from an included file of the root to another one there."""
    if page in ("changelog", "contributing") and (ROOT / target).exists():
        return True
    return (HERE / page).parent.joinpath(target).is_dir()


class Settings(SphinxTransform):
    """Leads from each setting that a page names, such as `data.size`, to what the reference says of it."""

    default_priority = 400

    def apply(self, **kwargs) -> None:
        if self.env.docname == "reference/settings":
            return
        for literal in list(self.document.findall(nodes.literal)):
            name, inside = literal.astext(), literal.parent
            if "." in name and name in SETTINGS and not isinstance(inside, nodes.reference | pending_xref):
                options = {"refdomain": "std", "reftype": "confval", "reftarget": name, "refdoc": self.env.docname}
                link = pending_xref("", refexplicit=True, refwarn=True, **options)
                literal.replace_self(link)
                link += literal


class PlainDocstring(GoogleDocstring):
    """Reads docstrings of attributes like all others: they have sections, and no type before a colon."""

    def _parse(self) -> None:
        if self._what in ("attribute", "property"):
            self._what = "method"
        super()._parse()


def own_signature(app: Sphinx, what: str, name: str, value: object, *rest: object) -> tuple[str, None] | None:
    """Gives classes the signature of their own `__init__`; autodoc sees Keras' `__new__(*args, **kwargs)`."""
    if what != "class" or "__init__" not in vars(value):
        return None
    _, *others = inspect.signature(value.__init__).parameters.values()
    return stringify_signature(inspect.Signature(others), show_annotation=False), None


def escape(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Keeps |x|, the size of x in a docstring, from being taken for a substitution of reStructuredText."""
    lines[:] = [re.sub(r"\|(?=[^\s|][^|]*\|)", r"\\|", line) for line in lines]


def setup(app: Sphinx) -> None:
    napoleon.GoogleDocstring = PlainDocstring
    app.connect("autodoc-process-signature", own_signature)
    app.connect("autodoc-process-docstring", escape)
    app.connect("source-read", fill_in)
    app.add_post_transform(NoPages)
    app.add_transform(Settings)
