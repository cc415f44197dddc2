"""Language models are evaluated over a real endpoint: what they said is scored, and nothing else."""

import asyncio
import json
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from chat_server import BrokenOff, ChatServer, Messages, Silence, calling, completion, truncated
from evaluation.solver import Solver
from starlette.responses import HTMLResponse, JSONResponse, Response
from worlds import snapshot_path

from toolorch_env.core.errors import ConfigurationError, ConstraintError
from toolorch_env.evaluation.evaluations import evaluate_chat, evaluate_policy
from toolorch_env.evaluation.metrics import EpisodeResult
from toolorch_env.evaluation.rescoring import rescored
from toolorch_env.evaluation.run_files import read_run
from toolorch_env.evaluation.runner import list_jobs
from toolorch_env.evaluation.runs import Outcome
from toolorch_env.evaluation.summary import summarize
from toolorch_env.generation.chat_models import OpenAIChat
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.store.snapshot import Snapshot

TASKS = 12
RESULT = EpisodeResult("t", "w", 1, True, True, 1, 1, 1, 1, 1.0, 1, True, {})


@pytest.fixture
def env() -> gym.Env[Any, Any]:
    return gym.make("ToolOrchText-v0", snapshot=snapshot_path("library"))


def results(outcomes: list[Outcome]) -> dict[int, Any]:
    return {outcome.index: outcome.result for outcome in outcomes}


@pytest.mark.parametrize("tool_calls", ["native", "text"])
def test_a_model_that_knows_the_solution_scores_as_the_oracle(
    env: gym.Env[Any, Any], tool_calls: Any, tmp_path: Path
) -> None:
    solver = Solver(env, list_jobs(TASKS, 3))
    server = ChatServer(solver)
    with server.serve() as url:
        outcomes = evaluate_chat(
            env, OpenAIChat("rules", url), tasks=TASKS, seed=3, tool_calls=tool_calls, concurrency=5,
            path=tmp_path / "run.jsonl",
        )  # fmt: skip
    expected = evaluate_policy(env, OraclePolicy("ToolOrchText-v0"), tasks=TASKS, seed=3)
    assert results(outcomes) == results(expected)
    assert summarize(outcomes).metrics["clean_success_rate"].value == 1.0
    assert 1 < server.most_at_once <= 5
    for body in server.asked:
        assert ("tools" in body) == (tool_calls == "native")
        assert body["messages"][0]["role"] == "system"
    assert all(episode.answer == "That is all." for episode in read_run(tmp_path / "run.jsonl").episodes)


def test_the_chat_is_what_the_protocol_asks_for(env: gym.Env[Any, Any], tmp_path: Path) -> None:
    """Every tool call has its answer under its identifier, in the request that follows it."""
    solver = Solver(env, list_jobs(4, 0))

    def twice(messages: Messages) -> Any:
        """All that is left at once, and one call that is none."""
        task = solver.task(messages)
        if messages[-1]["role"] == "tool":
            return "Done."
        return calling(*((call.tool, call.arguments) for call in task.reference), ("nothing", "{not JSON"))

    server = ChatServer(twice)
    with server.serve() as url:
        evaluate_chat(env, OpenAIChat("rules", url), tasks=4, path=tmp_path / "run.jsonl", concurrency=1)
    for body in server.asked:
        for place, message in enumerate(body["messages"]):
            calls = message.get("tool_calls") or []
            answers = body["messages"][place + 1 : place + 1 + len(calls)]
            assert [answer["tool_call_id"] for answer in answers] == [call["id"] for call in calls]
            assert all(answer["role"] == "tool" for answer in answers)
    for episode in read_run(tmp_path / "run.jsonl").episodes:
        assert len(episode.turns) == 1
        assert episode.result.errors["malformed"] == 1
        assert episode.messages[-1] == {"role": "assistant", "content": "Done."}


def choice(content: str | None, **more: Any) -> Response:
    """A chat completion with something told beside its message."""
    told = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}, **more}
    return JSONResponse({"choices": [told]})


