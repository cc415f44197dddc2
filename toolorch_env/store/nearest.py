"""The nearest recorded call: what comes closest to a call that was not recorded, and how close that is."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from toolorch_env.core.calls import CanonicalCall, canonical_call
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.signatures import Signature
from toolorch_env.store.compiled import Compiled, ToolTable, compile_records
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.keys import split_key
from toolorch_env.store.snapshot import Snapshot

MIN_SIMILARITY = 0.75
"""Arguments that are less alike are never taken for each other. In [0, 1]: 1 - |a - b| / max(|a|, |b|) for numbers, for
texts the share of characters that stay when one is edited into the other (Indel similarity)."""

_UNKNOWN = -2
_NUMBER, _TEXT, _NESTED, _OTHER = range(4)

Similarity = Callable[[str, list[str]], np.ndarray]
"""Similarity of a text to others, in [0, 1]; 0 below :data:`MIN_SIMILARITY`."""


class Tier(StrEnum):
    """How near a recorded call is to the one that was made, the nearest first."""

    SPELLING = "spelling"
    """Equal once texts are compared without case, accents, surrounding and repeated white space."""
    OPTIONAL = "optional"
    """Equal, in the same sense, once optional parameters are left out of both."""
    CLOSEST = "closest"
    """The same parameters with values that are alike."""


class NearestCalls:
    """Finds the recorded success that is nearest to a call of the same tool in the same state.

    In each tier the call with the most equal arguments is taken, then the one with the most similar ones, then the one
    whose row comes first. Values that a schema spells out (enumerations, booleans) are equal or not, never similar. A
    tool that requires nothing would be all the same once optional parameters are left out: there, no parameter may be
    given with different values for the tier ``optional``.

    Args:
        snapshot: the recorded API. What is needed of a tool's calls is prepared when the first one is looked for.

    Raises:
        ConfigurationError: rapidfuzz is not installed.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._similarity = _text_similarity()
        self._indices: dict[str, _ToolIndex] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"snapshot": self._snapshot}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["snapshot"])  # type: ignore[misc]

    def find(self, call: CanonicalCall) -> tuple[CanonicalCall, Tier] | None:
        """The nearest recorded call in the state of ``call``, and how near it is; ``None`` where none is near enough.

        Args:
            call: a call of a tool of the snapshot, valid and without a recorded response.
        """
        state = self._state_number(call.state)
        if state is None:
            return None
        if call.tool not in self._indices:
            self._indices[call.tool] = self._index(call.tool)
        found = self._indices[call.tool].find(call.arguments, state)
        if found is None:
            return None
        arguments, tier = found
        return canonical_call(call.tool, arguments).within(call.state), tier

    @cached_property
    def _compiled(self) -> Compiled:
        return self._snapshot.compiled or compile_records(self._snapshot.records(), self._snapshot.tools, ())

    def _index(self, tool: str) -> "_ToolIndex":
        signature = self._snapshot.tools.signature(tool)
        return _ToolIndex(self._compiled.tables[tool], self._compiled.values, signature, self._similarity)

    def _state_number(self, state: bytes) -> int | None:
        """The number of a state in the compiled tables, ``None`` if no recorded call led to it."""
        if not state:
            return 0
        for name in self._snapshot.tools.state_changing:
            table = self._compiled.tables[name]
            place = table.find(split_key(state)[0])
            if place is not None and table.after is not None:
                return int(table.after[place])
        return None


