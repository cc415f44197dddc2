"""A real language model, SmolLM2-135M-Instruct, is evaluated end to end behind a real server."""

from pathlib import Path

import gymnasium as gym
import pytest
from chat_model import MODEL, model_url  # noqa: F401
from worlds import snapshot_path

from toolorch_env.evaluation.evaluations import evaluate_chat
from toolorch_env.evaluation.rescoring import rescored
from toolorch_env.evaluation.run_files import read_run
from toolorch_env.evaluation.summary import summarize
from toolorch_env.generation.chat_models import OpenAIChat
from toolorch_env.store.snapshot import Snapshot

TASKS = 20


@pytest.mark.long
def test_a_real_model_is_evaluated(model_url: str, tmp_path: Path) -> None:  # noqa: F811
    """What it says is scored whatever it is; a model so small solves hardly anything."""
    constraints = {"distractor_tools": 0, "distractions": 0}
    env = gym.make("ToolOrchText-v0", snapshot=snapshot_path("library"), constraints=constraints)
    chat = OpenAIChat(MODEL, model_url, temperature=0.0, max_tokens=48)
    path = tmp_path / "run.jsonl"
    outcomes = evaluate_chat(env, chat, tasks=TASKS, concurrency=2, tool_calls="text", path=path)
    summary = summarize(outcomes)
    assert (summary.episodes, summary.failures) == (TASKS, {})
    assert summary.tokens["prompt"] > 100 * TASKS
    assert 0 < summary.tokens["completion"] <= 48 * 16 * TASKS
    assert 0.0 <= summary.metrics["call_accuracy"].value <= 1.0
    run = read_run(path)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes
    for episode in run.episodes:
        said = [message["content"] for message in episode.messages if message["role"] == "assistant"]
        assert all(said)
        assert len(said) == len(episode.turns) + (episode.answer is not None)
