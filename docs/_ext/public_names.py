"""The directive ``public``: entries of the names in a package's ``__all__``, from their docstrings.

A name that the package shares with one described before, such as ``trifolium.models.DDQN``, gets a line
that links to that entry. So every public name has a place in the reference, and one description.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pydoc import locate
from typing import Any, ClassVar, Generic, Protocol, get_origin

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import desc_annotation
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from trifolium._options import NamedOptions

PACKAGES = (  # a name that several have is described in the first of them
    "trifolium",
    "trifolium.replay",
    "trifolium.models",
    "trifolium.agents",
    "trifolium.worlds",
    "trifolium.experiment",
    "trifolium.experiment.kinds",
    "trifolium.distributed",
    "trifolium.testing",
    "trifolium_numpy",
    "trifolium_torch",
    "trifolium_jax",
)
LOGGER = logging.getLogger(__name__)
STAR = re.compile(r"``.+?``|>>>.*|^ *\.\.\. .*|(?:(?<=\S )|(?<=[\[(]))\*{1,2}(?=\w)", re.MULTILINE)
PAGE = re.compile(r"\bdocs/([\w/]+)\.md")
CONTINUED = re.compile(r"^( +\w[\w, ]*,)\n +(\w[\w, ]*(?:,$|: ))", re.MULTILINE)


def public_names(package: str) -> list[str]:
    """Return the names in the ``__all__`` of a package."""
    return list(import_module(package).__all__)


def home_of(package: str, name: str) -> str:
    """Return the package in which the object is described, which is the first that has it."""
    found = getattr(import_module(package), name)
    if inspect.isclass(found) or inspect.isroutine(found):
        for other in PACKAGES:
            if name in public_names(other) and getattr(import_module(other), name) is found:
                return other
    return package


class Public(SphinxDirective):
    """``{public} trifolium.replay``: its names, or those that are given after ``:names:``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"names": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the nodes of all entries."""
        package = self.arguments[0]
        names = self.options.get("names", "").split() or public_names(package)
        own = [name for name in names if home_of(package, name) == package]
        shared = [name for name in names if name not in own]
        lines = ["```{eval-rst}", f".. currentmodule:: {package}", ""]
        for name in own:
            lines += entry(package, name)
        for name in shared:
            lines += [f".. py:{kind_of(package, name)}:: {name}", "   :no-typesetting:", ""]
        lines += ["```", *links(package, shared)]
        return self.parse_text_to_nodes("\n".join(lines))


def kind_of(package: str, name: str) -> str:
    """Return what Sphinx calls an object of this kind."""
    found = getattr(import_module(package), name)
    if inspect.isclass(found):
        return "exception" if issubclass(found, BaseException) else "class"
    return "function" if inspect.isroutine(found) else "data"


def entry(package: str, name: str) -> Iterator[str]:
    """Yield the lines of a directive of autodoc."""
    kind = kind_of(package, name)
    yield f".. auto{kind}:: {package}.{name}"
    if kind in ("class", "exception") and public_bases(getattr(import_module(package), name)):
        yield "   :show-inheritance:"
    if kind == "class":
        yield "   :members:"
    yield ""


def public_bases(cls: type) -> list[type]:
    """Return the bases of a class that a reader should know of, with their type parameters."""
    bases = vars(cls).get("__orig_bases__", cls.__bases__)
    hidden = (object, Protocol, Generic, NamedOptions)
    return [base for base in bases if (get_origin(base) or base) not in hidden]


def hide_bases(_app: Sphinx, _name: str, cls: type, _options: Any, bases: list[type]) -> None:
    """Leave the bases out that no reader should know of."""
    bases[:] = [base for base in bases if base in public_bases(cls)]


def links(package: str, names: list[str]) -> Iterator[str]:
    """Yield the lines of a list of names that are described elsewhere."""
    if names:
        yield f"`{package}` also has, described where they are first:"
        each = (f"{{py:obj}}`{name} <{home_of(package, name)}.{name}>`" for name in names)
        yield f"{', '.join(each)}."


def prepare(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Change a docstring so that Sphinx reads it as people do.

    Stars of shapes such as ``[B, *obs_shape]`` are no emphasis. A list of arguments may take several
    lines. Pages of docs/ that are named become links.
    """
    text = CONTINUED.sub(r"\1 \2", "\n".join(lines))
    text = PAGE.sub(r":doc:`/\1`", text)
    lines[:] = STAR.sub(escaped, text).split("\n")


def keep(app: Sphinx, what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to properties: it takes the words before a colon for a type."""
    kept = vars(app).setdefault("docstrings", {})
    if what in ("property", "attribute", "data"):
        if name in kept:
            lines[:] = kept.pop(name)
        else:
            kept[name] = list(lines)


def escaped(match: re.Match[str]) -> str:
    """Return stars with backslashes, and code as it is."""
    return match[0] if match[0].strip("*") else match[0].replace("*", r"\*")


def check(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every public name that has no place in the reference."""
    described = {name for name, *_ in env.domains.python_domain.get_objects()}
    for package in PACKAGES:
        for name in public_names(package):
            if f"{package}.{name}" not in described:
                LOGGER.warning("%s.%s is in __all__, but not in the reference", package, name)


def without_entry(
    _app: Sphinx, _env: BuildEnvironment, node: nodes.Element, text: nodes.Element
) -> nodes.Element | None:
    """Return the text of a reference to a name of trifolium that exists, but has no entry.

    Signatures name types that are not public. A name that does not exist stays a warning.
    """
    target = str(node.get("reftarget"))
    if node.get("refdomain") != "py" or not target.startswith("trifolium"):
        return None
    return text if locate(target) is not None else None


def hide_modules(_app: Sphinx, _domain: str, kind: str, content: nodes.Element) -> None:
    """Leave out values of attributes that are modules: their text has a path of this machine."""
    if kind == "attribute" and isinstance(content.parent, nodes.Element):
        for value in list(content.parent.findall(desc_annotation)):
            if "<module " in value.astext():
                value.parent.remove(value)


def scroll_figures(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Put each figure into a box of its own, which narrow pages scroll."""
    for image in list(doctree.findall(nodes.image)):
        if "/figures/" in image["uri"] or image["uri"].startswith("figures/"):
            shown = [each for each in image["classes"] if each.startswith("only-")]
            box = nodes.container(classes=["figure-scroll", *shown])
            image.replace_self(box)
            box += image


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("public", Public)
    del NamedOptions.__new__  # else autodoc takes its signature, not that of __init__
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("doctree-resolved", scroll_figures)
    app.connect("missing-reference", without_entry)
    app.connect("env-check-consistency", check)
    app.connect("object-description-transform", hide_modules)
    app.connect("autodoc-process-bases", hide_bases)
    for priority, change in ((400, prepare), (450, keep), (550, keep)):  # napoleon's is 500
        app.connect("autodoc-process-docstring", change, priority=priority)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
