"""Conversion of recipes to plain values and back, and changes given as text."""

import ast
import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation import Augmentation
from scn_keras.training.recipe_settings import Callback, Network

# Settings of version 0.1 that are now in the part `image_to_grid`.
MOVED = {
    name: f"image_to_grid.{name}"
    for name in ("grid", "grid_spacing", "normalization", "normalization_limits")
}

# Arguments that networks did not have when recipes of them were stored, with the
# behaviour of that time.
_ADDED_TO_NETWORKS = {"scn_verse2020": {"dropout_last": False}}


def to_plain(part: Any) -> Any:
    """Converts a recipe or a part of it to dicts and plain values."""
    if hasattr(part, "to_dict"):
        return part.to_dict()
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return {f.name: to_plain(getattr(part, f.name)) for f in _fields(part)}
    if isinstance(part, (list, tuple)):
        return type(part)(map(to_plain, part))
    return part


def from_plain(cls: Any, data: Mapping[str, Any], prefix: str = "") -> Any:
    """Creates a recipe or a part of it from the result of `to_plain` or from JSON."""
    if cls is Network:
        return Network(**data)
    hints = _hints(cls)
    data = moved_in(data) if "image_to_grid" in hints else data
    if unknown := sorted(set(data) - set(hints)):
        raise ValueError(
            "The recipe has settings that this version of scn-keras does not support. "
            f"Received: {', '.join(prefix + name for name in unknown)}"
        )
    values = {
        name: coerce(hints[name], value, prefix + name) for name, value in data.items()
    }
    return cls(**values)


def with_stored_networks(data: Mapping[str, Any]) -> dict[str, Any]:
    """Creates the networks of a stored recipe, without importing their modules.

    Networks of earlier versions keep their behaviour.
    """
    data = dict(data)
    network = data.get("network")
    if isinstance(network, Mapping) and ":" in str(network.get("kind")):
        data["network"] = Network.stored(**network)
    # Stored networks have all arguments. Others are written by hand.
    elif isinstance(network, Mapping) and "dropout" in network:
        added = _ADDED_TO_NETWORKS.get(str(network.get("kind")), {})
        data["network"] = {**added, **network}
    if isinstance(coarse := data.get("coarse"), Mapping):
        data["coarse"] = with_stored_networks(coarse)
    return data


