"""Recording without a network: plans are proposed, carried out by a function, and proposed again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath

from toolorch_env.core.calls import ToolSet
from toolorch_env.recording.plans.crawling import Frontier
from toolorch_env.recording.plans.plan import CrawledValues, Plan, Request
from toolorch_env.recording.proposals.proposal import propose
from toolorch_env.store.records import Record, make_record

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]


@dataclass
class Loop:
    """The plans that were proposed one after the other, and all records."""

    plans: list[Plan]
    records: list[Record]


def record_by_proposals(tools: ToolSet, answer: Answer, sample: int = 40, rounds: int = 6) -> Loop:
    held: dict[bytes, Record] = {}

    def carry_out(plan: Plan) -> list[Record]:
        frontier = Frontier(plan, tools)
        while calls := frontier.next_round(lambda keys: {key: held[key] for key in keys if key in held}):
            for call in calls:
                if call.key not in held:
                    held[call.key] = make_record(tools, call, *answer(call.tool, call.arguments))
        return [held[key] for key in frontier.planned()]

    plans = [propose(tools, sample=sample)]
    for _ in range(rounds):
        records = carry_out(plans[-1])
        plans.append(propose(tools, records, former=plans[-1], sample=sample))
        if plans[-1] == plans[-2]:
            break
    return Loop(plans, list(held.values()))


def crawls(plan: Plan) -> set[tuple[str, str, str, str]]:
    """Tool, parameter, source tool and expression of all that a plan takes from responses."""
    return {(request.tool, *crawl) for request in plan.requests for crawl in _crawls(request)}


def crawled_pairs(plan: Plan) -> set[tuple[str, str]]:
    """Source tool and parameter of all that a plan takes from responses."""
    return {(source, parameter) for _, parameter, source, _ in crawls(plan)}


def _crawls(request: Request) -> set[tuple[str, str, str]]:
    found = {(n, s.source, s.select) for n, s in request.arguments.items() if isinstance(s, CrawledValues)}
    if request.for_each:
        nodes = [jmespath.compile(request.for_each.select).parsed]
        while nodes:
            node: Mapping[str, Any] = nodes.pop()
            if node["type"] == "key_val_pair":
                found.add((node["value"], request.for_each.source, request.for_each.select))
            nodes += [child for child in node.get("children", ()) if isinstance(child, dict)]
    return found
