"""Does the inferred tool graph find the data flows that people wrote? And how fast are tasks drawn on it?

    python benchmarks/tool_graph.py [--data FOLDER] [--json FILE] [--list]

Infers the tool graphs of the bundled snapshot ``travel`` and of the published Booking.com data, and compares their
edges (those that echo no argument) with flows that were written by hand or published:

    travel               (tool, field, tool, parameter) of its hand-written workflows, fields by their last key
    booking templates    (tool, tool, parameter) of the published workflow templates
    booking patterns     (tool, tool, parameter) of the published ``dependency_patterns``: each pair of a tool that is
                         required and an argument that depends on any

    recall       share of the written flows that have an edge
    possible     recall among those that the recordings can show: the first tool has recorded successes, and the
                 parameter recorded values
    precision    share of the edges that are written flows. It is a lower bound: nobody wrote down all flows that make
                 sense; ``--list`` shows the others, for judging them by hand

Each at several thresholds. Then tasks are drawn from each graph: how long it takes to infer it, to compile the snapshot
for it, and until all workflows are kept that tasks come from; how many tasks a second come then; and how many workflows
that are drawn have none. Exit code 1 if recall or speed is below its limit.
"""

import json
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from memory import resident_mb
from rich.console import Console
from rich.table import Table

from toolorch_env.generation.graph_generator import GraphGenerator
from toolorch_env.generation.tool_graph import THRESHOLD, Edge, ToolGraph, infer_tool_graph
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.pipeline import import_data_set
from toolorch_env.recording.importing.templates import published_dependencies
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import ResponseArgument, WorkflowSet, snapshot_workflows

TASKS, TEMPLATES, TOOLS = "bfcl_training_3_per_workflow.pkl", "workflow_templates.json", "booking_tools.jsonl"
DATA = Path(__file__).parents[2] / "shared" / "booking"
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_RECALL = 0.9
LEAST_PER_SECOND = 1000
console = Console(width=140)

Flow = tuple[str, ...]


def written_flows(workflows: WorkflowSet) -> set[Flow]:
    """Tool, field, tool and parameter of every binding of workflows."""
    found: set[Flow] = set()
    for workflow in workflows.workflows:
        tools = {step.id: step.tool for step in workflow.steps}
        for step in workflow.steps:
            for name, argument in step.arguments.items():
                if isinstance(argument, ResponseArgument):
                    found.add((tools[argument.step], last_key(argument.select), step.tool, name))
    return found


def last_key(select: str) -> str:
    """The last key of an expression."""
    keys: list[str] = re.findall(r"[A-Za-z_]\w*", re.sub(r" \| \[0\]$", "", select))
    return keys[-1]


def template_flows(path: Path) -> set[Flow]:
    """Tool, tool and parameter of every dependency of published templates."""
    return {
        (template.pattern[one.from_step], template.pattern[one.step], one.argument)
        for template in published_dependencies(path)
        for one in template.dependencies
    }


def pattern_flows(path: Path) -> set[Flow]:
    """Tool, tool and parameter of the published dependency patterns."""
    return {
        (source, tool, argument)
        for tool, pattern in orjson.loads(path.read_bytes())["dependency_patterns"].items()
        for source, argument in product(pattern["requires_from"], pattern["dependent_args"])
    }


def with_field(edge: Edge) -> Flow:
    """An edge as tool, field, tool and parameter."""
    return (edge.source, edge.leaf, edge.tool, edge.parameter)


def without_field(edge: Edge) -> Flow:
    """An edge as tool, tool and parameter."""
    return (edge.source, edge.tool, edge.parameter)


def possible(flows: Iterable[Flow], snapshot: Snapshot) -> set[Flow]:
    """The flows that recordings can show."""
    answered, passed = set(), set()
    for record in snapshot.records():
        if record.response.success:
            answered.add(record.tool)
            passed |= {(record.tool, name) for name in orjson.loads(record.arguments)}
    return {flow for flow in flows if flow[0] in answered and flow[-2:] in passed}


def curve(
    graph: ToolGraph, written: Collection[Flow], view: Callable[[Edge], Flow], snapshot: Snapshot
) -> list[dict[str, Any]]:
    """Precision and recall at each threshold."""
    shown = possible(written, snapshot)
    rows = []
    for threshold in THRESHOLDS:
        found = {view(edge) for edge in graph.flows if edge.score >= threshold}
        rows.append(
            {
                "threshold": threshold,
                "edges": len(found),
                "written": len(written),
                "both": len(found & set(written)),
                "recall": len(found & set(written)) / len(written),
                "possible": len(found & shown) / max(len(shown), 1),
                "precision": len(found & set(written)) / max(len(found), 1),
            }
        )
    return rows


