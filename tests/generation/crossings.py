"""Where queries, combinations of literals, solutions and workflows are seen, to find those in two splits."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import blake2b

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.errors import TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.splits import is_held_out

TRACES = 300
"""At most so many traces of each workflow are looked at, evenly over all."""


def traces(generator: WorkflowGenerator, wording: str = "0", most: int = TRACES) -> Iterator[Task]:
    """The tasks of the traces of all workflows, at most so many of each, evenly over all, each in one wording."""
    for workflow, count in generator.counts().items():
        for index in range(min(count, most)):
            try:
                yield generator.task(f"{workflow}/{index * count // min(count, most)}/{index:x}/7/{wording}")
            except TaskError:  # it repeats a call or a value, or belongs to what nobody draws
                continue


def combination(task: Task) -> tuple[bytes, ...]:
    """The values that calls pass from the query, in canonical form and order, fractions rounded."""
    return tuple(
        sorted(
            {
                canonical_json(rounded(value))
                for call in task.reference
                for name, value in call.arguments.items()
                if name not in {binding.parameter for binding in call.bindings}
            }
        )
    )


def digest(data: bytes) -> bytes:
    """What is remembered of it."""
    return blake2b(data, digest_size=16).digest()


class Crossings:
    """Where queries, combinations of literals, solutions and workflows were seen.

    Args:
        solutions: whether solutions may not cross either. It follows from the rest where no workflow takes from a
            response what another one with the same calls has the query say.
    """

    def __init__(self, solutions: bool = True) -> None:
        self._check_solutions = solutions
        self.queries: dict[bytes, str] = {}
        self.combinations: dict[bytes, str] = {}
        self.solutions: dict[bytes, str] = {}
        self.workflows: defaultdict[str, set[str]] = defaultdict(set)
        self.users: defaultdict[bytes, set[str]] = defaultdict(set)

    def add(self, task: Task) -> None:
        """Looks at a task; nothing of it may have been seen in another split."""
        query, literals = digest(task.query.encode()), digest(b"\0".join(combination(task)))
        solution = digest(canonical_json([[call.tool, call.arguments] for call in task.reference]))
        assert self.queries.setdefault(query, task.split) == task.split, task.query
        assert self.combinations.setdefault(literals, task.split) == task.split, task.query
        known = self.solutions.setdefault(solution, task.split)
        assert known == task.split or not self._check_solutions, task.query
        self.workflows[task.workflow].add(task.split)
        self.users[literals].add(task.workflow)

    def check_workflows(self, held_out: Callable[[str], bool] = is_held_out) -> None:
        """Held-out workflows are in ``test_workflows`` and nowhere else, and no other is there."""
        for workflow, splits in self.workflows.items():
            assert ("test_workflows" in splits) == held_out(workflow)
            assert not held_out(workflow) or splits == {"test_workflows"}

    @property
    def shared(self) -> int:
        """Number of combinations that were seen under several workflows."""
        return sum(len(users) > 1 for users in self.users.values())
