"""The report: complete, self-contained, harmless whatever models wrote, and usable in a real browser."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ChatModelError, RunError
from toolorch_env.evaluation.evaluations import evaluate_policy
from toolorch_env.evaluation.report.rendering import _differences, render_report
from toolorch_env.evaluation.run_files import Run, read_run
from toolorch_env.evaluation.runs import failed_episode
from toolorch_env.evaluation.summary import summarize
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.store.snapshot import Snapshot

LIBRARY = snapshot_path("library")
CHROMIUM = shutil.which("chromium") or ""
EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


class Careless:
    """Makes a good call, one that is none, and says what no page should run."""

    name = "careless"
    env_id = "ToolOrchText-v0"

    def reset(self, env: Any, rng: Any) -> None:
        self.env = env.unwrapped
        self.made = 0

    def act(self, observation: str, info: dict[str, Any]) -> str:
        self.made += 1
        call = self.env.episode.task.reference[0]
        harmless = EVIL.replace('"', "'")
        tries = [
            self.env.action_for(Call(call.tool, call.arguments)),
            '<tool_call>{"name": "EVIL", "arguments": {"a": "EVIL"}}</tool_call>'.replace("EVIL", harmless),
            f'<tool_call>{{"broken {EVIL}</tool_call>',
        ]
        return tries[self.made - 1] if self.made <= len(tries) else EVIL


def played(policy: Any, folder: Path, tasks: int = 6, name: str = "library", **options: Any) -> Run:
    env = gym.make("ToolOrchText-v0", snapshot=snapshot_path(name), **options)
    path = folder / f"{type(policy).__name__}-{name}.jsonl"
    evaluate_policy(env, policy, tasks=tasks, seed=1, path=path)
    return read_run(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Run]]:
    folder = tmp_path_factory.mktemp("runs")
    careless = played(Careless(), folder)
    failure = failed_episode(9, 0, f"task {EVIL}", ChatModelError("no answer within 3 s", "timeout"))
    with_failure = Run(careless.header, careless.episodes, [failure])
    return [("oracle", played(OraclePolicy("ToolOrchText-v0"), folder)), (f"careless {EVIL}", with_failure)]


class Reader(HTMLParser):
    """Collects tags with their attributes; every tag that is opened has to be closed."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr", "path", "use", "line", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_it_needs_nothing_else_and_is_well_formed(runs: list[tuple[str, Run]]) -> None:
    reader = Reader()
    reader.feed(render_report(runs))
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed")
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)


def test_it_tells_the_figures(runs: list[tuple[str, Run]]) -> None:
    document = render_report(runs)
    for _, run in runs:
        for estimate in summarize(run.outcomes).metrics.values():
            assert f"{estimate.value:.3f}<small>{estimate.low:.3f} to {estimate.high:.3f}</small>" in document
    assert document.count('class="transcript"') == 12
    assert "timeout: 1" in document
    assert "no answer within 3 s" in document


def test_what_models_write_is_text(runs: list[tuple[str, Run]]) -> None:
    document = render_report(runs)
    assert document.count("<script>") == 1
    assert "<img" not in document
    assert "&lt;script&gt;" in document


def test_transcripts_are_limited_and_failures_come_first(runs: list[tuple[str, Run]]) -> None:
    document = render_report(runs, transcripts=2)
    assert document.count('class="transcript"') == 4
    assert document.count("4 more episodes of") == 2
    assert 'class="transcript"' not in render_report(runs, transcripts=0)


def test_the_same_runs_give_the_same_page(runs: list[tuple[str, Run]]) -> None:
    one, other = (re.sub(r"written [^<]*", "", render_report(runs)) for _ in range(2))
    assert one == other


def test_runs_on_other_tasks_are_not_compared(runs: list[tuple[str, Run]], tmp_path: Path) -> None:
    assert "Compared with oracle" in render_report(runs)
    other = next(name for name in WORLD_NAMES if name not in ("library", "bank"))
    elsewhere = played(OraclePolicy("ToolOrchText-v0"), tmp_path, name=other)
    assert "Compared with" not in render_report([runs[0], ("other", elsewhere)])