def unwritten(graph: ToolGraph, written: Collection[Flow], view: Callable[[Edge], Flow]) -> list[str]:
    """The edges above the usual threshold that nobody wrote."""
    edges = [edge for edge in graph.flows if edge.score >= THRESHOLD and view(edge) not in written]
    return [f"{e.score:.2f} {e.source} {e.selects[0]} -> {e.tool} {e.parameter}" for e in edges]


def drawing(snapshot: Snapshot, tasks: int) -> dict[str, Any]:
    """How fast tasks are drawn, at first and afterwards, and how many drawn workflows have none.

    Returns:
        Seconds to infer the graph, to compile the snapshot for its links, to compile and draw the first task, and from
        then until all workflows are kept that tasks come from; tasks a second from then on; numbers of workflows; and
        resident memory of the process so far, in MB.
    """
    begun = time.perf_counter()
    graph = infer_tool_graph(snapshot)
    inferring = time.perf_counter() - begun
    begun = time.perf_counter()
    snapshot.compiled_for(graph.links())
    compiling = time.perf_counter() - begun
    begun = time.perf_counter()
    generator = GraphGenerator(snapshot, graph)
    rng = np.random.default_rng(0)
    names = {generator.sample(rng).workflow}
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    while time.perf_counter() - begun < 30 and len(names) < 1000 and generator.counts["drawn"] < 20_000:
        before = generator.counts["drawn"]
        names |= {generator.sample(rng).workflow for _ in range(2 * generator.variety)}
        if generator.counts["drawn"] == before:
            break
    warming = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(tasks):
        generator.sample(rng)
    return {
        "inferring_s": inferring,
        "compiling_s": compiling,
        "first_task_s": first,
        "warming_s": warming,
        "tasks_per_s": tasks / (time.perf_counter() - begun),
        "workflows": len(names),
        **generator.counts,
        "memory_mb": resident_mb(),
    }


def import_published(data: Path, target: Path) -> Snapshot:
    """The published training tasks as a snapshot."""
    import_data_set(read_booking([data / TASKS, data / TOOLS, data / TEMPLATES]), target)
    return Snapshot(target)


def measure_travel() -> dict[str, Any]:
    """All figures of the bundled snapshot."""
    snapshot = open_snapshot("travel")
    graph = infer_tool_graph(snapshot, threshold=THRESHOLDS[0])
    written = written_flows(snapshot_workflows(snapshot))
    return {
        "travel": curve(graph, written, with_field, snapshot),
        "travel_unwritten": unwritten(graph, written, with_field),
        "travel_missing": sorted(map(str, written - {with_field(e) for e in graph.flows if e.score >= THRESHOLD})),
        "travel_drawing": drawing(snapshot, 5000),
    }


def measure_booking(data: Path) -> dict[str, Any]:
    """All figures of the published data."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot = import_published(data, Path(folder) / "booking.sqlite")
        graph = infer_tool_graph(snapshot, threshold=THRESHOLDS[0])
        written = template_flows(data / TEMPLATES)
        return {
            "booking_templates": curve(graph, written, without_field, snapshot),
            "booking_patterns": curve(graph, pattern_flows(data / TEMPLATES), without_field, snapshot),
            "booking_unwritten": unwritten(graph, written, without_field),
            "booking_drawing": drawing(snapshot, 1000),
        }


def show(figures: dict[str, Any], everything: bool) -> None:
    """Prints the figures."""
    table = Table("flows", "threshold", "edges", "written", "both", "recall", "possible", "precision")
    for name in ("travel", "booking_templates", "booking_patterns"):
        for row in figures.get(name, ()):
            counts = (str(row[key]) for key in ("threshold", "edges", "written", "both"))
            table.add_row(name, *counts, *(f"{row[key]:.1%}" for key in ("recall", "possible", "precision")))
    console.print(table)
    for name in ("travel_drawing", "booking_drawing"):
        if name in figures:
            console.print(name, {key: round(value, 2) for key, value in figures[name].items()})
    for name in ("travel_missing", "travel_unwritten", "booking_unwritten") if everything else ():
        console.print(f"{name}:", *figures.get(name, ()), sep="\n  ", highlight=False, markup=False)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the published data.")] = DATA,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    everything: Annotated[bool, typer.Option("--list", help="List the edges that nobody wrote.")] = False,
) -> None:
    """Compares inferred tool graphs with flows that people wrote."""
    figures = measure_travel()
    if all((data / name).is_file() for name in (TASKS, TEMPLATES, TOOLS)):
        figures |= measure_booking(data)
    else:
        console.print(f"the published data is not in {data}: say with --data where it lies")
    show(figures, everything)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    recall = next(row["possible"] for row in figures["travel"] if row["threshold"] == THRESHOLD)
    fast = figures["travel_drawing"]["tasks_per_s"] >= LEAST_PER_SECOND
    raise typer.Exit(0 if recall >= LEAST_RECALL and fast else 1)


if __name__ == "__main__":
    typer.run(main)
