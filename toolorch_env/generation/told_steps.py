"""The steps of a workflow as clauses, from which sentences are made in any style."""

from collections import Counter
from collections.abc import Callable, Sequence

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.draws import Draws
from toolorch_env.generation.described_phrasing import purpose, select_words, small, words_of
from toolorch_env.store.grammar import ToolGrammar, fill, template_slots
from toolorch_env.store.workflows import Argument, QueryArgument, ResponseArgument, WorkflowStep


class ToldSteps:
    """The steps of one phrasing, each as a clause without a full stop.

    Attributes:
        clauses: for each step in order what is to be done.
        names: for each step, where others take something from its answer and another answer is called the same, what
            tells it from that one; else empty.
        draws: random choices of the wording.
    """

    def __init__(
        self,
        steps: Sequence[WorkflowStep],
        tools: ToolSet,
        grammar_of: Callable[[str], ToolGrammar],
        terse: bool,
        draws: Draws,
    ) -> None:
        self.draws = draws
        self._tools = tools
        self._grammars = [grammar_of(step.tool) for step in steps]
        self._places = {step.id: index for index, step in enumerate(steps)}
        self._terse = terse
        results = [grammar.result for grammar in self._grammars]
        used = {self._places[name] for step in steps for name in step.depends_on}
        marks = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        common = {name for name, count in Counter(results).items() if count > 1 or name == "answer"}
        self.names = [
            f"{name} {next(marks, index + 1)}" if name in common and index in used else ""
            for index, name in enumerate(results)
        ]
        self.clauses = [self._clause(index, step) for index, step in enumerate(steps)]

    def introduced(self, index: int) -> str:
        """A step's clause, with what its answer is called where it has to be told from others."""
        name = self.names[index]
        return f"{self.clauses[index]} (this gives {name})" if name else self.clauses[index]

    def _clause(self, index: int, step: WorkflowStep) -> str:
        grammar, tool = self._grammars[index], self._tools[step.tool]
        fitting = [ask for ask in grammar.asks if template_slots(ask) <= step.arguments.keys()]
        if self._terse and template_slots(grammar.terse or grammar.asks[0]) <= step.arguments.keys():
            fitting = [grammar.terse or grammar.asks[0]]
        ask = self.draws.choose(fitting) if fitting else small(purpose(tool, self._tools))
        words = {name: self._value(argument) for name, argument in step.arguments.items()}
        left_out = [name for name in _literals_first(step) if name not in template_slots(ask)]
        clauses = [fill(grammar.options[name], words) for name in left_out if name in grammar.options]
        named = [f"{words[name]} as {words_of(name)}" for name in left_out if name not in grammar.options]
        said = " ".join([fill(ask, words), *clauses])
        return f"{said}, with {_listed(named)}" if named else said

    def _value(self, argument: Argument) -> str:
        if isinstance(argument, QueryArgument):
            return f"{{{argument.query}}}"
        place = self._places[argument.step]
        result = self.names[place] or f"the {self._grammars[place].result}"
        return _selected(self._grammars[place], argument, result)


def _selected(grammar: ToolGrammar, argument: ResponseArgument, result: str) -> str:
    template = grammar.selections.get(argument.select)
    literals = {name: f"{{{name}}}" for name in argument.values}
    if template is not None and template_slots(template) == {"result", *literals}:
        return fill(template, {"result": result, **literals})
    said = f"{select_words(argument.select)} in {result}"
    where = [f"{slot} for ${name}" for name, slot in literals.items()]
    return f"{said} (with {_listed(where)})" if where else said


def _literals_first(step: WorkflowStep) -> list[str]:
    return sorted(step.arguments, key=lambda name: isinstance(step.arguments[name], ResponseArgument))


def _listed(items: Sequence[str]) -> str:
    """Items as an enumeration in words."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
