"""Small data sets of a library, in the shapes that the field publishes its data in."""

import json
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

AUTHORS = ["Ada Winter", "Bo Quill"]


def write_pickle(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, documents: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def tool(name: str, required: Sequence[str] = (), /, **types: str) -> dict[str, Any]:
    """A tool schema in the dialect."""
    properties = {parameter: {"type": kind, "description": parameter} for parameter, kind in types.items()}
    return {
        "name": name,
        "description": f"{name} of the library.",
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
        "response": {"type": "dict", "properties": {"status": {"type": "boolean"}}},
    }


TOOLS = [
    tool("Find_Author", ["name"], name="string"),
    tool("List_Books", ["author_id"], author_id="integer", minRating="float"),
    tool("Get_Book", ["isbn"], isbn="string"),
    tool("Opening_Hours", day="string"),
]


def author_body(number: int) -> dict[str, Any]:
    return {"status": True, "message": "Success", "data": [{"id": 40 + number, "name": AUTHORS[number]}]}


def books_body(number: int) -> dict[str, Any]:
    """Without the wrapper that other bodies have."""
    return {"books": [{"isbn": f"0-{number}0", "rating": 4.25}, {"isbn": f"0-{number}1", "rating": 3.5}]}


def book_body(isbn: str) -> dict[str, Any]:
    return {"status": True, "message": "Success", "data": {"isbn": isbn, "pages": 120}}


def step(
    number: int,
    function: str,
    arguments: dict[str, Any],
    body: Any = "",
    depends_on: Sequence[int] = (),
    candidates: Sequence[str] = ("Opening_Hours",),
    /,
    **executed: Any,
) -> dict[str, Any]:
    """A step of a published task."""
    execution = {"step": number, "function": function, "arguments": arguments, "execution_result": body}
    return {
        "step": number,
        "ground_truth": {"function": function, "arguments": arguments},
        "candidate_tools": list(candidates),
        "depends_on": list(depends_on),
        "execution_result": {**execution, "success": True, **executed},
    }


def task(query: str, steps: list[dict[str, Any]], workflow: str = "workflow_0") -> dict[str, Any]:
    """A published task."""
    return {
        "query": query,
        "workflow_id": workflow,
        "workflow_pattern": [one["ground_truth"]["function"] for one in steps],
        "steps": steps,
        "overall_success": True,
        "metadata": {},
    }


def library_task(number: int, *, evaluation: bool = False) -> dict[str, Any]:
    """Author, books, second book; for evaluation without dependencies and with the first body only."""
    isbn = f"0-{number}1"
    bodies: list[Any] = [author_body(number), books_body(number), book_body(isbn)]
    needs: list[list[int]] = [[], [0], [1]]
    if evaluation:
        bodies, needs = [bodies[0], "", ""], [[], [], []]
    arguments = [
        ("Find_Author", {"name": AUTHORS[number]}),
        ("List_Books", {"author_id": 40 + number, "minRating": 3.5}),
        ("Get_Book", {"isbn": isbn}),
    ]
    steps = [
        step(index, *made, body, needed)
        for index, (made, body, needed) in enumerate(zip(arguments, bodies, needs, strict=True))
    ]
    return task(f"How long is the second book by {AUTHORS[number]} rated 3.5 or better?", steps)


def library_tasks(*, evaluation: bool = False) -> list[dict[str, Any]]:
    return [library_task(number, evaluation=evaluation) for number in range(len(AUTHORS))]


CACHE = {
    "Find_Author": [
        {"arguments": {"name": "Cy Nib"}, "response": {"status": True, "data": [{"id": 42}]}},
        {"arguments": {"name": ""}, "response": {"status": False, "message": "name is empty"}},
    ],
    "Get_Book": [
        {"arguments": {"isbn": "0-99"}, "response": ""},
        {"arguments": {"isbn": "0-98"}},
        {"arguments": {"isbn": "0-97"}, "response": [{"isbn": "0-97"}]},
    ],
}


def template(name: str, *steps: tuple[str, dict[str, Any], dict[str, tuple[int, str]]], frequency: int = 3) -> Any:
    """A published workflow template: steps of function, arguments, and where some of these come from."""
    dependencies = {
        str(number): {
            "function": function,
            "arguments": arguments,
            "depends_on": sorted({step for step, _ in origins.values()}),
            "dependency_args": {
                argument: {"from_step": step, "from_field": field, "value": arguments.get(argument)}
                for argument, (step, field) in origins.items()
            },
        }
        for number, (function, arguments, origins) in enumerate(steps)
    }
    pattern = [function for function, _, _ in steps]
    return {"id": name, "pattern": pattern, "frequency": frequency, "dependencies": dependencies, "examples": []}


def templates(*listed: Any) -> dict[str, Any]:
    """A file of templates."""
    return {
        "metadata": {"total_workflows": len(listed)},
        "workflows": list(listed),
        "function_stats": {},
        "dependency_patterns": {},
    }


LIBRARY_TEMPLATE = template(
    "workflow_0",
    ("Find_Author", {"name": "Ada Winter"}, {}),
    ("List_Books", {"author_id": 40, "minRating": 3.5}, {"author_id": (0, "[0].id")}),
    ("Get_Book", {"isbn": "0-01"}, {"isbn": (1, "books[1].isbn")}),
)


def sample(name: str, turns: list[list[tuple[str, Any, Any]]], functions: list[Any] | None = None) -> dict[str, Any]:
    """A conversation with some calls and their bodies in each turn."""
    conversation: list[dict[str, Any]] = [{"role": "user", "content": f"Please do {name}."}]
    for calls in turns:
        made = [{"name": function, "arguments": arguments} for function, arguments, _ in calls]
        conversation.append({"role": "assistant", "function_call": made})
        conversation.append({"role": "observation", "content": [body for _, _, body in calls]})
    conversation.append({"role": "assistant", "content": "That is done."})
    return {"id": name, "functions": TOOLS if functions is None else functions, "conversations": conversation}