def coerced_fields(part: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the values of a recipe or a part of it that `coerce` changes.

    Raises:
        ValueError: If a value has a wrong type.
    """
    hints = _hints(type(part))
    values = {field.name: getattr(part, field.name) for field in _fields(part)}
    coerced = {
        name: coerce(hints[name], value, prefix + name)
        for name, value in values.items()
    }
    return {k: v for k, v in coerced.items() if v is not values[k]}


def stored_form(recipe: Any) -> dict[str, Any]:
    """Returns the content of `recipe.json`, as it is read back.

    Raises:
        ValueError: If JSON cannot represent an argument.
    """
    plain = to_plain(recipe)
    _require_json(plain)
    stored = json.loads(json.dumps(plain))
    read = json.loads(json.dumps(to_plain(type(recipe).from_dict(stored))))
    for name, value in stored.items():
        # As text, in which NaN equals NaN.
        if json.dumps(value) != json.dumps(read[name]):
            raise ValueError(
                f"`{name}` must be the same after it is written to recipe.json and "
                f"read. Received: {name}={value!r}, which is read as {read[name]!r}"
            )
    return stored


def _require_json(value, key="", kind=None):
    """Validates that a setting is a plain value; `kind` is that of its network."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return
    if isinstance(value, (list, tuple)):
        for item in value:
            _require_json(item, key, kind)
        return
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        for name, item in value.items():
            inner = item.get("kind") if _is_network(name, item) else kind
            _require_json(item, f"{key}.{name}" if key else name, inner)
        return
    label = f"The setting `{key}`"
    if kind is not None:
        label = f"The argument `{key.rpartition('.')[2]}` of {kind}"
    raise ValueError(
        f"{label} must be a number, string, Boolean, None or a list of them, so that "
        f"recipe.json can contain it. Received: {key}={value!r}"
    )


def _is_network(name, value):
    return name == "network" and isinstance(value, dict)


def moved_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a recipe, with moved settings in their present parts.

    A part may be a mapping or an instance of its class.
    """
    data = dict(data)
    for old, path in MOVED.items():
        if old not in data:
            continue
        part, _, name = path.partition(".")
        value = data.pop(old)
        current = data.get(part, {})
        if isinstance(current, Mapping):
            data[part] = {**current, name: value}
        else:
            data[part] = dataclasses.replace(current, **{name: value})
    return data


def changed(part: Any, changes: Sequence[tuple[list[str], Any, str]]) -> Any:
    """Returns a recipe or part with values replaced.

    All changes are applied before the values are validated, so that values which depend
    on each other can be given in any order.

    Args:
        part: Dataclass or `Network`.
        changes: Sequence of `(path, value, key)`, where the key is for messages.
    """
    known = _known(part)
    whole: dict[str, Any] = {}
    inner: dict[str, list[tuple[list[str], Any, str]]] = {}
    for (name, *rest), value, key in changes:
        if name not in known and not isinstance(part, Network):
            raise ValueError(
                f"The recipe has no setting `{key}`. Expected one of: "
                f"{', '.join(known)}. Received: {key}={value!r}"
            )
        if rest:
            inner.setdefault(name, []).append((rest, value, key))
        else:
            whole[name] = _coerced(part, name, value, key)
            inner.pop(name, None)
    for name, inner_changes in inner.items():
        current = whole.get(name, known.get(name))
        if isinstance(current, dict):
            whole[name] = _dict_changed(current, inner_changes)
        elif dataclasses.is_dataclass(current):
            whole[name] = changed(current, inner_changes)
        else:
            raise ValueError(
                f"The setting `{name}` of the recipe has no parts. Received: "
                f"{inner_changes[0][2]}={inner_changes[0][1]!r}"
            )
    if isinstance(part, Network):
        return part.replaced(**whole)
    return dataclasses.replace(part, **whole)


def differences(base: Any, part: Any, prefix: str = "") -> list[str]:
    """Returns the changes `key=value` that turn the recipe `base` into `part`."""
    settings: list[str] = []
    before = _known(base)
    for name, new in _known(part).items():
        old, key = before.get(name), prefix + name
        if old == new:
            continue
        if _same_parts(old, new):
            settings += differences(old, new, f"{key}.")
            continue
        plain = to_plain(new)
        text = plain if isinstance(plain, str) and value_of(plain) == plain else None
        settings.append(f"{key}={text or repr(plain)}")
    return settings


def value_of(text: str) -> Any:
    """Parses a Python literal; any other text is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def coerce(annotation: Any, value: Any, key: str) -> Any:
    """Converts a value to an annotated type if no information is lost.

    Raises:
        ValueError: If the value has another type.
    """
    union = isinstance(annotation, types.UnionType)
    choices = typing.get_args(annotation) if union else (annotation,)
    for choice in choices:
        matches, result = _as_type(choice, value, key)
        if matches:
            return result
    names = " or ".join(getattr(c, "__name__", str(c)) for c in choices)
    raise ValueError(
        f"`{key}` must be of type {names}{_example(choices, value, key)}. "
        f"Received: {key}={value!r}"
    )


def _example(choices, value, key):
    """Returns an example of a valid setting, for types that are difficult to write."""
    for choice in choices:
        if typing.get_origin(choice) is dict:
            return f", for example --set {key}.NAME=VALUE"
        if typing.get_origin(choice) is tuple:
            numbers = {int: "96,80", float: "0.5,0.5"}.get(typing.get_args(choice)[0])
            return f", for example --set {key}={numbers}" if numbers else ""
        if choice is Network:
            return f", for example --set {key}.filters=64"
        if isinstance(choice, type) and dataclasses.is_dataclass(choice):
            field = _fields(choice)[0].name
            example = value if isinstance(value, str) else "VALUE"
            return f", for example --set {key}.{field}={example}"
    return ""


def _as_type(choice, value, key):
    """Returns whether a value matches a type, and the converted value."""
    if choice is Any:
        return True, value
    if dataclasses.is_dataclass(choice) and isinstance(choice, type):
        return _as_part(choice, value, key)
    if typing.get_origin(choice) is tuple:
        return _as_tuple(typing.get_args(choice), value, key)
    if typing.get_origin(choice) is dict:
        matches = isinstance(value, Mapping)
        return matches, dict(value) if matches else value
    if isinstance(value, bool) and choice is not bool:
        return False, value
    if choice is float:
        matches = isinstance(value, (int, float))
        return matches, float(value) if matches else value
    return isinstance(value, choice), value


def _as_part(choice, value, key):
    """Returns whether a value is a part of a recipe, and the part."""
    if isinstance(value, choice):
        if choice in (Network, Augmentation) or choice.__name__ == "Recipe":
            return True, value  # validated by their constructors
        changes = coerced_fields(value, f"{key}.")
        return True, dataclasses.replace(value, **changes) if changes else value
    if isinstance(value, Mapping):
        if choice is Callback:
            return True, _callback_of(value, key)
        if choice is Augmentation and "name" in value:
            return True, Augmentation.from_list([value])
        return True, from_plain(choice, value, f"{key}.")
    if choice is Network and isinstance(value, str):
        return True, Network(value)
    if choice is Callback and value is not None:
        return True, Callback(value)
    if choice is Augmentation and value is not None:
        many = isinstance(value, (list, tuple))
        return True, Augmentation.from_list(value if many else [value])
    return False, value


def _callback_of(value, key):
    if set(value) - {"name", "arguments"} or "name" not in value:
        raise ValueError(
            f"`{key}` must have the form {{'name': ..., 'arguments': {{...}}}}. "
            f"Received: {key}={dict(value)!r}"
        )
    arguments = coerce(dict[str, Any], value.get("arguments", {}), f"{key}.arguments")
    return Callback(value["name"], arguments)


def _as_tuple(items, value, key):
    if items[0] is Callback and not isinstance(value, (list, tuple)):
        value = [] if value is None else [value]
    if not isinstance(value, (list, tuple)):
        return False, value
    if items[-1] is Ellipsis:
        return True, tuple(coerce(items[0], v, key) for v in value)
    if len(value) != len(items):
        return False, value
    pairs = zip(items, value, strict=True)
    return True, tuple(coerce(item, v, key) for item, v in pairs)


def _coerced(part, name, value, key):
    if isinstance(part, Network):
        return value
    return coerce(_hints(type(part))[name], value, key)


def _dict_changed(current, changes):
    current = dict(current)
    for path, value, key in changes:
        if len(path) > 1:
            raise ValueError(
                f"The recipe has no setting `{key}`. Received: {key}={value!r}"
            )
        current[path[0]] = value
    return current


def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _fields(part):
    return dataclasses.fields(part)


def _known(part):
    if isinstance(part, Network):
        return part.to_dict()
    return {field.name: getattr(part, field.name) for field in _fields(part)}


def _same_parts(old, new):
    """Returns whether two values are parts of one type with the same settings."""
    if not dataclasses.is_dataclass(new) or type(old) is not type(new):
        return False
    # Networks of different kinds have different arguments and are replaced as a whole.
    return getattr(old, "kind", None) == getattr(new, "kind", None)
