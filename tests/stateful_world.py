"""A recorded world that changes: a bank whose accounts are opened, moved between, renamed and closed.

The bank is real, if small: sessions are played on it and recorded as they go. It starts with the accounts of Ann and
Ben; each session has a bank of its own.
"""

from collections.abc import Iterator, Mapping
from itertools import permutations, product
from pathlib import Path
from typing import Any

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.states import state_after
from toolorch_env.core.tools import Tool
from toolorch_env.store.selection import Selector
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowSet, parse_workflows
from toolorch_env.store.writer import SnapshotWriter

Answer = tuple[int, Any]
"""Status and body."""

OWNERS = ("Cleo", "Dora", "Emil", "Fred", "Gina", "Hugo", "Iris", "Jack", "Kira", "Liam")
AMOUNTS = (5, 12.345678, 20.5)
NOT_FOUND: Answer = (404, {"detail": "No such account"})
DONE: Answer = (200, {"ok": True})


class Bank:
    """The API: one session's accounts by their identifiers."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.opened = 0
        self.open_account("Ann")
        self.open_account("Ben")

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Answer:
        """The answer to a call."""
        found: Answer = getattr(self, tool)(**arguments)
        return found

    def list_accounts(self) -> Answer:
        listed = [{"account_id": name, "owner": account["owner"]} for name, account in self.accounts.items()]
        return 200, {"count": len(listed), "accounts": listed}

    def get_account(self, account_id: str) -> Answer:
        return (200, dict(self.accounts[account_id])) if account_id in self.accounts else NOT_FOUND

    def find_account(self, owner: str) -> Answer:
        found = [account for account in self.accounts.values() if account["owner"] == owner]
        return (200, dict(found[0])) if found else NOT_FOUND

    def exchange_rate(self, currency: str) -> Answer:
        return 200, {"rate": {"EUR": 0.95, "USD": 1.1}[currency]}

    def open_account(self, owner: str) -> Answer:
        self.opened += 1
        name = f"AC{self.opened}"
        account = self.accounts[name] = {"account_id": name, "owner": owner, "balance": 100.0}
        return 200, dict(account)

    def transfer(self, source: str, target: str, amount: float) -> Answer:
        if source not in self.accounts or target not in self.accounts:
            return NOT_FOUND
        if amount > self.accounts[source]["balance"]:
            return 409, {"detail": "Not enough money"}
        self.accounts[source]["balance"] -= amount
        self.accounts[target]["balance"] += amount
        return DONE

    def rename_account(self, account_id: str, owner: str) -> Answer:
        if account_id not in self.accounts:
            return NOT_FOUND
        self.accounts[account_id]["owner"] = owner
        return DONE

    def close_account(self, account_id: str) -> Answer:
        return DONE if self.accounts.pop(account_id, None) else NOT_FOUND


def _tool(name: str, description: str, read_only: bool, **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name, description, schema, miss_body=NOT_FOUND[1], read_only=read_only)


TEXT = {"type": "string"}
ACCOUNT = {"type": "string", "pattern": "^AC[0-9]+$"}
TOOLS = [
    _tool("list_accounts", "All accounts.", True),
    _tool("get_account", "One account.", True, account_id=ACCOUNT),
    _tool("find_account", "The first account of an owner.", True, owner=TEXT),
    _tool("exchange_rate", "What a franc costs.", True, currency={"type": "string", "enum": ["EUR", "USD"]}),
    _tool("open_account", "Opens an account with 100 francs.", False, owner=TEXT),
    _tool("transfer", "Moves money.", False, source=ACCOUNT, target=ACCOUNT, amount={"type": "number", "minimum": 0}),
    _tool("rename_account", "Gives an account another owner.", False, account_id=ACCOUNT, owner=TEXT),
    _tool("close_account", "Closes an account.", False, account_id=ACCOUNT),
]


BANK_TOOLS = ToolSet(TOOLS)


def _step(identifier: str, tool: str, *after: str, **arguments: Any) -> dict[str, Any]:
    return {"id": identifier, "tool": tool, "arguments": arguments, "after": list(after)}


def _taken(step: str) -> dict[str, str]:
    return {"from": step, "select": "account_id"}


OWNER, OTHER, AMOUNT = {"query": "owner"}, {"query": "other"}, {"query": "amount"}
WORKFLOWS: dict[str, Any] = {
    "domain": "bank",
    "kinds": {"person": "name", "amount": "francs", "currency": "currency code"},
    "distractions": ["I am a friend of {person}.", "I once paid {amount} francs."],
    "workflows": [
        {
            "name": "open_and_list",
            "literals": {"owner": "person"},
            "steps": [
                _step("opened", "open_account", owner=OWNER),
                _step("listed", "list_accounts"),
                _step("got", "get_account", account_id=_taken("opened")),
            ],
            "phrasings": ["Open an account for {owner}, then show all accounts and that one."],
        },
        {
            "name": "open_two",
            "literals": {"owner": "person", "other": "person"},
            "steps": [
                _step("first", "open_account", owner=OWNER),
                _step("second", "open_account", owner=OTHER),
                _step("got", "get_account", account_id=_taken("second")),
            ],
            "phrasings": ["Open accounts for {owner} and then {other}; what does the second look like?"],
        },
        {
            "name": "move_money",
            "literals": {"owner": "person", "other": "person", "amount": "amount", "currency": "currency"},
            "steps": [
                _step("source", "find_account", owner=OTHER),
                _step("rate", "exchange_rate", currency={"query": "currency"}),
                _step("target", "open_account", owner=OWNER),
                _step("moved", "transfer", source=_taken("source"), target=_taken("target"), amount=AMOUNT),
                _step("poorer", "get_account", account_id=_taken("source")),
                _step("richer", "get_account", account_id=_taken("target")),
            ],
            "phrasings": [
                "Find the account of {other}, tell me the rate of {currency}, open an account for {owner}, move "
                "{amount} to it, and show both."
            ],
        },
        {
            "name": "accounts_over_time",
            "literals": {"owner": "person", "other": "person"},
            "steps": [
                _step("before", "list_accounts"),
                _step("opened", "open_account", owner=OWNER),
                _step("between", "list_accounts"),
                _step("renamed", "rename_account", account_id=_taken("opened"), owner=OTHER),
                _step("got", "get_account", account_id=_taken("opened")),
                _step("later", "list_accounts"),
            ],
            "phrasings": [
                "List the accounts, open one for {owner}, list again, give it to {other}, show it, and list once more."
            ],
        },
        {
            "name": "open_and_close",
            "literals": {"owner": "person", "other": "person"},
            "steps": [
                _step("opened", "open_account", owner=OWNER),
                _step("closed", "close_account", account_id=_taken("opened")),
                _step("listed", "list_accounts"),
                _step("another", "open_account", owner=OTHER),
            ],
            "phrasings": ["Open an account for {owner}, close it, list what is left and open one for {other}."],
        },
    ],
}


def bank_workflows() -> WorkflowSet:
    """The world's workflows."""
    return parse_workflows(WORKFLOWS)


