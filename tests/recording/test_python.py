"""Recording Python functions and objects: what comes back is what a direct call returns."""

import asyncio
import copy
import dataclasses
import functools
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from json_values import json_objects, json_values, texts
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_jsonable_python

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import RecordingError, UnansweredError
from toolorch_env.recording.api import Answer
from toolorch_env.recording.python import PythonApi, open_python, read_only
from toolorch_env.recording.redaction import Redactor


class Currency(Enum):
    """What is paid with."""

    FRANC = "CHF"
    EURO = "EUR"


@dataclasses.dataclass
class Amount:
    """Money."""

    cents: int
    currency: Currency = Currency.FRANC


class Receipt(BaseModel):
    """What was paid."""

    number: int
    amount: Amount
    day: date | None = None


class Bank:
    """Accounts by name."""

    limit = 1_000_000
    opened = 0

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}

    def open_account(self, name: str) -> dict[str, Any]:
        """Open an account.

        It is empty at first.

        Args:
            name: whose it is.

        Returns:
            The account.
        """
        if name in self.accounts:
            raise ValueError(f"{name} has an account")
        self.accounts[name] = 0
        return {"name": name, "cents": 0}

    def pay_in(self, name: str, amount: Amount, day: date | None = None) -> Receipt:
        """Pay into an account.

        Parameters
        ----------
        name : str
            whose it is
        amount : Amount
            how much
        """
        self.accounts[name] += amount.cents
        return Receipt(number=len(self.accounts), amount=amount, day=day)

    @read_only
    def balance(self, name: str, /) -> int:
        """How much there is.

        :param name: whose it is
        """
        return self.accounts[name]

    @read_only
    async def balance_later(self, name: str, delay: float = 0.0) -> int:
        await asyncio.sleep(delay)
        return self.accounts[name]

    @staticmethod
    def convert(cents: int, rate: Annotated[float, Field(gt=0)] = 1.0) -> float:
        return round(cents * rate, 2)

    @classmethod
    def named(cls, greeting: Literal["hello", "hi"] = "hi") -> str:
        return f"{greeting}, {cls.__name__}"

    @property
    def total(self) -> int:
        raise AssertionError("nobody asked for it")

    def _secret(self) -> None:
        raise AssertionError("nobody may call it")


class Trouble:
    """Everything that can go wrong."""

    def leave(self) -> None:
        sys.exit(3)

    async def leave_later(self) -> None:
        raise KeyboardInterrupt

    def hang(self) -> None:
        time.sleep(3)

    async def hang_later(self) -> None:
        time.sleep(3)

    def give(self, kind: str) -> Any:
        values: dict[str, Any] = {
            "nan": float("nan"), "bytes": b"\xff", "object": object(), "surrogate": "\ud800", "large": "x" * 2000,
            "generator": (number for number in range(3)), "set": {1}, "number": 2**70, "model": Receipt,
        }  # fmt: skip
        values["circle"] = circle = []
        circle.append(circle)
        return values[kind]

    def fail(self, kind: str) -> None:
        errors: dict[str, BaseException] = {
            "key": KeyError("k"), "index": IndexError("i"), "stop": StopIteration(1), "value": ValueError("v"),
            "timeout": TimeoutError("t"), "cancelled": asyncio.CancelledError(), "recursion": RecursionError("r"),
        }  # fmt: skip
        raise errors[kind]

    def inner_validation(self) -> None:
        Receipt.model_validate({})

    def shout(self) -> str:
        print("{not json")  # noqa: T201
        print("\x00", file=sys.stderr)  # noqa: T201
        return "said"

    def fine(self) -> str:
        return "fine"


