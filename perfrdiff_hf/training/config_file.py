"""From a YAML file to dataclasses, with every unknown key refused, values converted, and a guess at what was meant."""

from __future__ import annotations

import dataclasses
import difflib
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml


Settings = TypeVar("Settings")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The keys and values of a file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, or holds no keys.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config: there is no file {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"config: {path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"config: {path} must hold keys and values; it holds a {type(values).__name__}.")
    return values


def override(values: dict[str, Any], name: str, text: str) -> None:
    """Set the value of a dotted name.

    Args:
        values: nested dictionaries, which are changed.
        name: such as `"stages.denoiser.max_steps"`.
        text: the value in YAML.

    Raises:
        ValueError: if a part of the name is a single value, or the text is not YAML.
    """
    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ValueError(f"Configuration: {name}: {parent} is a single value; it has no keys.")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"Configuration: {name}: {text!r} is not valid YAML: {error}") from None


def build(kind: type[Settings], values: Any, where: str = "") -> Settings:
    """A dataclass from nested dictionaries.

    Args:
        kind: the dataclass; its type hints say what its values are.
        values: a dictionary.
        where: the dotted name of its place, for messages.

    Raises:
        ValueError: if a key is unknown, a required one missing, or a value impossible.
    """
    if not isinstance(values, dict):
        raise ValueError(f"Configuration: {where} must hold keys and values; it is {values!r}.")
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"Configuration: unknown key {_dotted(where, name)}.{meant} Known keys: {', '.join(sorted(hints))}."
            )
    arguments = {name: _convert(hints[name], value, _dotted(where, name)) for name, value in values.items()}
    fields: Any = dataclasses.fields(kind)  # type: ignore[arg-type]
    required = [item.name for item in fields if _is_required(item) and item.name not in arguments]
    if required:
        raise ValueError(f"Configuration: missing {', '.join(_dotted(where, name) for name in required)}.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ValueError(f"Configuration: {where or 'top level'}: {error}") from None


def plain(value: Any) -> Any:
    """A value as dictionaries, lists, numbers and text, which JSON and YAML can hold."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _is_required(item: dataclasses.Field) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _dotted(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that `hint` asks for; YAML reads 1e-4 as text, and an int may stand for a float."""
    origin, options = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(options[0], value, where)
    if origin is Literal:
        if value is False and "no" in options:  # YAML reads a bare `no` as false
            value = "no"
        if value not in options:
            raise ValueError(f"Configuration: {where} must be one of {', '.join(options)}; given: {value!r}.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(options):
            raise ValueError(f"Configuration: {where} must be a list of {len(options)} values; given: {value!r}.")
        return tuple(_convert(option, item, where) for option, item in zip(options, value))
    if origin is dict:
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"Configuration: {where} must hold keys and values; given: {value!r}.")
        return {str(name): _convert(options[1], item, _dotted(where, name)) for name, item in (value or {}).items()}
    return value if hint is Any else _scalar(hint, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"Configuration: {where} must be {kind.__name__}; given: {value!r}.")
