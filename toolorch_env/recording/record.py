"""Recording an API into a snapshot file or a shared database: the whole of it, to be repeated until it is done."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import RecordingError, SnapshotNotFoundError
from toolorch_env.recording.api import Api
from toolorch_env.recording.asking import Patience
from toolorch_env.recording.plans.crawling import Frontier
from toolorch_env.recording.plans.plan import Plan
from toolorch_env.recording.plans.runs import plan_workflows
from toolorch_env.recording.proposals.proposal import propose, unreached
from toolorch_env.recording.recorder import Recorder, marked_tools
from toolorch_env.recording.summary import Progress, Summary
from toolorch_env.store.databases import is_url
from toolorch_env.store.declaring import check_same
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, in_batches
from toolorch_env.store.sealing import seal
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.sources import provenance
from toolorch_env.store.yaml_reader import read_yaml

MAX_PROPOSALS = 6
"""Without a plan: so often further calls are proposed from what was answered."""


@dataclass(frozen=True)
class Recording:
    """What came of a recording.

    Attributes:
        summary: what was done.
        plan: what was asked for; without a plan of the user's, the one that was proposed.
        responses: number of recorded responses that the target holds now.
        unreached: for each tool of which no call was planned, why.
    """

    summary: Summary
    plan: Plan
    responses: int
    unreached: Mapping[str, str]


@dataclass(frozen=True)
class Forecast:
    """What a recording would do.

    Attributes:
        planned: number of calls that are certain to be made, or have been recorded.
        known: of these, those that have been recorded.
        by_tool: number of calls planned for each tool.
        known_by_tool: of these, those that have been recorded.
        depends: tools of which further calls depend on responses that are not there yet; with the most of such calls,
            ``None`` where the plan sets no limit.
        run_calls: most calls that runs of workflows make.
        unreached: for each tool that nothing calls, why.
    """

    planned: int
    known: int
    by_tool: Mapping[str, int]
    known_by_tool: Mapping[str, int]
    depends: Mapping[str, int | None]
    run_calls: int
    unreached: Mapping[str, str]


def record(
    api: Api,
    target: str | os.PathLike[str],
    plan: Plan | None = None,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Records an API; what is recorded already is not asked again::

        api = asyncio.run(open_http_api("https://api.example.org/openapi.json"))
        record(api, "example.sqlite", load_plan("plan.yaml"))

    Recording into a file, answers go to ``<target>.recording`` as they come in; when all calls were made, the snapshot
    takes its place at once. Killed at any moment and called again, a recording goes on where it was. A snapshot that is
    there already is added to. Recording into a database (``postgresql://...``), several recorders may work at once.

    Args:
        api: the API.
        target: path of the snapshot, or URL of a database.
        plan: which calls to make; if it asks for none, calls are proposed from the tools and from what they answer.
        patience: how hard the API is asked.
        progress: is told after each call.

    Raises:
        PlanError, WorkflowError: the plan does not fit the API.
        RecordingError: the API is gone, gave no answer at all, or is not the one that the target holds. What was
            answered is kept.
        SnapshotError: the target cannot be written, or is no snapshot.
    """
    return asyncio.run(record_async(api, target, plan, patience=patience, progress=progress))