class Session:
    """One session with a bank of its own, recorded as it goes."""

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools
        self._bank = Bank()
        self.state = b""

    def call(self, tool: str, **arguments: Any) -> tuple[CanonicalCall, int, Any]:
        """A call in its state, and the answer."""
        call = self._tools.canonical(Call(tool, arguments)).within(self.state)
        status, body = self._bank.call(tool, call.arguments)
        response = Response.synthetic(status, body, Source.RECORDED)
        self.state = state_after(call, response, self._tools[tool].read_only)
        return call, status, body


def workflow_session(tools: ToolSet, workflow: Workflow, literals: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The calls of a workflow with their answers; among them looks at Ann and changes that fail."""
    session = Session(tools)
    bodies: dict[str, Any] = {}
    for step in workflow.order:
        arguments = {
            name: literals[argument.query]
            if isinstance(argument, QueryArgument)
            else Selector(argument.select)(bodies[argument.step])
            for name, argument in step.arguments.items()
        }
        yield session.call("transfer", source="AC1", target="AC2", amount=1e6)
        yield session.call("find_account", owner="Ann")
        yield session.call("get_account", account_id="AC1")
        call, status, body = session.call(step.tool, **arguments)
        bodies[step.id] = body
        yield call, status, body


def literal_values(workflow: Workflow) -> Iterator[dict[str, Any]]:
    """The literals that a workflow is recorded with."""
    people = permutations(OWNERS, 2)
    for (owner, other), amount, currency in product(people, AMOUNTS, ("EUR", "USD")):
        found = {"owner": owner, "other": other, "amount": amount, "currency": currency}
        if workflow.name == "move_money":
            found["other"] = ("Ann", "Ben")[OWNERS.index(other) % 2]
        yield {name: found[name] for name in workflow.literals}


def write_stateful_world(path: Path) -> Path:
    """Writes the world as a snapshot."""
    workflows = bank_workflows()
    writer = SnapshotWriter(path, TOOLS, name="bank", workflows=WORKFLOWS, links=workflows.links())
    with writer:
        for workflow in workflows.workflows:
            for literals in {repr(found): found for found in literal_values(workflow)}.values():
                for call, status, body in workflow_session(writer.tools, workflow, literals):
                    writer.add(call, status, body, latency=0.001, recorded_at=1_700_000_000)
    return path