NO_ANSWERS: dict[str, tuple[Any, str]] = {
    "500": (lambda: JSONResponse({"error": "no"}, 500), "status 500"),
    "429": (lambda: JSONResponse({"error": "slowly"}, 429, {"retry-after": "0"}), "status 429"),
    "400": (lambda: JSONResponse({"error": {"message": "no such tool"}}, 400), "status 400"),
    "infinite": (lambda: completion("", usage={"prompt_tokens": float("inf")}), "no completion"),
    "nested": (lambda: Response(b'{"choices": ' + b"[" * 100_000, media_type="application/json"), "no completion"),
    "HTML": (lambda: HTMLResponse("<html><tool_call>{}</tool_call></html>"), "no completion"),
    "other JSON": (lambda: JSONResponse({"tool_calls": [{"name": "get_town", "arguments": {}}]}), "no completion"),
    "no choices": (lambda: JSONResponse({"choices": []}), "no completion"),
    "numbers": (lambda: completion({"content": 5}), "no completion"),
    "calls of nothing": (lambda: completion({"tool_calls": [{"id": "1", "type": "function"}]}), "no completion"),
    "a message of nothing": (lambda: JSONResponse({"choices": [{"message": {}}]}), "no completion"),
    "an error beside": (lambda: completion(None, error={"message": "overloaded", "code": 502}), "no completion"),
    "an error inside": (lambda: choice(None, error={"message": "overloaded"}), "no completion"),
    "ended by an error": (lambda: choice("<html>502 Bad Gateway</html>", finish_reason="error"), "no completion"),
    "truncated": (truncated, "no completion"),
    "broken off": (BrokenOff, "unreachable"),
    "silence": (Silence, "timeout"),
    "nothing": (lambda: Response(status_code=204), "no completion"),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_is_counted_and_never_scored(env: gym.Env[Any, Any], kind: str, tmp_path: Path) -> None:
    """In every third task the endpoint fails, at the first message or at the second."""
    make, failure = NO_ANSWERS[kind]
    solver = Solver(env, list_jobs(TASKS, 1))
    failing = {task.id: number % 2 for number, task in enumerate(list(solver.tasks.values())[::3])}

    def answer(messages: Messages) -> Any:
        made = sum(message["role"] == "assistant" for message in messages)
        return make() if failing.get(solver.task(messages).id) == made else solver(messages)

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        # short only where it has to pass: a busy machine must not make it pass elsewhere
        chat = OpenAIChat("rules", url, timeout=1.0 if failure == "timeout" else 60.0, retries=0)
        outcomes = evaluate_chat(env, chat, tasks=TASKS, seed=1, path=path)
    summary = summarize(outcomes)
    assert summary.failures == {failure: len(failing)}
    assert (summary.episodes, summary.metrics["clean_success_rate"].value) == (TASKS - len(failing), 1.0)
    run = read_run(path)
    assert {told.task_id for told in run.failures} == failing.keys()
    assert not failing.keys() & {episode.task.id for episode in run.episodes}
    assert {told.failure for told in run.failures} == {failure}

    # once the endpoint works, the same evaluation plays what had failed, and nothing else
    server = ChatServer(solver)
    with server.serve() as url:
        again = evaluate_chat(env, OpenAIChat("rules", url), tasks=TASKS, seed=1, path=path)
    assert len({body["messages"][1]["content"] for body in server.asked}) == len(failing)
    assert summarize(again).metrics["success_rate"].value == 1.0
    assert (summarize(again).episodes, summarize(again).failures, read_run(path).failures) == (TASKS, {}, [])


NO_ROOM_LEFT: list[Any] = [
    {"code": "context_length_exceeded", "message": "too long"},
    {"code": {}, "type": "exceed_context_size_error", "message": "the request exceeds the available context size"},
    {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "code": 400},
    {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."},
    {"message": "The decoder prompt (length 9) is longer than the maximum model length of 8."},
    "This model's maximum context length is 4096 tokens.",
]


@pytest.mark.parametrize("error", NO_ROOM_LEFT)
def test_a_chat_that_has_no_room_is_scored_as_it_stands(env: gym.Env[Any, Any], error: Any, tmp_path: Path) -> None:
    """The model's context has room for one call; every solution needs that and a last word."""
    solver = Solver(env, list_jobs(TASKS, 1))

    def answer(messages: Messages) -> Any:
        if len(messages) > 2:
            return JSONResponse({"error": error}, 400)
        return solver(messages)

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=TASKS, seed=1, path=path)
    summary = summarize(outcomes)
    assert (summary.episodes, summary.failures, summary.tokens["cut_off"]) == (TASKS, {}, TASKS)
    assert summary.metrics["success_rate"].value == 0.0
    assert summary.metrics["call_accuracy"].value > 0.0
    run = read_run(path)
    assert all(len(episode.calls) == 1 and episode.answer is None for episode in run.episodes)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes


@pytest.mark.parametrize("reward", ["published", "execution"])
def test_what_is_paid_at_the_end_is_paid_where_there_is_no_room(reward: str, tmp_path: Path) -> None:
    """As it is at the call limit, and again when the run is scored anew."""
    env = gym.make("ToolOrchText-v0", snapshot=snapshot_path("library"), reward=reward)
    solver = Solver(env, list_jobs(TASKS, 1))

    def answer(messages: Messages) -> Any:
        return JSONResponse({"error": NO_ROOM_LEFT[0]}, 400) if len(messages) > 2 else solver(messages)

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=TASKS, seed=1, path=path)
    run = read_run(path)
    assert all(episode.result.total > 0 for episode in run.episodes)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes


