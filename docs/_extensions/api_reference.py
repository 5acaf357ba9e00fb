"""The directive `api-reference`, which documents the public names of a module.

Also turns every literal that is the name of a public object into a link to it.
"""

import dataclasses
import enum
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from . import docstrings
from .public_names import PublicName, paths_by_text, public_names

# What Keras calls; the methods that a user calls have a text of their own.
_KERAS_METHODS = {
    *("build", "call", "compute_mask", "compute_output_shape", "compute_output_spec"),
    *("get_config", "from_config", "get_build_config", "build_from_config"),
    *("compute_loss", "compute_metrics", "train_step", "test_step", "predict_step"),
    *("update_state", "result", "reset_state", "metrics"),
}


class ApiReference(SphinxDirective):
    """Documents the public names of a module, with a table of them first."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        entries = [entry for entry in public_names() if entry.module == module]
        if not entries:
            raise self.error(f"{module} has no public names.")
        text = "\n\n".join([_table(entries), *map(_object, entries)])
        parsed = self.parse_text_to_nodes(text, allow_section_headings=True)
        for root in parsed:
            for signature in root.findall(addnodes.desc_signature):
                _add_back_link_ids(signature)
        return parsed


def _add_back_link_ids(signature: addnodes.desc_signature) -> None:
    """Adds the anchors to which the source pages of `viewcode` link.

    It expects all names of a source file to be documented in one module.
    """
    name, module = signature["fullname"], signature["module"]
    sources = {
        entry.path: getattr(entry.value, "__module__", "") for entry in public_names()
    }
    source = sources.get(f"{module}.{name.partition('.')[0]}")
    for entry in public_names():
        other = f"{entry.module}.{name}"
        if sources[entry.path] == source and other not in signature["ids"]:
            signature["ids"].append(other)


class LinkNames(SphinxTransform):
    """Makes links of literals that are names of public objects."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        paths = paths_by_text()
        is_reference = self.env.docname.startswith("api/")
        for node in list(self.document.findall(nodes.literal)):
            text = node.astext().removesuffix("()")
            path = paths.get(text)
            if path is None or isinstance(node.parent, nodes.reference):
                continue
            # In prose, `fit` or `export` is mostly the command or a method of Keras.
            if text.isalpha() and text.islower() and not is_reference:
                continue
            if isinstance(node.parent, addnodes.pending_xref | nodes.title):
                continue
            reference = addnodes.pending_xref(
                "",
                refdomain="py",
                reftype="obj",
                reftarget=path,
                refexplicit=True,
                refwarn=True,
                refdoc=self.env.docname,
            )
            node.replace_self(reference)
            reference += node


def _table(entries: list[PublicName]) -> str:
    rows = [
        f"| {{py:obj}}`{entry.name} <{entry.path}>` | {_summary(entry.value)} |"
        for entry in sorted(entries, key=lambda entry: entry.name.lower())
    ]
    return "\n".join(["| name | |", "|---|---|", *rows])


def _summary(value: Any) -> str:
    if inspect.isclass(value) or inspect.isroutine(value):
        return docstrings.first_sentence(inspect.getdoc(value) or "")
    return "Constant."


def _object(entry: PublicName) -> str:
    value = entry.value
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        body = docstrings.to_myst(inspect.getdoc(value) or "")
        members = [_member(entry, name, m) for name, m in _members(value)]
        signature = "" if issubclass(value, enum.Enum) else _signature(value)
        return _directive(kind, entry, entry.name + signature, body, members)
    if callable(value):
        body = docstrings.to_myst(inspect.getdoc(value) or "")
        return _directive("function", entry, entry.name + _signature(value), body)
    text = repr(value)
    body = f"Value: `{text}`\n" if len(text) < 400 else f"A {type(value).__name__}.\n"
    return _directive("data", entry, entry.name, body)


def _members(value: type) -> list[tuple[str, Any]]:
    """Returns the methods and properties of a class that have a docstring."""
    names = [
        name
        for cls in value.__mro__
        if cls.__module__.startswith("scn_keras")
        for name in vars(cls)
    ]
    members = []
    for name in dict.fromkeys(names):
        member = inspect.getattr_static(value, name)
        function = getattr(member, "fget", getattr(member, "__func__", member))
        is_method = inspect.isfunction(function)
        if name.startswith("_") or name in _KERAS_METHODS or not is_method:
            continue
        if function.__doc__:
            members.append((name, member))
    return members


def _member(entry: PublicName, name: str, member: Any) -> str:
    function = getattr(member, "fget", getattr(member, "__func__", member))
    kind, signature, option = "method", "", ""
    if isinstance(member, property):
        kind = "property"
    else:
        option = {classmethod: ":classmethod:\n", staticmethod: ":staticmethod:\n"}.get(
            type(member), ""
        )
        signature = _signature(getattr(entry.value, name), member=True, option=option)
    body = docstrings.to_myst(inspect.cleandoc(function.__doc__ or ""))
    head = f"{entry.name}.{name}{signature}"
    return _directive(kind, entry, head, option + "\n" + body, fence=":" * 4)


def _directive(
    kind: str,
    entry: PublicName,
    head: str,
    body: str,
    members: list[str] | None = None,
    fence: str = ":" * 6,
) -> str:
    inner = "\n\n".join([body, *(members or [])])
    return f"{fence}{{py:{kind}}} {head}\n:module: {entry.module}\n{inner}\n{fence}"


def _signature(value: Any, member: bool = False, option: str = "") -> str:
    """Returns the signature on one line, with types of the package by their paths."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = list(signature.parameters.values())
    if member and not option and parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    parameters = [
        p.replace(
            annotation=_as_text(p.annotation),
            default=p.empty if p.default is p.empty else _Text(_default(p.default)),
        )
        for p in parameters
    ]
    result = _as_text(signature.return_annotation)
    text = str(signature.replace(parameters=parameters, return_annotation=result))
    if inspect.isclass(value):
        text = text.partition(" -> ")[0]
    return _short_types(text)


def _as_text(annotation: Any) -> Any:
    """Returns an annotation that is printed without quotes."""
    return _Text(annotation) if isinstance(annotation, str) else annotation


class _Text:
    """A default value that is printed as a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}()"
    text = repr(value)
    return "..." if text.startswith("<") else text


def _short_types(text: str) -> str:
    """Writes types of the package by their public path and others by their names."""
    text = text.replace("'", '"') if '"' not in text else text

    def shorten(match: re.Match) -> str:
        path = match[0]
        name = path.rpartition(".")[2]
        return paths_by_text().get(name, name) if "scn_keras" in path else name

    return re.sub(r"\b[a-z_]\w*(?:\.\w+)+\b", shorten, text)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("api-reference", ApiReference)
    app.add_transform(LinkNames)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
