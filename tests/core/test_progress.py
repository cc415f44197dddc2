"""Which calls complete the reference, and which values an agent has seen before it used them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import AUTHORS, BOOKS

from toolorch_env.core.calls import Call, CanonicalCall
from toolorch_env.core.progress import Match, Progress, Reference
from toolorch_env.core.responses import Response
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

ALL_TOOLS = (
    "search_authors", "get_author", "books_of_author", "get_book", "book_by_title", "get_town", "towns_near",
    "convert_price", "opening_hours",
)  # fmt: skip
BOOK = BOOKS[3]
AUTHOR = AUTHORS[3]

GET_AUTHOR = ReferenceCall("get_author", {"author_id": "A3"})
GET_TOWN = ReferenceCall("get_town", {"town_id": "T0"}, (Binding("town_id", 0, "town_id"),))
GET_BOOKS = ReferenceCall("books_of_author", {"author_id": "A3"})
GET_BOOK = ReferenceCall("get_book", {"book_id": 103}, (Binding("book_id", 0, "books[0].book_id"),))


class Game:
    """Plays calls against a reference, a turn at a time."""

    def __init__(
        self, snapshot: Snapshot, *reference: ReferenceCall, query: str = "A3", mentions: tuple[Any, ...] = ("A3",)
    ):
        self.replay = SnapshotReplay(snapshot)
        found = tuple(Mention(value, "kind", 0, 0) for value in mentions)
        task = Task("t", query, ALL_TOOLS, reference, found)
        self.progress = Progress(Reference(task, self.replay.tools, self.replay.look_up))

    def turn(self, *calls: Call) -> list[Match]:
        answered: list[tuple[CanonicalCall | None, Response]] = []
        for call in calls:
            canonical = self.replay.tools.canonical(call)
            answered.append((canonical, self.replay.answer(canonical)))
        return self.progress.update(answered)

    def call(self, tool: str, **arguments: Any) -> Match:
        return self.turn(Call(tool, arguments))[0]


def test_a_call_of_equal_key_completes(library_snapshot: Snapshot) -> None:
    match = Game(library_snapshot, GET_AUTHOR).call("get_author", author_id="A3")
    assert match == Match(step=0, completes=True, ordered=True, repeated=False)


@pytest.mark.parametrize("arguments", [{"author_id": "A4"}, {"author_id": "a3"}, {}, {"author_id": "A3", "x": 1}])
def test_another_call_of_the_same_tool_completes_nothing(library_snapshot: Snapshot, arguments: dict[str, Any]) -> None:
    game = Game(library_snapshot, GET_AUTHOR)
    assert game.call("get_author", **arguments) == Match(None, False, False, False)
    assert not any(game.progress.complete)


@given(st.floats(-0.49e-4, 0.49e-4), st.floats(-0.49e-4, 0.49e-4))
def test_a_call_of_equal_rounded_key_completes(library_snapshot: Snapshot, up: float, east: float) -> None:
    near = ReferenceCall("towns_near", {"latitude": 47.1234, "longitude": -8.7654})
    game = Game(library_snapshot, near, query="47.1234 -8.7654", mentions=())
    assert game.call("towns_near", latitude=47.1234 + up, longitude=-8.7654 + east).completes


@pytest.mark.parametrize(("latitude", "longitude"), [(47.1236, -8.7654), (47.1235, 8.7654), (4.71235, -8.7654)])
def test_a_fraction_that_differs_earlier_completes_nothing(
    library_snapshot: Snapshot, latitude: float, longitude: float
) -> None:
    near = ReferenceCall("towns_near", {"latitude": 47.1234567, "longitude": -8.7654321})
    assert not Game(library_snapshot, near).call("towns_near", latitude=latitude, longitude=longitude).completes


def test_another_way_to_the_same_response_completes(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, ReferenceCall("get_book", {"book_id": 103}), query="Book 3", mentions=("Book 3",))
    assert game.call("book_by_title", title="Book 3").completes


def test_another_way_needs_its_own_values_seen(library_snapshot: Snapshot) -> None:
    for query, ordered in (("the third one", False), ("Book 3, please", True)):
        game = Game(library_snapshot, ReferenceCall("get_book", {"book_id": 103}), query=query, mentions=())
        match = game.call("book_by_title", title="Book 3")
        assert (match.completes, match.ordered) == (True, ordered)


def test_another_spelled_out_choice_need_not_be_seen(library_snapshot: Snapshot) -> None:
    """Books in order of title and of pages: one body for some authors. `sort` is an enumeration."""
    same_bodies = []
    for author in AUTHORS:
        name = author["author_id"]
        books = sorted((book for book in BOOKS if book["author_id"] == name), key=lambda book: str(book["title"]))
        same_bodies.append(books == sorted(books, key=lambda book: int(book["pages"])))
        game = Game(library_snapshot, ReferenceCall("books_of_author", {"author_id": name}), mentions=(name,))
        match = game.call("books_of_author", author_id=name, sort="pages")
        assert match.completes == match.ordered == same_bodies[-1]
    assert set(same_bodies) == {True, False}


def test_empty_bodies_are_never_equivalent(library_snapshot: Snapshot) -> None:
    empty = ReferenceCall("books_of_author", {"author_id": "A998"})
    game = Game(library_snapshot, empty, query="A998 A3", mentions=())
    assert game.progress.reference.digests == (0,)
    assert not game.call("books_of_author", author_id="A998", sort="pages").completes
    assert game.call("books_of_author", author_id="A998").completes


def test_errors_are_never_equivalent(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, ReferenceCall("get_author", {"author_id": "A999"}), query="A999", mentions=())
    assert not game.call("get_author", author_id="A888").completes


def test_a_step_is_completed_once_and_repeats_are_told(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR)
    assert game.call("get_author", author_id="A3") == Match(0, True, True, False)
    assert game.call("get_author", author_id="A3") == Match(0, False, False, True)
    assert game.call("get_author", author_id="A4") == Match(None, False, False, False)
    assert game.call("get_author", author_id="A4") == Match(None, False, False, True)


def test_fractions_that_round_alike_are_a_repetition(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR)
    assert not game.call("towns_near", latitude=47.1234567, longitude=-8.7654321).repeated
    assert game.call("towns_near", latitude=47.1235, longitude=-8.7654).repeated


def test_two_equal_reference_calls_need_two_calls(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_AUTHOR)
    assert game.call("get_author", author_id="A3").step == 0
    assert not game.progress.all_complete
    assert game.call("get_author", author_id="A3").step == 1
    assert game.progress.all_complete


def test_the_same_call_in_another_way_is_no_second_solution(library_snapshot: Snapshot) -> None:
    calls = (ReferenceCall("get_book", {"book_id": 103}), ReferenceCall("get_book", {"book_id": 103}))
    game = Game(library_snapshot, *calls, query="103 Book 3", mentions=())
    game.call("book_by_title", title="Book 3")
    game.call("book_by_title", title="Book 3")
    assert game.progress.complete == [True, False]


def test_a_value_seen_in_a_response_earns_the_order(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN)
    game.call("get_author", author_id="A3")
    assert game.call("get_town", town_id="T0").ordered
    assert game.progress.ordered == [True, True]


def test_a_guessed_value_completes_without_order(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN)
    assert game.call("get_town", town_id="T0") == Match(1, True, False, False)
    game.call("get_author", author_id="A3")
    game.call("get_town", town_id="T0")
    assert game.progress.complete == [True, True]
    assert game.progress.ordered == [True, False]


def test_any_response_that_holds_the_value_will_do(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN, query="A0 A3", mentions=())
    game.call("get_author", author_id="A0")
    assert game.call("get_town", town_id="T0").ordered


@pytest.mark.parametrize(
    ("query", "mentions", "seen"),
    [
        ("the town T0", (), True),
        ("nothing", ("T0",), True),
        ("T01 or xT0", (), False),
        ("t0", (), False),
        ("(T0)!", (), True),
        ("", (), False),
    ],
)
def test_a_value_in_the_query_is_seen(
    library_snapshot: Snapshot, query: str, mentions: tuple[str, ...], seen: bool
) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN, query=query, mentions=mentions)
    assert game.call("get_town", town_id="T0").ordered is seen


@pytest.mark.parametrize(("query", "value"), [("for 103.25 francs", 103), ("at -103 m", 103), ("in 2013-01-02", 2013)])
def test_a_part_of_a_number_or_date_in_the_query_is_not_seen(
    library_snapshot: Snapshot, query: str, value: int
) -> None:
    assert not Game(library_snapshot, GET_AUTHOR, query=query, mentions=()).progress.has_seen(value)


def test_values_of_the_same_turn_are_not_seen(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN)
    matches = game.turn(Call("get_author", {"author_id": "A3"}), Call("get_town", {"town_id": "T0"}))
    assert [match.completes for match in matches] == [True, True]
    assert [match.ordered for match in matches] == [True, False]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("get_book", {"book_id": 103}), ("get_book", {"book_id": "103"}), ("get_book", {"book_id": 103.0})],
)
def test_a_guessed_value_echoed_by_its_response_is_not_seen(
    library_snapshot: Snapshot, tool: str, arguments: dict[str, Any]
) -> None:
    """The body of get_book(103) holds 103: asking with a guess must not make the guess a value that was seen."""
    price = ReferenceCall("convert_price", {"price": 1.0, "currency": "CHF"})
    game = Game(library_snapshot, price, GET_BOOK, query="nothing", mentions=())
    game.call(tool, **arguments)
    assert not game.progress.has_seen(103)
    assert game.progress.has_seen("Book 3")


def test_a_guess_echoed_in_the_call_of_the_reference_is_not_seen(library_snapshot: Snapshot) -> None:
    again = ReferenceCall("get_book", {"book_id": 103}, (Binding("book_id", 0, "books[0].book_id"),))
    by_id = ReferenceCall("book_by_title", {"title": "Book 3"}, (Binding("title", 1, "title"),))
    game = Game(library_snapshot, GET_BOOKS, again, by_id, query="nothing", mentions=())
    assert not game.call("get_book", book_id=103).ordered
    assert not game.progress.has_seen(103)


def test_an_echo_is_seen_once_another_response_holds_it(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_BOOKS, GET_BOOK, query="A3", mentions=("A3",))
    game.call("get_book", book_id=103)
    assert not game.progress.has_seen(103)
    game.call("books_of_author", author_id="A3")
    assert game.progress.has_seen(103)


def test_a_rounded_guess_echoed_in_full_is_not_seen(library_snapshot: Snapshot) -> None:
    price = round(BOOK["price"], 4)
    convert = ReferenceCall("convert_price", {"price": BOOK["price"], "currency": "CHF"})
    game = Game(library_snapshot, convert, query="nothing", mentions=())
    game.call("convert_price", price=price, currency="CHF")
    assert not game.progress.has_seen(BOOK["price"])


def test_values_from_the_query_are_not_forgotten_by_an_echo(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN)
    game.call("get_author", author_id="A3")
    assert game.progress.has_seen("A3")


def test_what_a_recorded_error_says_is_seen(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR)
    game.call("get_author", author_id="A999")
    assert game.progress.has_seen("No such author.")
    assert not game.progress.has_seen("A999")


def test_what_no_api_answered_is_not_seen(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR)
    game.call("get_author", author_id="B1", extra="x")
    game.call("get_town", town_id="T77")
    assert not game.progress.has_seen("extra_parameter")
    assert not game.progress.has_seen("Not found")


@pytest.mark.parametrize("value", [True, False, None, [], {}, [True, None]])
def test_values_without_tokens_need_not_be_seen(library_snapshot: Snapshot, value: Any) -> None:
    assert Game(library_snapshot, GET_AUTHOR, query="", mentions=()).progress.has_seen(value)


def test_every_part_of_a_nested_value_must_be_seen(library_snapshot: Snapshot) -> None:
    progress = Game(library_snapshot, GET_AUTHOR, query="A3 and 5", mentions=()).progress
    assert progress.has_seen(["A3", 5, [None]])
    assert not progress.has_seen(["A3", 6])


def test_after_needs_an_earlier_turn(library_snapshot: Snapshot) -> None:
    hours = ReferenceCall("opening_hours", {"weekday": "Monday"}, after=(0,))
    first, second = Call("get_author", {"author_id": "A3"}), Call("opening_hours", {"weekday": "Monday"})
    orders = [([first], [second], True), ([second], [first], False), ([first, second], [], False)]
    for one, two, ordered in orders:
        game = Game(library_snapshot, GET_AUTHOR, hours, query="A3 Monday")
        for turn in (one, two):
            if turn:
                game.turn(*turn)
        assert game.progress.all_complete
        assert game.progress.ordered == [True, ordered]


@given(st.permutations(range(4)))
def test_order_is_earned_exactly_where_data_flow_is_respected(library_snapshot: Snapshot, order: list[int]) -> None:
    book_title = ReferenceCall("book_by_title", {"title": "Book 3"}, (Binding("title", 0, "books[0].title"),))
    town = ReferenceCall("get_town", {"town_id": "T0"}, (Binding("town_id", 2, "town_id"),))
    reference = (GET_BOOKS, book_title, GET_AUTHOR, town)
    game = Game(library_snapshot, *reference)
    for index in order:
        game.call(reference[index].tool, **reference[index].arguments)
    assert game.progress.all_complete
    assert game.progress.ordered == [
        True, order.index(0) < order.index(1), True, order.index(2) < order.index(3)
    ]  # fmt: skip


def test_copies_are_independent(library_snapshot: Snapshot) -> None:
    game = Game(library_snapshot, GET_AUTHOR, GET_TOWN)
    before = game.progress.copy()
    game.call("get_author", author_id="A3")
    after = game.progress.copy()
    assert not before.has_seen("T0")
    assert not any(before.complete)
    assert after.has_seen("T0")
    assert after.complete == [True, False]
