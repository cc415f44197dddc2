"""YAML as its version 1.2 has it: ``NO`` is a text and not false, and so are ``12:30`` and dates."""

import re
from typing import Any, ClassVar

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", "[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read_yaml(text: str | bytes) -> Any:
    """The value in a YAML text.

    Raises:
        yaml.YAMLError: it is not valid.
        UnicodeDecodeError: it is not UTF-8.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506  derived from the safe loader
