"""Rewriting by a language model: a real endpoint, with models that behave and models that do not."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from chat_model import MODEL, model_url  # noqa: F401
from chat_server import (
    Answer,
    BrokenOff,
    ChatServer,
    Silence,
    completion,
    reworded,
    role_reader,
    truncated,
    with_slots_swapped,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from small_world import workflow_set
from starlette.responses import HTMLResponse, JSONResponse, Response
from worlds import WORLD_NAMES, snapshot_path, world

from toolorch_env.core.errors import ChatModelError, ConfigurationError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.chat_models import OpenAIChat
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import Style
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.rewrite_checks import problems
from toolorch_env.generation.rewriting import Rewriting, missing_versions, rewrite
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import WorkflowSet, parse_workflows, snapshot_workflows

COMPOSED: tuple[Style, ...] = ("plain", "numbered", "terse", "chatty", "backward")
LIBRARY = workflow_set()


def composed_phrasings(workflows: WorkflowSet, name: str) -> Iterator[str]:
    phraser = Phraser(Snapshot(snapshot_path(name)).tools, workflows.grammar)
    for workflow, style in product(workflows.workflows, COMPOSED):
        yield from (" ".join(sentences) for sentences in phraser.phrasings(workflow, style))


WRITTEN = [text for workflow in LIBRARY.workflows for text in workflow.phrasings]
TEMPLATES = sorted(
    {
        text
        for name in WORLD_NAMES
        for stored in [snapshot_workflows(Snapshot(snapshot_path(name)))]
        for text in (
            *(text for workflow in stored.workflows for text in workflow.phrasings),
            *composed_phrasings(stored, name),
        )
    }
)
NOWHERE = "http://127.0.0.1:9/v1"


def say(template: str) -> str:
    """What the model that follows rules makes of a template."""
    return reworded([{"role": "system", "content": ""}, {"role": "user", "content": template}])


def asked_of(answer: Answer, workflows: WorkflowSet = LIBRARY, **options: Any) -> tuple[Rewriting, ChatServer]:
    server = ChatServer(answer)
    with server.serve() as url:
        return rewrite(workflows, OpenAIChat("rules", url, retries=0, timeout=5), **options), server


def draw(workflows: WorkflowSet, name: str, count: int) -> list[Task]:
    generator, rng = WorkflowGenerator(snapshot_path(name), workflows), np.random.default_rng(3)
    return [generator.sample(rng, {"styles": ["rewritten"]}) for _ in range(count)]


@pytest.fixture(autouse=True)
def _no_endpoint_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_rewritten_tasks_are_well_posed_and_the_same_without_the_model(name: str) -> None:
    stored = snapshot_workflows(Snapshot(snapshot_path(name)))
    found, server = asked_of(reworded, stored, versions=2)
    wanted = missing_versions(stored, 2)
    assert found.asked == found.accepted == len(server.asked) == sum(wanted.values())
    assert (found.rejected, found.failed, found.interrupted) == ({}, {}, False)
    assert {text: len(others) for text, others in found.workflows.rewrites.items()} == wanted
    tasks = draw(found.workflows, name, 60)
    assert draw(parse_workflows(found.workflows.model_dump(mode="json", by_alias=True)), name, 60) == tasks
    for task in tasks:
        assert not list(task_problems(task, world(name).replay))
    written = draw(stored, name, 60)
    for before, after in zip(written, tasks, strict=True):
        assert before.query != after.query
        assert (before.reference, before.split, before.id) == (after.reference, after.split, after.id)


def test_nothing_is_asked_that_is_there() -> None:
    once, _ = asked_of(reworded)
    nowhere = OpenAIChat("rules", NOWHERE, retries=0)
    again = rewrite(once.workflows, nowhere)
    assert (again.workflows, again.asked) == (once.workflows, 0)
    twice, server = asked_of(reworded, once.workflows, versions=2)
    assert len(server.asked) == len(WRITTEN)
    for text, (first, _) in twice.workflows.rewrites.items():
        assert (first,) == once.workflows.rewrites[text]
    assert all("than these:\n- This is" in body["messages"][0]["content"] for body in server.asked)


def test_requests_are_made_together_but_not_too_many_with_key_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-user")
    server, told = ChatServer(reworded), list[tuple[int, int]]()
    with server.serve() as url:
        chat = OpenAIChat("rules", url, temperature=0.5, seed=7)
        found = rewrite(LIBRARY, chat, versions=3, concurrency=4, progress=lambda *counts: told.append(counts))
    assert 2 <= server.most_at_once <= 4
    assert server.keys == {"Bearer of-the-user"}
    assert {body["seed"] for body in server.asked} == {7, 8, 9}
    assert {(body["temperature"], body["model"]) for body in server.asked} == {(0.5, "rules")}
    assert told == [(done, found.asked) for done in range(1, found.asked + 1)]


def test_other_phrasings_are_rewritten_under_their_own_text() -> None:
    composed = list(composed_phrasings(LIBRARY, "library"))
    found, _ = asked_of(reworded, phrasings=composed)
    assert list(found.workflows.rewrites) == list(dict.fromkeys(composed))


MISBEHAVING: list[tuple[str, Callable[[str], str | None]]] = [
    ("a slot is missing", lambda text: say(text).replace("{", "").replace("}", "")),
    ("a slot that is not in the original, or not as often", lambda text: f"{say(text)} For {{somebody}}."),
    ("braces that are no slots", lambda text: f"{say(text)} {{{{}}}}"),
    ("braces that are no slots", lambda text: say(text).replace("}", "!r}")),
    ("braces that are no slots", lambda text: say(text)[:-2].rpartition("}")[0]),
    ("not one line of text", lambda text: say(text).replace(": ", ":\n\n", 1)),
    ("not one line of text", lambda text: ""),
    ("not one line of text", lambda text: None),
    ("symbols or letters of another kind", lambda text: f"<p>{say(text)}</p>"),
    ("symbols or letters of another kind", lambda text: f"**{say(text)}**"),
    ("symbols or letters of another kind", lambda text: f"{say(text)} Спасибо."),
    ("too short or too long", lambda text: f"{say(text)} And thank you." + " Thank you so very much." * 20),
    ("a number or code is new", lambda text: f"{say(text)} I have 5 minutes."),
    ("chat about the request, or a refusal", lambda text: f"Sure! {say(text)}"),
    ("chat about the request, or a refusal", lambda text: f"Here is it. {say(text)}"),
    ("chat about the request, or a refusal", lambda text: f"I'm sorry, that is not for me. {say(text)}"),
    ("nothing new", lambda text: f'"{text}"'),
    ("nothing new", lambda text: f"<think>Hm. {{what}} is it?</think>\n\n{text.replace(',', '')}!"),
    ("a value would run into what stands beside it", lambda text: say(text).replace("} ", "}").replace("},", "}s,")),
]


@pytest.mark.parametrize(("reason", "answer"), MISBEHAVING)
def test_what_a_model_breaks_is_rejected_and_the_template_stays(
    reason: str, answer: Callable[[str], str | None]
) -> None:
    found, server = asked_of(lambda messages: completion(answer(messages[-1]["content"])))
    assert found.asked == len(server.asked) == len(WRITTEN)
    assert found.asked == found.accepted + sum(found.rejected.values())
    assert found.rejected[reason] > len(WRITTEN) // 2
    kept = [text for text in WRITTEN if text not in found.workflows.rewrites]
    assert sum(found.rejected.values()) == len(kept)
    if not found.accepted:
        assert found.workflows == LIBRARY
    assert draw(found.workflows, "library", 20)


def test_one_version_is_not_taken_twice() -> None:
    found, _ = asked_of(lambda messages: say(messages[-1]["content"]), versions=3)
    assert found.accepted == len(WRITTEN)
    assert found.rejected == {"nothing new": 2 * len(WRITTEN)}


FAILING: list[tuple[str, Callable[[], Response]]] = [
    ("status 401: check the key", lambda: JSONResponse({"error": {"message": "bad key s3cret"}}, 401)),
    ("status 404: check the name of the model", lambda: Response(status_code=404)),
    ("status 429: ask for less", lambda: Response(status_code=429, headers={"retry-after": "30"})),
    ("status 500", lambda: Response("Oops", 500)),
    ("no chat completion", lambda: HTMLResponse("<html>Hello</html>")),
    ("no chat completion", truncated),
    ("no chat completion", lambda: JSONResponse({"choices": []})),
    ("no chat completion", lambda: JSONResponse({"choices": None, "object": "error"})),
    ("no chat completion", lambda: JSONResponse(["hello"])),
    ("no chat completion", lambda: JSONResponse({"choices": [{"message": None}]})),
    ("cannot be reached, or broke off", BrokenOff),
    ("no answer within 0.5 s", Silence),
]


@pytest.mark.parametrize(("reason", "failure"), FAILING)
def test_failures_are_told_and_the_rest_is_kept(
    reason: str, failure: Callable[[], Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    lucky = WRITTEN[::2]
    server = ChatServer(lambda messages: reworded(messages) if messages[-1]["content"] in lucky else failure())
    with server.serve() as url:
        found = rewrite(LIBRARY, OpenAIChat("rules", url, retries=0, timeout=0.5))
    assert sorted(found.workflows.rewrites) == sorted(lucky)
    (told, count) = next(iter(found.failed.items()))
    assert reason in told
    assert "s3cret" not in told
    assert (count, found.asked) == (len(WRITTEN) - len(lucky), len(WRITTEN))


def test_nothing_but_failures_is_an_error() -> None:
    with pytest.raises(ChatModelError, match=f"none of {len(WRITTEN)} requests .*status 500"):
        asked_of(lambda messages: Response(status_code=500))
    with pytest.raises(ChatModelError, match=r"127.0.0.1:9 cannot be reached"):
        rewrite(LIBRARY, OpenAIChat("rules", NOWHERE, retries=0))


def test_a_busy_endpoint_is_asked_again() -> None:
    busy = iter([Response(status_code=429, headers={"retry-after-ms": "10"}), Response(status_code=503)])
    server = ChatServer(lambda messages: next(busy, None) or reworded(messages))
    with server.serve() as url:
        found = rewrite(LIBRARY, OpenAIChat("rules", url))
    assert (found.accepted, found.failed) == (len(WRITTEN), {})
    assert len(server.asked) == len(WRITTEN) + 2


@pytest.mark.parametrize(
    "options",
    [{"base_url": "localhost:8000"}, {"base_url": "http://[::1"}, {"base_url": None}, {"timeout": 0}, {"timeout": -1}],
)
def test_bad_endpoints_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        OpenAIChat("rules", **{"base_url": NOWHERE} | options)


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigurationError, match=r"'toolorch-env\[llm\]'"):
        rewrite(LIBRARY, OpenAIChat("rules", NOWHERE))


@pytest.mark.parametrize("options", [{"versions": 0}, {"concurrency": 0}])
def test_bad_numbers_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        rewrite(LIBRARY, OpenAIChat("rules", NOWHERE), **options)  # type: ignore[arg-type]


def test_swapped_slots_are_found_where_roles_are_checked() -> None:
    two_slots = {text for text in WRITTEN if len(set(Template.parse(text).slots)) > 1}
    blind, _ = asked_of(with_slots_swapped)
    assert blind.accepted == len(WRITTEN)
    checked, server = asked_of(role_reader(with_slots_swapped), check_roles=True)
    assert checked.rejected == {"the model reads other roles": len(two_slots)}
    assert set(checked.workflows.rewrites) == set(WRITTEN) - two_slots
    assert len(server.asked) == len(WRITTEN) + len(two_slots)
    honest, _ = asked_of(role_reader(reworded), check_roles=True)
    assert honest.accepted == len(WRITTEN)


@pytest.mark.parametrize("told", ["no idea", "{", '{"author_id": ', "[1]", "{}", '{"author_id": 1}'])
def test_a_model_that_cannot_read_roles_confirms_nothing(told: str) -> None:
    phrasing = "Compare the towns of {author_id} and, after that, {other_author_id}."
    found, _ = asked_of(
        lambda messages: told if messages[-1]["content"].startswith("Template") else reworded(messages),
        phrasings=[phrasing],
        check_roles=True,
    )
    assert found.rejected == {"the model reads other roles": 1}


def test_interrupted_it_keeps_what_it_has() -> None:
    answered: list[str] = []

    def answer(messages: list[dict[str, str]]) -> str | Response:
        if len(answered) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            return Silence()
        answered.append(messages[-1]["content"])
        return reworded(messages)

    found, _ = asked_of(answer, concurrency=1)
    assert found.interrupted
    assert (found.asked, sorted(found.workflows.rewrites)) == (3, sorted(answered))


def swapped_braces(text: str) -> str:
    return text.replace("{", "[", 1).replace("}", "]", 1)


DAMAGES: dict[str, Callable[[str, int], str]] = {
    "drops a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", "it"),
    "renames a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f"{{{_slot(text, n)}_}}"),
    "repeats a slot": lambda text, n: f"{text} That is {{{_slot(text, n)}}}.",
    "changes the case of a slot": lambda text, n: text.replace(
        f"{{{_slot(text, n)}}}", f"{{{_slot(text, n).upper()}}}"
    ),
    "formats a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f"{{{_slot(text, n)}:>4}}"),
    "doubles braces": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f"{{{{{_slot(text, n)}}}}}"),
    "other braces": lambda text, n: swapped_braces(text),
    "an open brace": lambda text, n: f"{text[: n % len(text)]} {{ {text[n % len(text) :]}",
    "letters at a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f"x{{{_slot(text, n)}}}"),
    "digits at a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f"{{{_slot(text, n)}}}0"),
    "a sign at a slot": lambda text, n: text.replace(f"{{{_slot(text, n)}}}", f" -{{{_slot(text, n)}}}"),
    "a number": lambda text, n: f"{text} Give me {n}.",
    "a number in words": lambda text, n: f"{text} Give me {('two', 'seven', 'hundred')[n % 3]}.",
    "a code": lambda text, n: f"{text} In ZQX.",
    "a name of a field": lambda text, n: f"{text} In flight_zqx.",
    "a quotation": lambda text, n: f'{text} It is "the best".',
    "a line": lambda text, n: f"{text}\nThank you.",
    "markup": lambda text, n: f"<em>{text}</em>",
    "a foreign script": lambda text, n: f"{text} 谢谢",
    "an emoji": lambda text, n: f"{text} 🙂",
    "something unseen": lambda text, n: f"{text}\u200b",
    "chat before": lambda text, n: f"{('Sure,', 'Of course!', 'Here is what I would say:', 'Answer:')[n % 4]} {text}",
    "chat after": lambda text, n: f"{text} {('I hope this helps.', 'All slots are kept.', 'It was rephrased.')[n % 3]}",
    "a refusal": lambda text, n: f"I cannot do that. {text}",
    "much too long": lambda text, n: text + " And so on, and so on." * (len(text) // 7),
}
"""What a model may do to a template, one damage each."""


def _slot(text: str, number: int) -> str:
    slots = sorted(set(Template.parse(text).slots))
    assume(slots)
    return slots[number % len(slots)]


@pytest.mark.parametrize("damage", DAMAGES)
@given(template=st.sampled_from(TEMPLATES), number=st.integers(0, 10_000))
def test_verification_finds_each_single_damage(damage: str, template: str, number: int) -> None:
    good = say(template)
    assert not list(problems(template, good))
    damaged = DAMAGES[damage](good, number)
    assume(damaged != good)
    assert list(problems(template, damaged))


@given(template=st.sampled_from(TEMPLATES), data=st.data())
def test_no_number_or_code_can_be_left_out(template: str, data: st.DataObject) -> None:
    words = re.findall(r"(?<![\w{])\w+(?![\w}])", template)
    telling = {word for word in words if word[-1].isdigit() or (word.isupper() and word not in ("A", "I"))}
    assume(telling)
    word = data.draw(st.sampled_from(sorted(telling)))
    without = re.sub(rf"(?<![\w{{]){word}(?![\w}}])", "it", template)
    assert "a number or code is lost" in list(problems(template, say(without)))


def test_letters_that_tell_answers_apart_cannot_be_left_out() -> None:
    phrasing = "Look up {a} (answer A). Look up {b} (answer B). Compare the town in answer A with that in answer B."
    assert not list(problems(phrasing, say(phrasing)))
    for gone in "AB":
        damaged = say(phrasing).replace(f"answer {gone}", "it")
        assert list(problems(phrasing, damaged)) == ["a number or code is lost"]


@given(phrasing=st.sampled_from([*TEMPLATES, " "]), text=st.text(max_size=200), place=st.integers(0, 10_000))
def test_verification_takes_any_text(phrasing: str, text: str, place: int) -> None:
    """Whatever a model says: it is told what is wrong, or it is a template with the same slots."""
    for said in (text, phrasing[: place % len(phrasing)] + text + phrasing[place % len(phrasing) :]):
        if not list(problems(phrasing, said)):
            assert sorted(Template.parse(said).slots) == sorted(Template.parse(phrasing).slots)


@given(st.sampled_from(TEMPLATES))
def test_a_template_is_no_version_of_itself(template: str) -> None:
    assert "nothing new" in list(problems(template, template))
    assert "nothing new" in list(problems(template, say(template), [say(template).upper().lower()]))


@pytest.mark.long
def test_a_real_language_model(model_url: str) -> None:  # noqa: F811
    """It is small and may fail most: what is accepted verifies, and the run ends in order."""
    travel = "travel" in WORLD_NAMES
    stored = snapshot_workflows(Snapshot(snapshot_path("travel"))) if travel else LIBRARY
    chosen = sorted((text for workflow in stored.workflows for text in workflow.phrasings), key=len)[:8]
    chat = OpenAIChat(MODEL, model_url, temperature=0.7, seed=1)
    found = rewrite(stored, chat, phrasings=chosen, concurrency=2)
    assert found.asked == len(chosen) == found.accepted + sum(found.rejected.values())
    assert found.failed == {}
    for phrasing, (version,) in found.workflows.rewrites.items():
        assert not list(problems(phrasing, version))
    assert draw(found.workflows, "travel" if travel else "library", 20)