async def record_async(
    api: Api,
    target: str | os.PathLike[str],
    plan: Plan | None = None,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Recording:
    """The same as :func:`record`, within an event loop."""
    plan = plan or Plan()
    tools = marked_tools(api.tools, plan)
    with _working_store(target) as store:
        _declare(store, api, tools, plan, target)
        recorder = Recorder(api, tools, store, patience or Patience(), progress, shared=is_url(target))
        done = await _carry_out(recorder, tools, store, plan)
        responses = len(store)
        if not responses:
            examples = "; ".join(recorder.summary.unanswered.examples.values()) or "no calls were planned"
            raise RecordingError(f"nothing was recorded of {api.source}: {examples}")
        if not is_url(target):
            _remove_unfinished(Path(target))
            seal(store, Path(target), learn_misses=True)
    return Recording(recorder.summary, done, responses, _unreached(tools, done))


def forecast(tools: ToolSet, plan: Plan, target: str | os.PathLike[str]) -> Forecast:
    """What recording these tools by a plan would do, without asking anything.

    Raises:
        PlanError, WorkflowError: the plan does not fit the tools.
    """
    tools = marked_tools(tools, plan)
    held = _held_records(target)
    frontier = Frontier(plan, tools)

    def find(keys: Sequence[bytes]) -> dict[bytes, Record]:
        return {key: held[key] for key in keys if key in held}

    while frontier.next_round(find):
        pass
    workflows = plan_workflows(plan, tools)
    runs = plan.workflows.runs if plan.workflows else 0
    open_tools = {name for name in tools if any(key not in held for key in frontier.planned(name))}
    return Forecast(
        planned=len(frontier),
        known=sum(key in held for key in frontier.planned()),
        by_tool={name: count for name in tools if (count := sum(1 for _ in frontier.planned(name)))},
        known_by_tool={name: sum(key in held for key in frontier.planned(name)) for name in tools},
        depends={
            request.tool: request.sample for request in plan.requests if _waits(request.sources, open_tools, plan)
        },
        run_calls=runs * sum(len(workflow.steps) for workflow in workflows.workflows) if workflows else 0,
        unreached=_unreached(tools, plan),
    )


def _waits(sources: set[str], open_tools: set[str], plan: Plan) -> bool:
    """Whether a request waits, directly or through others, for tools that still have to answer."""
    reached = set(sources)
    while more := {s for request in plan.requests if request.tool in reached for s in request.sources} - reached:
        reached |= more
    return bool(reached & open_tools)


def _unreached(tools: ToolSet, plan: Plan) -> dict[str, str]:
    """Tools that neither a request nor a run of a workflow calls, and why."""
    workflows = plan_workflows(plan, tools) if plan.workflows and plan.workflows.runs else None
    run = {step.tool for workflow in workflows.workflows for step in workflow.steps} if workflows else set()
    return {name: why for name, why in unreached(tools, plan).items() if name not in run}


def first_plan(tools: ToolSet, plan: Plan) -> Plan:
    """The plan itself; one that asks for nothing gets the requests that are proposed before anything is known."""
    if plan.requests or (plan.workflows and plan.workflows.runs):
        return plan
    return plan.model_copy(update={"requests": propose(tools, seed=plan.seed).requests})


async def _carry_out(recorder: Recorder, tools: ToolSet, store: RecordStore, given: Plan) -> Plan:
    """Records by a plan, or proposes and records in turn; returns the plan that was carried out.

    Proposals go by the answers to proposed calls alone, whatever else the store holds.
    """
    plan = first_plan(tools, given)
    for _ in range(MAX_PROPOSALS):
        frontier = await recorder.carry_out(plan)
        if plan is given:
            break
        answered = store.find(list(frontier.planned())).values()
        requests = propose(tools, answered, former=plan, seed=plan.seed).requests
        if requests == plan.requests:
            break
        plan = plan.model_copy(update={"requests": requests})
    return plan


def working_file(target: str | os.PathLike[str]) -> Path:
    """Where the answers are kept until the snapshot is written."""
    return Path(f"{os.fspath(target)}.recording")


@contextmanager
def _working_store(target: str | os.PathLike[str]) -> Iterator[RecordStore]:
    """The store that answers go to. Its file goes away when the snapshot is written, or if it holds nothing."""
    with RecordStore(_where(target)) as store:
        done = False
        try:
            yield store
            done = True
        finally:
            if not is_url(target) and (done or not len(store)):
                _remove(working_file(target))  # while it is locked: else it may be another recorder's already


def _where(target: str | os.PathLike[str]) -> str | Path:
    return str(target) if is_url(target) else working_file(target)


def _declare(store: RecordStore, api: Api, tools: ToolSet, plan: Plan, target: str | os.PathLike[str]) -> None:
    """Says what is recorded. What was said before stays where nothing else is said now."""
    workflows = plan_workflows(plan, tools)
    document: Any = None
    if workflows is not None and plan.workflows is not None:
        document = read_yaml((plan.folder / plan.workflows.file).read_text(encoding="utf-8"))
    finished = None if is_url(target) or not Path(target).exists() else Snapshot(target)
    if finished is not None:
        check_same(str(finished.path), finished.tools, tools)
    before = store.meta if finished is None else provenance(finished)
    store.declare(
        tools.values(),
        name=plan.name or before.get("name") or (api.source if is_url(target) else Path(target).stem),
        description=plan.description or before.get("description", ""),
        source=plan.source or before.get("source") or api.source,
        licence=plan.licence or before.get("licence", ""),
        workflows=finished.workflows if document is None and finished is not None else document,
        links=None if finished is None else finished.links,
    )
    for batch in in_batches(finished.records() if finished is not None else ()):
        store.add(batch)


def _held_records(target: str | os.PathLike[str]) -> dict[bytes, Record]:
    held: dict[bytes, Record] = {}
    if not is_url(target) and Path(target).exists():
        held |= {record.key: record for record in Snapshot(target).records()}
    with suppress(SnapshotNotFoundError), RecordStore(_where(target), create=False) as store:
        held |= {record.key: record for record in store.records()}
    return held


def _remove_unfinished(target: Path) -> None:
    """Removes what recorders left that were killed while they wrote the snapshot; the store's lock keeps others out."""
    for path in target.parent.glob(f".{escape(target.name)}.*.partial*"):
        path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
