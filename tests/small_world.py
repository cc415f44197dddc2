"""A small recorded world for tests: a library with authors, books and loans. Facts and rules are all in this file."""

from pathlib import Path
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link
from toolorch_env.store.workflows import WorkflowSet, parse_workflows
from toolorch_env.store.writer import SnapshotWriter

AUTHORS = [{"author_id": f"A{i}", "name": f"Author {i}", "born": 1900 + i, "town_id": f"T{i % 3}"} for i in range(12)]
BOOKS = [
    {
        "book_id": 100 + i,
        "author_id": f"A{i % 12}",
        "title": f"Book {i}",
        "pages": 90 + 37 * i % 400,
        "price": 5.25 + i / 7,
    }
    for i in range(40)
]
TOWNS = [{"town_id": f"T{i}", "latitude": 47.1234567 + i, "longitude": -8.7654321 - i} for i in range(3)]


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> Tool:
    return Tool(name, description, {"type": "object", "properties": properties, "required": required})


TEXT = {"type": "string"}
TOOLS = [
    _tool("search_authors", "Authors born from a year on.", {
        "born_from": {"type": "integer", "minimum": 1800, "maximum": 2100},
        "limit": {"type": "integer", "default": 5, "minimum": 1, "maximum": 20},
    }, ["born_from"]),
    _tool("get_author", "One author.", {"author_id": {"type": "string", "pattern": "^A[0-9]+$"}}, ["author_id"]),
    _tool("books_of_author", "Books of an author.", {
        "author_id": {"type": "string", "pattern": "^A[0-9]+$"},
        "sort": {"type": "string", "enum": ["title", "pages"], "default": "title"},
    }, ["author_id"]),
    _tool("get_book", "One book.", {"book_id": {"type": "integer"}}, ["book_id"]),
    _tool("book_by_title", "The same book by its title.", {"title": TEXT}, ["title"]),
    _tool("get_town", "One town.", {"town_id": TEXT}, ["town_id"]),
    _tool("towns_near", "Towns near a point.", {"latitude": {"type": "number"}, "longitude": {"type": "number"}},
          ["latitude", "longitude"]),
    _tool("convert_price", "A price in another currency.", {
        "price": {"type": "number"}, "currency": {"type": "string", "enum": ["CHF", "EUR"]}}, ["price", "currency"]),
    _tool("opening_hours", "Opening hours on a weekday.", {"weekday": TEXT}, ["weekday"]),
]  # fmt: skip

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]


def answers() -> list[tuple[Call, int, Any]]:
    """Every recorded call with its answer."""
    found: list[tuple[Call, int, Any]] = []
    for year in range(1898, 1914):
        authors = [author for author in AUTHORS if author["born"] >= year][:5]
        body = {"count": len(authors), "authors": [{k: a[k] for k in ("author_id", "name", "born")} for a in authors]}
        found.append((Call("search_authors", {"born_from": year}), 200, body))
    for author in AUTHORS:
        found.append((Call("get_author", {"author_id": author["author_id"]}), 200, author))
        books = [book for book in BOOKS if book["author_id"] == author["author_id"]]
        for sort in ("title", "pages"):
            listed = sorted(books, key=lambda book: book[sort])
            call = Call("books_of_author", {"author_id": author["author_id"], "sort": sort})
            found.append((call, 200, {"books": [{k: b[k] for k in ("book_id", "title", "pages")} for b in listed]}))
    for book in BOOKS:
        found.append((Call("get_book", {"book_id": book["book_id"]}), 200, book))
        found.append((Call("book_by_title", {"title": book["title"]}), 200, book))
        for currency, rate in (("CHF", 0.9), ("EUR", 0.95)):
            body = {"converted": round(book["price"] * rate, 2), "currency": currency}
            found.append((Call("convert_price", {"price": book["price"], "currency": currency}), 200, body))
    for town in TOWNS:
        found.append((Call("get_town", {"town_id": town["town_id"]}), 200, town))
        call = Call("towns_near", {"latitude": town["latitude"], "longitude": town["longitude"]})
        found.append((call, 200, {"towns": [town["town_id"]]}))
    for number, weekday in enumerate(WEEKDAYS):
        found.append((Call("opening_hours", {"weekday": weekday}), 200, {"opens": f"{8 + number}:00"}))
    found.append((Call("get_author", {"author_id": "A999"}), 404, {"detail": "No such author."}))
    found.append((Call("books_of_author", {"author_id": "A998"}), 200, {"books": []}))
    return found