def test_where_nothing_ever_had_room_nothing_is_scored(env: gym.Env[Any, Any]) -> None:
    """So it is with a `max_tokens` that is larger than the context."""
    with ChatServer(lambda _: JSONResponse({"error": NO_ROOM_LEFT[0]}, 400)).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=TASKS, seed=1)
    assert {outcome.failure for outcome in outcomes} == {"no room"}


def test_errors_that_pass_are_asked_again(env: gym.Env[Any, Any]) -> None:
    solver = Solver(env, list_jobs(TASKS, 1))
    seen: Counter[str] = Counter()

    def answer(messages: Messages) -> Any:
        key = str(messages)
        seen[key] += 1
        return JSONResponse({}, 503, {"retry-after-ms": "1"}) if seen[key] == 1 else solver(messages)

    with ChatServer(answer).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=2), tasks=TASKS, seed=1)
    assert summarize(outcomes).metrics["clean_success_rate"].value == 1.0
    assert summarize(outcomes).failures == {}


def test_odd_answers_are_the_models_own(env: gym.Env[Any, Any]) -> None:
    """A refusal, an empty message, halves of characters, arguments that are an object: said, so scored."""
    odd = [
        completion({"content": None, "refusal": "I would rather not."}),
        completion(None),
        completion("\ud800 done"),
        completion(calling(("get_town\udfff", '{"town_id": "\ud83d"}'))),
        completion({"tool_calls": [{"id": None, "type": "function",
                                    "function": {"name": "get_town", "arguments": {"town_id": "T1"}}}]}),
        completion("x" * 1_500_000),
    ]  # fmt: skip
    for answer in odd:
        told = iter([answer])
        with ChatServer(lambda _, told=told: next(told, "Done.")).serve() as url:  # type: ignore[misc]
            (outcome,) = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
        assert outcome.result is not None, answer.body[:100]
        assert outcome.result.finished


def test_tokens_are_counted(env: gym.Env[Any, Any]) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    with ChatServer(lambda _: completion("No.", usage=usage)).serve() as url:
        summary = summarize(evaluate_chat(env, OpenAIChat("rules", url), tasks=5))
    assert summary.tokens == {"prompt": 500, "completion": 35, "cut_off": 0}
    assert summary.cost(2.0, 10.0) == pytest.approx((500 * 2 + 35 * 10) / 1e6)


def test_each_task_is_tried_so_often(env: gym.Env[Any, Any]) -> None:
    server = ChatServer(lambda _: "No.")
    with server.serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, seed=5), tasks=4, tries=3)
    assert sorted((outcome.index, outcome.attempt) for outcome in outcomes) == [
        (i, k) for i in range(4) for k in range(3)
    ]
    asked = Counter(body["messages"][1]["content"] for body in server.asked)
    assert list(asked.values()) == [3] * 4
    assert len({body["seed"] for body in server.asked}) == 12  # other tries are other samples
    assert summarize(outcomes).pass_hat.keys() == {1, 2, 3}


def test_what_cannot_be_evaluated_is_told(env: gym.Env[Any, Any]) -> None:
    chat = OpenAIChat("rules", "http://127.0.0.1:9/v1", retries=0)
    numbers = gym.make("ToolOrch-v0", snapshot=snapshot_path("library"))
    with pytest.raises(ConfigurationError, match="ToolOrchText-v0"):
        evaluate_chat(numbers, chat, tasks=1)
    for wrong in ({"tasks": 0}, {"tasks": 1, "tries": 0}, {"tasks": 1, "concurrency": 0}):
        with pytest.raises(ConfigurationError, match="at least 1"):
            evaluate_chat(env, chat, **wrong)  # type: ignore[arg-type]
    narrow = gym.make("ToolOrchText-v0", snapshot=snapshot_path("library"), constraints={"min_steps": 50})
    with pytest.raises(ConstraintError):
        evaluate_chat(narrow, chat, tasks=1)
    (outcome,) = evaluate_chat(env, chat, tasks=1)
    assert (outcome.result, outcome.failure) == (None, "unreachable")


