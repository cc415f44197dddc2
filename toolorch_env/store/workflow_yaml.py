"""Writing workflow files."""

from typing import Any

import yaml

from toolorch_env.store.workflows import WorkflowSet

_NUMBER_STARTS = tuple("+-.0123456789")


class _Flow(dict[str, Any]):
    """An object that is written on one line."""


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML loses unusual line breaks where it does not escape them, and does not know all numbers of YAML 1.2
    plain = text.replace("\n", " ").isprintable() and not text.startswith(_NUMBER_STARTS)
    return writer.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


_Writer.add_representer(str, _text)
_Writer.add_representer(
    _Flow, lambda writer, data: writer.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def workflows_to_yaml(workflows: WorkflowSet) -> str:
    """Workflows as the text of a workflow file, defaults left out.

    :func:`toolorch_env.store.workflows.load_workflows` reads the same workflows from it.
    """
    document = workflows.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for workflow in document["workflows"]:
        if "literals" in workflow:
            workflow["literals"] = _Flow(workflow["literals"])
        for step in workflow["steps"]:
            if "arguments" in step:
                step["arguments"] = {name: _Flow(source) for name, source in step["arguments"].items()}
    return yaml.dump(document, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120)