WORKFLOWS: dict[str, Any] = {
    "domain": "library",
    "kinds": {"author": "author id", "year": "year", "currency": "currency code", "weekday": "day of the week",
              "title": "title of a book"},
    "distractions": ["My favourite is {author}.", "I was born in {year}.", "I never read on {weekday}."],
    "workflows": [
        {
            "name": "author_town",
            "literals": {"author_id": "author"},
            "steps": [
                {"id": "author", "tool": "get_author", "arguments": {"author_id": {"query": "author_id"}}},
                {"id": "town", "tool": "get_town", "arguments": {"town_id": {"from": "author", "select": "town_id"}}},
            ],
            "phrasings": ["Where does {author_id} live?", "Town of {author_id}, please.", "{author_id}: which town?"],
        },
        {
            "name": "town_neighbours",
            "literals": {"author_id": "author"},
            "steps": [
                {"id": "near", "tool": "towns_near", "arguments": {
                    "latitude": {"from": "town", "select": "latitude"},
                    "longitude": {"from": "town", "select": "longitude"}}},
                {"id": "author", "tool": "get_author", "arguments": {"author_id": {"query": "author_id"}}},
                {"id": "town", "tool": "get_town", "arguments": {"town_id": {"from": "author", "select": "town_id"}}},
            ],
            "phrasings": ["Which towns are near the home of {author_id}?"],
        },
        {
            "name": "longest_book_price",
            "literals": {"born_from": "year", "currency": "currency", "weekday": "weekday"},
            "steps": [
                {"id": "authors", "tool": "search_authors", "arguments": {"born_from": {"query": "born_from"}}},
                {"id": "books", "tool": "books_of_author",
                 "arguments": {"author_id": {"from": "authors", "select": "authors[0].author_id"}}},
                {"id": "book", "tool": "get_book",
                 "arguments": {"book_id": {"from": "books", "select": "max_by(books, &pages).book_id"}}},
                {"id": "price", "tool": "convert_price", "arguments": {
                    "price": {"from": "book", "select": "price"}, "currency": {"query": "currency"}}},
                {"id": "hours", "tool": "opening_hours", "arguments": {"weekday": {"query": "weekday"}}},
            ],
            "phrasings": [
                "Take the first author born from {born_from} on: what does their longest book cost in {currency}? "
                "And when do you open on {weekday}?",
                "On {weekday} I come by, when do you open? Price in {currency} of the longest book by the first author "
                "born {born_from} or later, please.",
                "{born_from}, {currency}, {weekday}: first author, longest book, its price; opening hours.",
            ],
        },
        {
            "name": "compare_authors",
            "literals": {"author_id": "author", "other_author_id": "author"},
            "steps": [
                {"id": "left", "tool": "get_author", "arguments": {"author_id": {"query": "author_id"}}},
                {"id": "right", "tool": "get_author", "arguments": {"author_id": {"query": "other_author_id"}}},
                {"id": "left_town", "tool": "get_town",
                 "arguments": {"town_id": {"from": "left", "select": "town_id"}}},
                {"id": "right_town", "tool": "get_town",
                 "arguments": {"town_id": {"from": "right", "select": "town_id"}}, "after": ["left_town"]},
            ],
            "phrasings": ["Compare the towns of {author_id} and, after that, {other_author_id}."],
        },
    ],
}  # fmt: skip

EXTRA_LINKS = (Link("title", "books_of_author", "books[0].title"),)


def workflow_set() -> WorkflowSet:
    """The world's workflows."""
    return parse_workflows(WORKFLOWS)


def write_small_world(path: Path) -> Path:
    """Writes the world as a snapshot."""
    with SnapshotWriter(
        path,
        TOOLS,
        name="library",
        workflows=WORKFLOWS,
        links=workflow_set().links().union(EXTRA_LINKS),
    ) as writer:
        for call, status, body in answers():
            writer.add(call, status, body, latency=0.001, recorded_at=1_700_000_000)
    return path
