"""Partial credit: how near a single call comes to a reference call."""

from dataclasses import dataclass

from toolorch_env.core.calls import CanonicalCall
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.progress import Reference
from toolorch_env.core.responses import Response
from toolorch_env.rewards.formulas import atomic_score, share


@dataclass(frozen=True, slots=True)
class AtomicWeights:
    """Weights of the parts of the atomic score; they add up to 1.

    Attributes:
        name: the right tool.
        structure: the right parameters, with values that fit their schema.
        values: equal values.
        execution: the API answered with success, in the state that the reference call is made in.
    """

    name: float = 0.2
    structure: float = 0.2
    values: float = 0.4
    execution: float = 0.2

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """The weights in this order."""
        return self.name, self.structure, self.values, self.execution

    def __post_init__(self) -> None:
        parts = self.parts
        if not (min(parts) >= 0 and abs(sum(parts) - 1) <= 1e-12):  # NaN fails both
            raise ConfigurationError(f"atomic weights must not be negative and must add up to 1, got {parts}")


@dataclass(frozen=True, slots=True)
class Credit:
    """The parts of an atomic score, each in [0, 1]; without the name, which is 0 or 1, all are 0."""

    name: float
    structure: float
    values: float
    execution: float

    def total(self, weights: AtomicWeights) -> float:
        """The atomic score, in [0, 1]."""
        if not self.name:
            return 0.0
        return atomic_score(weights.parts, self.structure, self.values, self.execution)


FULL = Credit(1.0, 1.0, 1.0, 1.0)
NONE = Credit(0.0, 0.0, 0.0, 0.0)


def atomic_credit(reference: Reference, step: int, call: CanonicalCall, response: Response) -> Credit:
    """The parts of ``atomic(call, step)`` for a call of the step's tool that is not equivalent to it.

    With P the parameters that are not at their default::

        structure = |P_call n P_ref| / |P_call u P_ref| * share of the shared ones whose value fits its schema
        values    = share of the reference's parameters whose value is equal (fractions by their fourth decimal)
    """
    wanted = reference.calls[step]
    if wanted.tool != call.tool:
        return NONE
    shared = wanted.arguments.keys() & call.arguments.keys()
    every = wanted.arguments.keys() | call.arguments.keys()
    parameters = reference.tools.signature(call.tool).parameters
    fitting = sum(name not in parameters or parameters[name].fits(call.arguments[name]) for name in shared)
    equal = sum(same_value(call.arguments[name], wanted.arguments[name]) for name in shared)
    return Credit(
        name=1.0,
        structure=share(fitting, len(every)),  # |shared| / |every| * fitting / |shared|
        values=share(equal, len(wanted.arguments)),
        execution=float(response.success and call.state == wanted.state),
    )


def same_value(left: object, right: object) -> bool:
    """Whether two canonical values are equal, fractions by their fourth decimal."""
    if type(left) is str or type(right) is str:
        return left == right
    return canonical_json(rounded(left)) == canonical_json(rounded(right))