def test_the_endpoints_own_words_are_told_without_the_key(
    env: gym.Env[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    error = {"message": "Incorrect key s3cret:\n  no such\ud800 thing " + "x" * 10_000}
    with ChatServer(lambda _: Response(json.dumps({"error": error}), 401)).serve() as url:
        (outcome,) = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
    assert outcome.failure == "status 401"
    assert "OPENAI_API_KEY (Incorrect key (the key): no such? thing xxx" in outcome.detail
    assert "s3cret" not in outcome.detail
    assert len(outcome.detail) < 400


def test_servers_that_read_what_was_called_before_refuse_no_chat(env: gym.Env[Any, Any], tmp_path: Path) -> None:
    """As vLLM and llama.cpp do: arguments in the chat that are no JSON object are an error of theirs."""
    broken = ["{not JSON", "[1]", '"text"', "", "7", '{"a": "\ud800"}']

    def answer(messages: Messages) -> Any:
        called = [call for message in messages for call in message.get("tool_calls") or ()]  # type: ignore[attr-defined]
        for call in called:
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return JSONResponse({"error": {"message": "can only get item pairs from a mapping"}}, 400)
        number = len(called)
        return calling(("get_town", broken[number])) if number < len(broken) else "Done."

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=3, seed=1, path=path)
    assert summarize(outcomes).failures == {}
    for episode in read_run(path).episodes:
        written = [call["function"]["arguments"] for m in episode.messages for call in m.get("tool_calls", ())]
        assert written[: len(broken)] == [text.replace("\ud800", "?") for text in broken]  # as the model wrote it
        assert episode.result.errors["malformed"] >= 4


@pytest.mark.parametrize(
    "answer", ['{"name": "Sweden"}', 'It is:\n```json\n{"name": "Sweden"}\n```', '{"currency": SEK}']
)
def test_an_answer_in_json_is_an_answer(env: gym.Env[Any, Any], answer: str) -> None:
    with ChatServer(lambda _: answer).serve() as url:
        (outcome,) = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
    assert outcome.result is not None
    assert (outcome.result.calls, outcome.result.finished) == (0, True)


def test_servers_that_read_names_of_tools_refuse_no_chat(env: gym.Env[Any, Any], tmp_path: Path) -> None:
    """As OpenAI does: names in the chat have at most 64 letters, digits, underscores and dashes."""
    odd = ["", "get town", "functions.get_town", "x" * 500, "Stadt-größe"]

    def answer(messages: Messages) -> Any:
        called = [call for message in messages for call in message.get("tool_calls") or ()]  # type: ignore[attr-defined]
        if not all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["function"]["name"]) for call in called):
            return JSONResponse({"error": {"message": "string does not match pattern"}}, 400)
        return calling((odd[len(called)], {})) if len(called) < len(odd) else "Done."

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=2, seed=1, path=path)
    assert summarize(outcomes).failures == {}
    for episode in read_run(path).episodes:
        written = [call["function"]["name"] for m in episode.messages for call in m.get("tool_calls", ())]
        assert written == odd  # as the model wrote them


def test_a_message_that_is_too_long_is_answered_call_by_call(env: gym.Env[Any, Any]) -> None:
    server = ChatServer(lambda m: "No." if len(m) > 2 else calling(*[("get_town", {"town_id": "x" * 600_000})] * 2))
    with server.serve() as url:
        (outcome,) = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
    assert outcome.result is not None
    assert outcome.result.errors == {"malformed": 1}
    last = server.asked[-1]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "tool", "tool"]
    assert [message["tool_call_id"] for message in last[3:]] == [call["id"] for call in last[2]["tool_calls"]]  # type: ignore[index]


def test_the_published_reward_is_the_same_when_a_call_could_not_be_written(tmp_path: Path) -> None:
    env = gym.make("ToolOrchText-v0", snapshot=snapshot_path("library"), reward="published")
    solver = Solver(env, list_jobs(3, 1))
    deep = '{"town_id": ' + "[" * 70 + "]" * 70 + "}"

    def answer(messages: Messages) -> Any:
        return calling((solver.task(messages).reference[0].tool, deep)) if len(messages) == 2 else solver(messages)

    path = tmp_path / "run.jsonl"
    with ChatServer(answer).serve() as url:
        evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=3, seed=1, path=path)
    run = read_run(path)
    assert all(episode.result.errors.get("malformed") for episode in run.episodes)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes


def test_where_a_loop_is_running_already_it_is_evaluated_beside_it(env: gym.Env[Any, Any]) -> None:
    """As in a notebook."""

    async def cell(url: str) -> list[Outcome]:
        return evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=2)

    with ChatServer(lambda _: "No.").serve() as url:
        outcomes = asyncio.run(cell(url))
    assert summarize(outcomes).episodes == 2


