"""Queries composed of words for each tool, for any graph of calls and in several styles."""

from collections.abc import Mapping, Sequence

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.draws import Draws
from toolorch_env.generation.constraints import Style
from toolorch_env.generation.described_phrasing import purpose, small
from toolorch_env.generation.phrasing_styles import COMPOSED
from toolorch_env.generation.told_steps import ToldSteps
from toolorch_env.store.grammar import ToolGrammar
from toolorch_env.store.workflows import Workflow, WorkflowStep

VARIANTS = 6
"""A workflow has at most so many composed phrasings of a style."""

Sentences = tuple[str, ...]
"""A phrasing, sentence by sentence; each may have the workflow's literals as ``{slots}``."""


class Phraser:
    """Words workflows in styles.

    Args:
        tools: the tools that are called.
        grammar: words for some of them; the others are said in their own descriptions.
        rewrites: other versions of written phrasings.
    """

    def __init__(
        self,
        tools: ToolSet,
        grammar: Mapping[str, ToolGrammar] | None = None,
        rewrites: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._tools = tools
        self._grammar = dict(grammar or {})
        self._rewrites = rewrites or {}

    def phrasings(self, workflow: Workflow, style: Style) -> tuple[Sentences, ...]:
        """All phrasings of a workflow in a style: at least one, each with every literal; always the same.

        Args:
            workflow: the workflow; its tools are known.
            style: see :class:`toolorch_env.generation.constraints.TaskConstraints`.
        """
        if style == "written":
            return tuple((text,) for text in workflow.phrasings)
        if style == "rewritten":
            return tuple((other,) for text in workflow.phrasings for other in self._rewrites.get(text) or (text,))
        return self.composed(workflow.order, style)

    def composed(self, steps: Sequence[WorkflowStep], style: Style) -> tuple[Sentences, ...]:
        """The phrasings of steps, in an order in which they can be made, in one of the composed styles."""
        draws = Draws.seeded_by("\n".join([style, *(step.model_dump_json() for step in steps)]).encode())
        told = (ToldSteps(steps, self._tools, self.grammar_of, style == "terse", draws) for _ in range(VARIANTS))
        return tuple(dict.fromkeys(tuple(COMPOSED[style](each)) for each in told))

    def grammar_of(self, tool: str) -> ToolGrammar:
        """The grammar of a tool, made of its description where nobody has written one."""
        found = self._grammar.get(tool)
        if found is None:
            found = self._grammar[tool] = ToolGrammar(asks=(small(purpose(self._tools[tool], self._tools)),))
        return found
