"""The random streams of the copies, drawn ahead."""

import numpy as np

_AHEAD = 64


class SeedStreams:
    """A random generator for each copy, of which many numbers are drawn at once.

    The numbers are those that :meth:`toolorch_env.generation.generator.WorkflowGenerator.sample` draws one by one.

    Args:
        count: number of copies.
    """

    def __init__(self, count: int) -> None:
        self._generators = [np.random.default_rng() for _ in range(count)]
        self._before: list[dict[str, object]] = [{} for _ in range(count)]
        self._ahead = np.zeros((count, _AHEAD), np.uint64)
        self._used = np.full(count, _AHEAD)

    def seed(self, copy: int, seed: int) -> None:
        """Begins the stream of a copy anew."""
        self._generators[copy] = np.random.default_rng(seed)
        self._used[copy] = _AHEAD

    def next(self, copies: np.ndarray) -> np.ndarray:
        """The next number of each of these copies, uint64, below 2^63."""
        for copy in copies[self._used[copies] == _AHEAD].tolist():
            generator = self._generators[copy]
            self._before[copy] = dict(generator.bit_generator.state)
            self._ahead[copy] = generator.integers(2**63, size=_AHEAD)
            self._used[copy] = 0
        found: np.ndarray = self._ahead[copies, self._used[copies]]
        self._used[copies] += 1
        return found

    def generator(self, copy: int) -> np.random.Generator:
        """The random generator of a copy, as if no number had been drawn ahead."""
        generator = self._generators[copy]
        if self._used[copy] < _AHEAD:
            generator.bit_generator.state = self._before[copy]
            generator.integers(2**63, size=int(self._used[copy]))
        self._used[copy] = _AHEAD
        return generator

    def take_back(self, copies: np.ndarray) -> None:
        """Lets the next number of these copies be the latest one again."""
        self._used[copies] -= 1