def test_the_package_openai_is_all_that_is_needed(env: gym.Env[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asks with is its own affair: the extra ``llm`` brings nothing else."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with ChatServer(lambda _: "No.").serve() as url:
        assert summarize(evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)).episodes == 1


TOLD = [
    ({"detail": "model not loaded"}, 400, "status 400 (model not loaded)"),
    ({"detail": [{"loc": ["body"], "msg": "too hot"}]}, 422, "status 422 (too hot)"),
    ({"error": "model 'm' not found"}, 404, "base URL (model 'm' not found)"),
    ([{"error": {"message": "no such model"}}], 400, "status 400 (no such model)"),
    ("out of order", 500, "status 500 (out of order)"),
    ("<html>out of order</html>", 500, "status 500"),
    ({"error": {"message": "Rate limit exceeded", "code": 429}}, 200, "status 200 (Rate limit exceeded)"),
]


@pytest.mark.parametrize(("body", "status", "told"), TOLD)
def test_what_the_endpoint_says_is_told_in_whichever_form(
    env: gym.Env[Any, Any], body: Any, status: int, told: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    with ChatServer(lambda _: Response(content, status)).serve() as url:
        (outcome,) = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
    assert outcome.result is None
    assert outcome.detail.endswith(told)


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "a\0"])
def test_a_key_that_cannot_be_sent_is_told(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "OPENAI_API_KEY": key})
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        OpenAIChat("rules", "http://127.0.0.1:9/v1")


def test_a_key_out_of_a_file_is_sent_without_what_ends_its_line(
    env: gym.Env[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret\r\n")
    server = ChatServer(lambda _: "No.")
    with server.serve() as url:
        evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=1)
    assert server.keys == {"Bearer s3cret"}


@pytest.mark.parametrize("depth", [10, 63, 64, 65, 200, 250, 300, 1000, 50_000])
def test_however_deep_arguments_are_the_run_can_be_read_again(
    env: gym.Env[Any, Any], depth: int, tmp_path: Path
) -> None:
    """Deeper ones than 64 levels are no call; a fixed depth, not that of one JSON reader."""
    nested = '{"town_id": ' + "[" * depth + "]" * depth + "}"
    path = tmp_path / "run.jsonl"

    def answer(messages: Messages) -> Any:
        return "Done." if len(messages) > 2 else calling(("get_town", nested))

    with ChatServer(answer).serve() as url:
        played = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=2, path=path)
    run = read_run(path)
    assert results(run.outcomes) == results(played)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes
    kind = "malformed" if depth > 64 else "ill_typed_parameter"
    assert all(episode.result.errors == {kind: 1} for episode in run.episodes)


def test_long_words_beside_calls_do_not_hide_them(env: gym.Env[Any, Any]) -> None:
    solver = Solver(env, list_jobs(2, 1))

    def answer(messages: Messages) -> Any:
        said = solver(messages)
        return {**said, "content": "x" * 1_100_000} if isinstance(said, dict) else said

    with ChatServer(answer).serve() as url:
        outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=2, seed=1)
    assert summarize(outcomes).metrics["clean_success_rate"].value == 1.0


def test_tokens_of_episodes_that_are_played_anew_are_counted(env: gym.Env[Any, Any], tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7}
    path = tmp_path / "run.jsonl"
    for broken_off in (True, True, False):

        def answer(messages: Messages, broken_off: bool = broken_off) -> Any:
            if len(messages) > 2:
                return JSONResponse({}, 500) if broken_off else completion("No.", usage=usage)
            return completion(calling(("get_town", "{}")), usage=usage)

        with ChatServer(answer).serve() as url:
            outcomes = evaluate_chat(env, OpenAIChat("rules", url, retries=0), tasks=3, path=path)
    assert summarize(outcomes).tokens == summarize(read_run(path).outcomes).tokens
    assert summarize(outcomes).tokens["prompt"] == 3 * (1 + 1 + 2) * 100


def test_pass_hat_is_of_tasks_of_which_every_try_was_answered(env: gym.Env[Any, Any]) -> None:
    """One task is solved each time, one never is, and one of its tries came to nothing."""
    solved, failed = (
        [Outcome(index, attempt, replace(RESULT, success=success)) for attempt in range(3)]
        for index, success in enumerate((True, False))
    )
    summary = summarize([*solved, *failed[:2], Outcome(1, 2, None, "timeout")])
    assert (summary.pass_hat, summary.pass_hat_tasks) == ({1: 1.0, 2: 1.0, 3: 1.0}, 1)
    summary = summarize([*solved, *failed])
    assert (summary.pass_hat, summary.pass_hat_tasks) == ({1: 0.5, 2: 0.5, 3: 0.5}, 2)
