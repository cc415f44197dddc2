"""Training ``MaskablePPO`` on ``ToolOrch-v0``, and models that say what they were trained for."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.version import VERSION
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.integrations.sb3 import ToolOrchVecEnv, make_vec_env
from toolorch_env.integrations.sb3_networks import ToolCallPolicy

CARD = "toolorch.json"
"""Member of a model's file that says what it was trained for."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of ``MaskablePPO`` and its network. What they give is in docs/results.md.

    Attributes:
        num_envs: copies of the environment.
        n_steps: steps of each copy between updates.
        batch_size, n_epochs: of the updates.
        learning_rate: at the beginning; it falls linearly to a tenth.
        gamma, gae_lambda: discounts of rewards and of advantages.
        ent_coef: weight of the entropy.
        word_dropout: share of the query's features that an episode does not show (see
            :func:`toolorch_env.integrations.sb3.make_vec_env`).
        width, mention_width: of the network (see :class:`toolorch_env.integrations.sb3_networks.ToolCallPolicy`).
    """

    num_envs: int = 512
    n_steps: int = 16
    batch_size: int = 2048
    n_epochs: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.95
    gae_lambda: float = 0.95
    ent_coef: float = 0.03
    word_dropout: float = 0.1
    width: int = 256
    mention_width: int = 64


def make_model(
    env: ToolOrchVecEnv,
    vocabulary: Vocabulary,
    settings: TrainingSettings | None = None,
    *,
    seed: int = 0,
    tensorboard: Path | None = None,
) -> MaskablePPO:
    """An untrained model.

    Args:
        env: the copies that it is trained on.
        vocabulary: of the snapshot that they play.
        settings: by default those of :class:`TrainingSettings`.
        seed: of its weights and choices.
        tensorboard: folder of its log.
    """
    settings = settings or TrainingSettings()
    rate = settings.learning_rate
    return MaskablePPO(
        ToolCallPolicy,
        env,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        learning_rate=lambda remaining: rate * (0.1 + 0.9 * remaining),
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        ent_coef=settings.ent_coef,
        policy_kwargs={
            "tool_parameters": [[place for _, place in pairs] for pairs in vocabulary.tool_parameters],
            "required": vocabulary.required,
            "width": settings.width,
            "mention_width": settings.mention_width,
        },
        tensorboard_log=None if tensorboard is None else str(tensorboard),
        seed=seed,
        device="cpu",
    )


class Watch(BaseCallback):
    """Counts episodes, reports progress, saves now and then, and ends the training when it is told to.

    Args:
        report: told after each step of all copies: steps so far, and the share of clean successes among the latest
            episodes.
        keep: saves the model; called every ``every`` steps.
        every: number of steps between two calls of ``keep``, 0 for none.
        go_on: asked after each step of all copies whether to go on.

    Attributes:
        share: of clean successes among the latest episodes, about 1,000.
    """

    def __init__(
        self,
        report: Callable[[int, float], None] = lambda steps, share: None,
        keep: Callable[[], None] = lambda: None,
        every: int = 0,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self._report = report
        self._keep = keep
        self._every = every
        self._go_on = go_on
        self._kept_at = 0
        self.share = 0.0

    def _on_training_start(self) -> None:
        self._kept_at = self.num_timesteps

    def _on_step(self) -> bool:
        ends = [info["is_clean_success"] for info in self.locals["infos"] if info]
        if ends:
            weight = min(1.0, len(ends) / 1000)
            self.share += weight * (sum(ends) / len(ends) - self.share)
            self.logger.record("rollout/clean_success", self.share)
        self._report(self.num_timesteps, self.share)
        if self._every and self.num_timesteps - self._kept_at >= self._every:
            self._kept_at = self.num_timesteps
            self._keep()
        return self._go_on()


@dataclass(frozen=True)
class Training:
    """What came of a training.

    Attributes:
        steps: steps that the model has seen.
        clean_success: share of clean successes among its latest episodes.
        interrupted: whether it was ended from the keyboard.
    """

    steps: int
    clean_success: float
    interrupted: bool


def train(
    out: Path,
    *,
    steps: int,
    settings: TrainingSettings | None = None,
    seed: int = 0,
    resume: Path | None = None,
    tensorboard: Path | None = None,
    checkpoint_every: int = 0,
    progress: Callable[[int, float], None] = lambda steps, share: None,
    go_on: Callable[[], bool] = lambda: True,
    **environment: Any,
) -> Training:
    """Trains a model and writes it; interrupted from the keyboard, it writes what it has.

    Args:
        out: file to write, a zip.
        steps: number of steps to train for, of all copies together; rounded up to whole rounds.
        settings: by default those of :class:`TrainingSettings`; of a model that is trained on, the number of copies
            alone counts.
        seed: of tasks, weights and choices.
        resume: a model to train on instead of a new one.
        tensorboard: folder of its log.
        checkpoint_every: the model is written every so many steps besides; 0 for not.
        progress: told after each step of all copies: steps so far, share of clean successes among the latest episodes.
        go_on: asked after each step of all copies whether to go on.
        **environment: as for :class:`toolorch_env.envs.tool_orch.ToolOrchEnv`.

    Raises:
        ConfigurationError: as for the environment and for :func:`load_model`.
    """
    settings = settings or TrainingSettings()
    env = make_vec_env(settings.num_envs, seed=seed, word_dropout=settings.word_dropout, **environment)
    vocabulary = env.vocabulary
    if resume is None:
        model = make_model(env, vocabulary, settings, seed=seed, tensorboard=tensorboard)
    else:
        model = load_model(resume, vocabulary, env)
        model.tensorboard_log = None if tensorboard is None else str(tensorboard)
    told = {"settings": asdict(settings), "seed": seed, "environment": {k: str(v) for k, v in environment.items()}}

    def keep() -> None:
        save_model(model, out, vocabulary, {**told, "steps": model.num_timesteps})

    watch = Watch(progress, keep, checkpoint_every, go_on)
    interrupted = False
    try:
        model.learn(steps, callback=watch, reset_num_timesteps=resume is None)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        env.close()
    keep()
    return Training(model.num_timesteps, watch.share, interrupted)


def save_model(model: MaskablePPO, path: Path, vocabulary: Vocabulary, trained: Mapping[str, Any]) -> None:
    """Writes a model with what it was trained for; a file that is there is replaced at once, not in part.

    Args:
        model: the model.
        path: file to write, a zip.
        vocabulary: of the snapshot that it was trained on.
        trained: what else is to be known: settings, constraints, reward.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        model.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.writestr(CARD, orjson.dumps({**_card(vocabulary), **trained}, option=orjson.OPT_INDENT_2))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_model(path: Path, vocabulary: Vocabulary, env: ToolOrchVecEnv | None = None) -> MaskablePPO:
    """A saved model.

    Args:
        path: its file.
        vocabulary: of the snapshot that it is to play.
        env: copies to train it further on.

    Raises:
        ConfigurationError: there is no such file, it is no model of ToolOrch, or one for another vocabulary.
    """
    card, expected = read_card(path), _card(vocabulary)
    if card.get("vocabulary") != expected["vocabulary"]:
        raise ConfigurationError(
            f"{path} was trained on {card.get('snapshot')!r}, whose tools or links are other ones than those of "
            f"{vocabulary.snapshot.name!r}: train a model on this snapshot"
        )
    try:
        return MaskablePPO.load(path, env=env, device="cpu")
    except Exception as error:  # damaged files fail in many ways
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def read_card(path: Path) -> dict[str, Any]:
    """What a saved model was trained for.

    Raises:
        ConfigurationError: there is no such file, or it is no model of ToolOrch.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found: dict[str, Any] = orjson.loads(archive.read(CARD))
            return found
    except FileNotFoundError:
        raise ConfigurationError(f"there is no model at {path}") from None
    except (OSError, KeyError, zipfile.BadZipFile, orjson.JSONDecodeError):
        raise ConfigurationError(f"{path} is no model that `toolorch train` has written") from None


def _card(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "toolorch_env": VERSION,
        "snapshot": vocabulary.snapshot.name,
        "content_hash": vocabulary.snapshot.meta.get("content_hash", ""),
        "vocabulary": {
            "tools": list(vocabulary.tools),
            "parameters": list(vocabulary.parameters),
            "links": [[link.parameter, link.tool, link.select] for link in vocabulary.link_list],
        },
    }
