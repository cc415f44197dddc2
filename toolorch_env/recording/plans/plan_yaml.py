"""Writing recording plans as a person would."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from toolorch_env.recording.plans.plan import (
    Constant,
    CrawledValues,
    ForEach,
    ListedValues,
    Plan,
    RangeValues,
    Request,
    ValueSource,
)


class _Flow(dict[str, Any]):
    """An object that is written on one line."""


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Writer.add_representer(
    _Flow, lambda writer, data: writer.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML loses unusual line breaks where it does not escape them
    style = None if text.replace("\n", " ").isprintable() else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style)


_Writer.add_representer(str, _text)


def plan_to_yaml(plan: Plan) -> str:
    """The plan as YAML, in short forms and without defaults; :func:`parse_plan` makes the same plan of it.

    The folder of the plan is not written: put the text where the files are that it names.
    """
    document = {name: _written(name, value) for name, value in plan if name in Plan.model_fields and name != "folder"}
    plain = {name: value for name, value in document.items() if getattr(plan, name) != Plan.model_fields[name].default}
    return yaml.dump(plain, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120)


def _written(name: str, value: Any) -> Any:
    if name == "values":
        return {key: _source(source) for key, source in value.items()}
    if name == "requests":
        return [_request(request) for request in value]
    if name == "workflows" and value is not None:
        return _set_fields(value, literals={kind: _source(source) for kind, source in value.literals.items()})
    return sorted(value) if isinstance(value, frozenset) else value


def _request(request: Request) -> dict[str, Any]:
    arguments = {name: _argument(source) for name, source in request.arguments.items()}
    written = _set_fields(request, arguments=arguments, for_each=_for_each(request.for_each))
    return _Flow(written) if written.keys() <= {"tool", "refusals", "sample"} else written


def _for_each(each: ForEach | None) -> dict[str, Any] | None:
    return None if each is None else _Flow({"from": each.source, **_set_fields(each, source=None)})


def _argument(source: ValueSource) -> Any:
    """A source as it stands in a request, where a scalar stands for itself."""
    if isinstance(source, Constant) and isinstance(source.value, (str, int, float, bool, date)):
        return source.value
    return _source(source)


def _source(source: ValueSource) -> dict[str, Any]:
    if isinstance(source, Constant):
        return _Flow(value=source.value)
    if isinstance(source, ListedValues):
        return _Flow(values=source.values if isinstance(source.values, str) else list(source.values))
    if isinstance(source, RangeValues):
        return _Flow(range=_set_fields(source.range))
    if isinstance(source, CrawledValues):
        return _Flow({"from": source.source, "select": source.select})
    return _Flow(_set_fields(source))


def _set_fields(model: Any, **written: Any) -> dict[str, Any]:
    """The fields of a model that are not at their defaults, with some of them in written form."""
    fields: Mapping[str, Any] = type(model).model_fields
    values = {name: getattr(model, name) for name in fields if getattr(model, name) != fields[name].default}
    return {name: written.get(name, value) for name, value in values.items() if written.get(name, value) is not None}