class Kept:
    """An object that belongs to the thread that made it."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table notes (text)")

    def write(self, text: str) -> list[str]:
        self.database.execute("insert into notes values (?)", [text])
        return [row[0] for row in self.database.execute("select text from notes order by rowid")]

    def __del__(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


def make_bank() -> Bank:
    bank = Bank()
    bank.accounts["Zoe"] = 7
    return bank


def anything(a, *rest, b=None, **more):  # type: ignore[no-untyped-def]
    return [a, list(rest), b, more]


def session(api: PythonApi, *calls: tuple[str, dict[str, Any]]) -> list[Answer | UnansweredError]:
    """The answers to calls in one session, errors among them."""

    async def ask() -> list[Answer | UnansweredError]:
        answers: list[Answer | UnansweredError] = []
        async with api.session() as session:
            for name, arguments in calls:
                try:
                    answers.append(await session.ask(Call(name, arguments)))
                except UnansweredError as error:
                    answers.append(error)
        return answers

    return asyncio.run(ask())


# Tools


def test_tools_of_a_class() -> None:
    api = open_python("test_python:Bank")
    assert list(api.tools) == ["open_account", "pay_in", "balance", "balance_later", "convert", "named"]
    assert {name for name, tool in api.tools.items() if tool.read_only} == {"balance", "balance_later"}
    assert api.source == "Python test_python:Bank"
    opening = api.tools["open_account"]
    assert opening.description == "Open an account.\n\nIt is empty at first."
    assert opening.parameters == {
        "type": "object",
        "properties": {"name": {"type": "string", "description": "whose it is."}},
        "required": ["name"],
        "additionalProperties": False,
    }


def test_schemas() -> None:
    tools = open_python(Bank).tools
    paying = tools["pay_in"]
    assert paying.properties["amount"]["$ref"] == "#/$defs/Amount"
    assert paying.properties["amount"]["description"] == "how much"
    assert paying.properties["day"]["default"] is None
    assert paying.parameters["$defs"]["Currency"]["enum"] == ["CHF", "EUR"]
    assert tools["balance"].properties["name"] == {"type": "string", "description": "whose it is"}
    assert tools["convert"].properties["rate"] == {"type": "number", "exclusiveMinimum": 0, "default": 1.0}
    assert tools["named"].properties["greeting"]["enum"] == ["hello", "hi"]


def test_unhinted_and_further_arguments() -> None:
    tool = open_python(anything).tools["anything"]
    assert tool.parameters == {
        "type": "object",
        "properties": {"a": {}, "b": {"default": None}},
        "required": ["a"],
        "additionalProperties": True,
    }
    assert tool.read_only


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9)))
def test_parameters_without_names(arguments: dict[str, int]) -> None:
    """Those that cannot be passed by name keep their places when one before them is left out."""

    def pack(a: int = 10, b: int = 11, /, c: int = 12, *, d: int = 13) -> list[int]:
        return [a, b, c, d]

    (answer,) = session(open_python(pack), ("pack", arguments))
    assert answer.body == [arguments.get(name, default) for name, default in zip("abcd", range(10, 14), strict=True)]


def test_defaults_that_are_no_json_are_left_out() -> None:
    def lookup(name: str, missing: Any = object(), when: date = date(2020, 2, 2)) -> bool:  # noqa: B008
        return isinstance(missing, (str, int))

    api = open_python(lookup)
    assert api.tools["lookup"].properties["missing"] == {}
    assert api.tools["lookup"].properties["when"]["default"] == "2020-02-02"
    assert [answer.body for answer in session(api, ("lookup", {"name": "a"}))] == [False]


def test_functions_without_a_schema_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def fine(self) -> "NoSuchType":  # type: ignore[name-defined]  # noqa: F821
            return 1

        def unknown(self, a: "NoSuchType") -> None:  # type: ignore[name-defined]  # noqa: F821
            pass

        def lock(self, a: threading.Thread) -> None:
            pass

        def callback(self, a: Callable[[], int]) -> None:
            pass

    assert list(open_python(Odd).tools) == ["fine"]
    assert [record.args[0] for record in caplog.records] == ["unknown", "lock", "callback"]


def test_read_only_by_name() -> None:
    names = open_python(Bank, read_only={"convert"}, state_changing={"balance"}).tools
    assert {name for name, tool in names.items() if tool.read_only} == {"convert", "balance_later"}
    assert not open_python(make_bank, state_changing={"make_bank"}).tools["make_bank"].read_only


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(text: str) -> str:
        name = f"recorded_module_{len(written)}"
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_module(module: Callable[[str], str]) -> None:
    """Its own public functions, wrapped ones too; neither what it imports nor classes."""
    text = """