class _ToolIndex:
    """The arguments of one tool's recorded successes, prepared for comparison."""

    def __init__(self, table: ToolTable, values: Sequence[Any], signature: Signature, similarity: Similarity) -> None:
        parameters = signature.parameters
        self._names = table.parameters
        self._values = values
        self._arguments = table.arguments
        self._before = table.before
        self._columns = [
            _Column(table.arguments[:, place], values, parameters[name].is_choice, similarity)
            for place, name in enumerate(self._names)
        ]
        self._codes = np.empty(table.arguments.shape, np.int32)
        for place, column in enumerate(self._columns):
            self._codes[:, place] = column.codes
        self._cheapest_first = sorted(range(len(self._columns)), key=lambda place: self._columns[place].text_count)
        self._required = np.array([parameters[n].required and not parameters[n].has_default for n in self._names], bool)
        # where what is required is left out, it was null, which the tables do not tell, or the call is not valid
        self._whole = (self._codes[:, self._required] != ABSENT).all(axis=1)

    def find(self, arguments: Mapping[str, Any], state: int) -> tuple[dict[str, Any], Tier] | None:
        """The arguments of the nearest call that was made in a state."""
        candidates = np.flatnonzero(self._whole & self._made_in(state))
        if not len(candidates):
            return None
        folded = {name: _folded(value) for name, value in arguments.items()}
        for tier, scores in self._tiers(candidates, folded):
            best = int(scores.argmax())  # the first of several
            if scores[best] > 0:
                return self._arguments_of(candidates[best]), tier
        return None

    def _tiers(self, candidates: np.ndarray, folded: Mapping[str, Any]) -> Iterator[tuple[Tier, np.ndarray]]:
        """For each tier how well the candidates fit, 0 where they do not; worked out as it is asked for."""
        columns = zip(self._names, self._columns, strict=True)
        codes = np.array([c.code(folded[name]) if name in folded else ABSENT for name, c in columns], np.int32)
        recorded = self._codes[candidates]
        equal = recorded == codes
        given, passed = recorded != ABSENT, codes != ABSENT
        yield Tier.SPELLING, equal.all(axis=1)
        yield Tier.OPTIONAL, self._without_optional(equal, given & passed)
        yield Tier.CLOSEST, self._alike(recorded, equal, (given == passed).all(axis=1), folded)

    def _made_in(self, state: int) -> np.ndarray:
        if self._before is None:
            return np.full(len(self._codes), state == 0)
        return np.asarray(self._before == state)

    def _without_optional(self, equal: np.ndarray, both_given: np.ndarray) -> np.ndarray:
        fits = equal[:, self._required].all(axis=1)
        if not self._required.any():
            fits = (equal | ~both_given).all(axis=1)
        scores: np.ndarray = fits * (1.0 + equal.sum(axis=1))
        return scores

    def _alike(
        self, recorded: np.ndarray, equal: np.ndarray, same_given: np.ndarray, folded: Mapping[str, Any]
    ) -> np.ndarray:
        scores = np.zeros(len(recorded))
        left = np.flatnonzero(same_given)
        similar = np.zeros(len(left))
        for place in self._cheapest_first:
            if self._names[place] in folded and len(left):
                found = self._columns[place].similarities(folded[self._names[place]], recorded[left, place])
                found[equal[left, place]] = 1.0
                alike = found >= MIN_SIMILARITY
                left, similar = left[alike], (similar + found)[alike]
        scores[left] = 1.0 + equal[left].sum(axis=1) + similar / (1 + len(folded))  # the latter is less than 1
        return scores

    def _arguments_of(self, place: int) -> dict[str, Any]:
        ids = self._arguments[place].tolist()
        return {name: self._values[value] for name, value in zip(self._names, ids, strict=True) if value != ABSENT}


class _Column:
    """The values of one parameter, each spelling once."""

    def __init__(self, ids: np.ndarray, values: Sequence[Any], is_choice: bool, similarity: Similarity) -> None:
        used, places = np.unique(ids, return_inverse=True)
        folded: list[Any] = []
        codes = np.full(len(used), ABSENT, np.int32)
        self._codes: dict[bytes, int] = {}
        for number, value_id in enumerate(used.tolist()):
            if value_id == ABSENT:
                continue
            value = _folded(values[value_id])
            codes[number] = self._codes.setdefault(canonical_json(value), len(self._codes))
            if codes[number] == len(folded):
                folded.append(value)
        self.codes = codes[places]
        self._is_choice = is_choice
        self._similarity = similarity
        self._kinds = np.array([_kind(value) for value in folded], np.int8)
        self._numbers = np.array([float(value) if _kind(value) == _NUMBER else np.nan for value in folded])
        self._texts = [_text(value) for value in folded]
        self.text_count = int((self._kinds != _NUMBER).sum())

    def code(self, folded: Any) -> int:
        """The number of a spelling."""
        return self._codes.get(canonical_json(folded), _UNKNOWN)

    def similarities(self, folded: Any, codes: np.ndarray) -> np.ndarray:
        """How similar a value is to spellings, by their numbers; at most 1, and 0 or less where it is not at all."""
        kind = _kind(folded)
        if self._is_choice or kind == _OTHER:
            return np.zeros(len(codes))
        if kind == _NUMBER:
            found = _number_similarities(float(folded), self._numbers[codes])
        elif len(codes) < len(self._texts):
            found = self._similarity(_text(folded), [self._texts[code] for code in codes.tolist()])
        else:
            found = self._similarity(_text(folded), self._texts)[codes]
        return np.where(self._kinds[codes] == kind, found, 0.0)


def _number_similarities(number: float, others: np.ndarray) -> np.ndarray:
    largest = np.maximum(np.abs(others), abs(number))
    similarities: np.ndarray = 1.0 - np.abs(others - number) / np.where(largest == 0, 1.0, largest)
    return similarities


def _folded(value: Any) -> Any:
    """A value without what is mere spelling; fractions by their fourth decimal."""
    if isinstance(value, str):
        bare = "".join(char for char in unicodedata.normalize("NFKD", value) if not unicodedata.combining(char))
        return " ".join(bare.casefold().split())
    if isinstance(value, dict):
        return {name: _folded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return rounded(value)


def _kind(value: Any) -> int:
    if isinstance(value, (dict, list)):
        return _NESTED
    if isinstance(value, str):
        return _TEXT
    return _OTHER if isinstance(value, bool) or value is None else _NUMBER


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()


def _text_similarity() -> Similarity:
    try:
        from rapidfuzz.distance import Indel
        from rapidfuzz.process import cdist
    except ImportError:
        raise ConfigurationError(
            "on_miss='nearest' compares texts with rapidfuzz: pip install 'toolorch-env[nearest]'"
        ) from None

    def similarity(text: str, others: list[str]) -> np.ndarray:
        scorer = Indel.normalized_similarity
        return np.ravel(cdist([text], others, scorer=scorer, score_cutoff=MIN_SIMILARITY, dtype=np.float64))

    return similarity