@pytest.mark.parametrize("changed", [{"content_hash": "other"}, {"max_calls": 3}, {"on_miss": "nearest"}])
def test_runs_that_were_answered_or_limited_otherwise_are_not_compared(
    runs: list[tuple[str, Run]], changed: dict[str, Any]
) -> None:
    own = runs[0][1]
    other = Run(own.header.model_copy(update=changed), own.episodes, [])
    assert _differences([("one", own), ("other", other)]) == []


def test_tasks_of_one_id_with_other_tools_are_not_compared(runs: list[tuple[str, Run]]) -> None:
    own = runs[0][1]
    fewer = [line.model_copy(update={"task": replace(line.task, tools=line.task.tools[:-1])}) for line in own.episodes]
    assert _differences([("one", own), ("other", Run(own.header, fewer, []))]) == []


def test_it_says_what_ended_an_episode(runs: list[tuple[str, Run]]) -> None:
    own = runs[0][1]
    open_ended = Run(own.header, [line.model_copy(update={"answer": None}) for line in own.episodes], [])
    assert render_report([("one", open_ended)]).count("longer than the model") == len(own.episodes)
    assert "at the call limit" not in render_report([("one", open_ended)])


def test_returns_of_different_rewards_are_not_compared(runs: list[tuple[str, Run]]) -> None:
    assert "another reward" not in render_report(runs)
    first, second = runs[0][1], runs[1][1]
    for changed in ({"reward": "atomic"}, {"reward_parameters": {"penalty": 0.0}}):
        other = Run(second.header.model_copy(update=changed), second.episodes, second.failures)
        assert render_report([("first", first), ("second", other)]).count("another reward") == 1


def test_what_cannot_be_shown_is_told(runs: list[tuple[str, Run]], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        render_report([])
    name, run = runs[0]
    with pytest.raises(RunError, match="nothing to report"):
        render_report([(name, Run(run.header, [], run.failures))])
    changed = run.header.model_copy(update={"content_hash": "other"})
    with pytest.raises(RunError, match="not what the run was played on"):
        render_report([(name, Run(changed, run.episodes, []))])
    moved = run.header.model_copy(update={"snapshot": str(tmp_path / "gone.sqlite")})
    assert render_report([(name, Run(moved, run.episodes, []))], snapshots=[Snapshot(LIBRARY)])


@pytest.fixture(scope="module")
def page(runs: list[tuple[str, Run]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no chromium: apt-get install chromium")
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(runs), encoding="utf-8")
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(quiet))
        opened = browser.new_page()
        opened.told = []
        opened.on("console", lambda message: opened.told.append(message.text))
        opened.on("pageerror", lambda error: opened.told.append(str(error)))
        opened.on("request", lambda request: opened.told.append(request.url))
        opened.goto(path.as_uri())
        assert opened.told == [path.as_uri()]
        opened.told.clear()
        yield opened
        browser.close()


def test_a_browser_runs_nothing_that_a_model_wrote(page: Any) -> None:
    assert page.title().startswith("ToolOrch: oracle")
    assert page.told == []


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ({}, 12), ({"run": "1"}, 6), ({"outcome": "clean"}, 6), ({"outcome": "failure"}, 6),
        ({"run": "0", "outcome": "failure"}, 0),
    ],
)  # fmt: skip
def test_transcripts_are_filtered_in_a_browser(page: Any, filters: dict[str, str], shown: int) -> None:
    for name in ("run", "outcome", "workflow"):
        page.select_option(f"select[name={name}]", filters.get(name, ""))
    assert page.locator("#shown").text_content() == f"{shown} shown"
    assert page.locator(".transcript:visible").count() == shown


def test_transcripts_are_found_by_words_and_opened_in_a_browser(page: Any) -> None:
    for name in ("run", "outcome", "workflow"):
        page.select_option(f"select[name={name}]", "")
    query = page.locator(".transcript .asked").first.text_content()
    page.fill("input[name=words]", query.upper())
    assert 1 <= page.locator(".transcript:visible").count() <= 2  # of each run
    first = page.locator(".transcript:visible").first
    assert not first.locator(".graph").is_visible()
    first.locator("summary").first.click()
    assert first.locator(".graph").is_visible()
    response = first.locator(".calls details").first
    assert not response.locator("pre").is_visible()
    response.locator("summary").click()
    assert response.locator("pre").is_visible()
    box = first.locator(".graph").bounding_box()
    assert box["width"] > 200
    page.fill("input[name=words]", "")
    assert page.told == []


def test_it_fits_a_narrow_screen(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