from functools import cache
from json import dumps
import asyncio
class Thing: pass
def add(a: int, b: int = 1) -> int: return a + b
async def later(a: int) -> int: return a
@cache
def twice(a: int) -> int: return 2 * a
def _hidden(): pass
"""
    api = open_python(module(text))
    assert list(api.tools) == ["add", "later", "twice"]
    assert all(tool.read_only for tool in api.tools.values())
    answers = session(api, ("add", {"a": 1}), ("later", {"a": 2}), ("twice", {"a": 3}))
    assert [answer.body for answer in answers] == [2, 2, 6]
    chosen = open_python(module(text + "__all__ = ['dumps', 'Thing', 'add']"))
    assert list(chosen.tools) == ["dumps", "add"]


def test_module_written_in_c() -> None:
    api = open_python("math")
    assert [answer.body for answer in session(api, ("sqrt", {"x": 9}), ("comb", {"n": 4, "k": 2}))] == [3.0, 6]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_at_all", "cannot be imported"),
        ("no_such_module_at_all:thing", "cannot be imported"),
        ("", "cannot be imported"),
        ("test_python:no_such_thing", "no such object"),
        ("test_python:Bank.no_such_thing", "no such object"),
        ("test_python:no_such_thing()", "no such object"),
        ("test_python:session()", "cannot be called"),
        ("test_python:Bank.limit", "no public function"),
        (object(), "no public function"),
        (Amount, "without arguments"),
        (threading.Lock(), "copied|no public"),
    ],
)
def test_targets_that_cannot_be_used(target: Any, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        open_python(target)


@pytest.mark.parametrize("text", ["raise SystemExit(1)", "1 / 0", "this is no Python", "import no_such_module_at_all"])
def test_modules_that_cannot_be_imported(module: Callable[[str], str], text: str) -> None:
    with pytest.raises(RecordingError, match="recorded_module_0"):
        open_python(module(text))


# Answers


names = st.sampled_from(["Ada", "Bob"])
steps = st.one_of(
    st.tuples(st.just("open_account"), st.fixed_dictionaries({"name": names})),
    st.tuples(
        st.just("pay_in"),
        st.fixed_dictionaries(
            {"name": names, "amount": st.fixed_dictionaries({"cents": st.integers(0, 99)})},
            optional={"day": st.dates().map(str) | st.none()},
        ),
    ),
    st.tuples(st.just("balance"), st.fixed_dictionaries({"name": names})),
    st.tuples(st.just("balance_later"), st.fixed_dictionaries({"name": names})),
    st.tuples(
        st.just("convert"),
        st.fixed_dictionaries({"cents": st.integers()}, optional={"rate": st.floats(0.1, 10)}),
    ),
)


def directly(bank: Bank, name: str, arguments: dict[str, Any]) -> tuple[int, Any]:
    """What a direct call gives."""
    if name == "pay_in":
        amount = Amount(**arguments["amount"])
        day = arguments.get("day")
        arguments = {**arguments, "amount": amount, "day": day and date.fromisoformat(day)}
    try:
        value = bank.balance(*arguments.values()) if name == "balance" else getattr(bank, name)(**arguments)
        return 200, to_jsonable_python(asyncio.run(value) if asyncio.iscoroutine(value) else value)
    except LookupError as error:
        return 404, {"error": {"type": type(error).__name__, "message": str(error)}}
    except ValueError as error:
        return 400, {"error": {"type": "ValueError", "message": str(error)}}


BANK = open_python(Bank)


@given(st.lists(steps, max_size=8))
def test_answers_are_those_of_direct_calls(calls: list[tuple[str, dict[str, Any]]]) -> None:
    bank = Bank()
    expected = [directly(bank, name, arguments) for name, arguments in copy.deepcopy(calls)]
    assert [(answer.status, answer.body) for answer in session(BANK, *calls)] == expected


ANYTHING = open_python(anything)


@given(json_values, st.dictionaries(texts, json_values, max_size=3))
def test_any_json_goes_through(a: Any, more: dict[str, Any]) -> None:
    more.pop("a", None)
    assume(Redactor().objection({"a": a, **more}) is None)
    (answer,) = session(ANYTHING, ("anything", {"a": a, **more}))
    assert answer.body == anything(a, **more)


@given(json_objects)
def test_arguments_that_do_not_fit(arguments: dict[str, Any]) -> None:
    """They are answered, as an API would, whatever they are."""
    assume(Redactor().objection(arguments) is None)
    (answer,) = session(BANK, ("balance", arguments))
    fits = arguments.keys() == {"name"} and isinstance(arguments["name"], str)
    assert answer.status == (404 if fits else 422)
    if not fits:
        assert all(set(problem) <= {"type", "loc", "msg", "input", "ctx"} for problem in answer.body["detail"])


def test_problems_are_located() -> None:
    missing, nested, choice = session(
        BANK,
        ("pay_in", {"name": "Ada"}),
        ("pay_in", {"name": "Ada", "amount": {"cents": "many"}}),
        ("named", {"greeting": "hey"}),
    )
    assert [problem["loc"] for problem in missing.body["detail"]] == [["amount"]]
    assert [problem["loc"] for problem in nested.body["detail"]] == [["amount", "cents"]]
    assert choice.status == 422


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("key", 404, "KeyError"),
        ("index", 404, "IndexError"),
        ("stop", 400, "StopIteration"),
        ("value", 400, "ValueError"),
        ("timeout", 400, "TimeoutError"),
        ("recursion", 400, "RecursionError"),
    ],
)
def test_exceptions(kind: str, status: int, error: str) -> None:
    failed, fine = session(open_python(Trouble), ("fail", {"kind": kind}), ("fine", {}))
    assert (failed.status, failed.body["error"]["type"]) == (status, error)
    assert fine.body == "fine"


def test_validation_inside_a_function_is_its_own_affair() -> None:
    (answer,) = session(open_python(Trouble), ("inner_validation", {}))
    assert (answer.status, answer.body["error"]["type"]) == (400, ValidationError.__name__)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("nan", "not JSON"),
        ("bytes", "not JSON"),
        ("object", "not JSON"),
        ("surrogate", "not JSON"),
        ("circle", "not JSON"),
        ("model", "not JSON"),
        ("large", "too large"),
        ("generator", [0, 1, 2]),
        ("set", [1]),
        ("number", 2**70),
    ],
)
def test_what_is_returned(kind: str, expected: Any) -> None:
    given_, fine = session(open_python(Trouble, max_response_bytes=1000), ("give", {"kind": kind}), ("fine", {}))
    if isinstance(expected, str):
        assert isinstance(given_, UnansweredError)
        assert given_.kind == expected
        assert not given_.lost_session
    else:
        assert given_.body == expected
    assert fine.body == "fine"


@pytest.mark.parametrize("name", ["leave", "leave_later", "fail"])
def test_the_end_of_the_program_is_not_the_recorders(name: str) -> None:
    arguments = {"kind": "cancelled"} if name == "fail" else {}
    gone, after = session(open_python(Trouble), (name, arguments), ("fine", {}))
    assert isinstance(gone, UnansweredError)
    assert gone.kind == "exited"
    assert gone.lost_session
    assert isinstance(after, UnansweredError)


@pytest.mark.parametrize("name", ["hang", "hang_later"])
def test_timeout(name: str) -> None:
    late, after = session(open_python(Trouble, timeout=0.2), (name, {}), ("fine", {}))
    assert isinstance(late, UnansweredError)
    assert late.kind == "timeout"
    assert isinstance(after, UnansweredError)
    assert after.kind == "exited"


def test_unsendable() -> None:
    unknown, surrogate, fine = session(
        open_python(Trouble), ("_hidden", {}), ("give", {"kind": "\ud800"}), ("fine", {})
    )
    assert unknown.kind == surrogate.kind == "unsendable"
    assert fine.body == "fine"


def test_printing_disturbs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert session(open_python(Trouble), ("shout", {}))[0].body == "said"
    assert capsys.readouterr().out == "{not json\n"


def log_in(user: str, token: str = "s3cret", ticket: str = "abcd") -> dict[str, str]:
    """Log in."""
    return {"user": user, "token": token, "ticket": ticket}


def test_credentials_are_no_parameters_and_are_taken_out_of_answers() -> None:
    api = open_python(log_in, credential_names=["ticket"])
    assert set(api.tools["log_in"].properties) == {"user"}
    answer, refused = session(api, ("log_in", {"user": "ada"}), ("log_in", {"user": "ada", "token": "mine"}))
    assert answer.body == {"user": "ada", "token": "[redacted]", "ticket": "[redacted]"}
    assert refused.kind == "unsendable"
    assert str(refused) == "log_in: the argument 'token' is or holds a credential, and those are not recorded"


# Sessions


@pytest.mark.parametrize("target", ["test_python:Bank", Bank, Bank(), "test_python:make_bank()"])
def test_sessions_are_independent(target: Any) -> None:
    api = open_python(target)
    calls = [
        ("open_account", {"name": "Ada"}),
        ("pay_in", {"name": "Ada", "amount": {"cents": 5}}),
        ("balance", {"name": "Ada"}),
        ("balance", {"name": "Zoe"}),
    ]
    first, second = session(api, *calls), session(api, *calls)
    assert [(a.status, a.body) for a in first] == [(a.status, a.body) for a in second]
    assert first[2].body == 5
    assert first[3].status == (200 if target == "test_python:make_bank()" else 404)


def test_instance_is_recorded_as_it_was() -> None:
    bank = make_bank()
    api = open_python(bank)
    bank.accounts["Zoe"] = 99
    assert session(api, ("open_account", {"name": "Ada"}), ("balance", {"name": "Zoe"}))[1].body == 7
    assert bank.accounts == {"Zoe": 99}


def test_sessions_at_the_same_time() -> None:
    async def one(number: int) -> int:
        async with BANK.session() as session:
            await session.ask(Call("open_account", {"name": "Ada"}))
            for _ in range(number):
                await session.ask(Call("pay_in", {"name": "Ada", "amount": {"cents": 1}}))
            return (await session.ask(Call("balance_later", {"name": "Ada", "delay": 0.01}))).body

    async def several() -> list[int]:
        return await asyncio.gather(*map(one, range(8)))

    assert asyncio.run(several()) == list(range(8))


def test_objects_that_belong_to_one_thread() -> None:
    answers = session(open_python(Kept), ("write", {"text": "a"}), ("write", {"text": "b"}))
    assert [answer.body for answer in answers] == [["a"], ["a", "b"]]


def test_object_that_cannot_be_copied() -> None:
    with pytest.raises(RecordingError, match="give its class"):
        open_python(Kept())


def test_object_that_cannot_be_made() -> None:
    class Failing:
        def __init__(self) -> None:
            raise OSError("no disk")

        def read(self) -> None:
            pass

    with pytest.raises(RecordingError, match="no disk"):
        session(open_python(Failing))


def test_no_thread_stays_behind() -> None:
    before = threading.active_count()
    session(BANK, ("balance_later", {"name": "Ada"}))
    assert threading.active_count() == before


def test_inherited_methods() -> None:
    class Savings(Bank):
        def interest(self) -> int:
            return 3

        open_account = None  # type: ignore[assignment]

    assert list(open_python(Savings).tools) == ["pay_in", "balance", "balance_later", "convert", "named", "interest"]


def test_decorated_methods_keep_their_signature() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    class Shop:
        @logged
        def price(self, item: str) -> int:
            """The price."""
            return len(item)

    api = open_python(Shop)
    assert api.tools["price"].required == ("item",)
    assert session(api, ("price", {"item": "abc"}))[0].body == 3


async def numbers() -> AsyncIterator[int]:
    yield 1


def test_asynchronous_generator_is_no_json() -> None:
    (answer,) = session(open_python(numbers), ("numbers", {}))
    assert isinstance(answer, UnansweredError)
    assert answer.kind == "not JSON"
