"""The options that all recordings share, and how values on the command line are read."""

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from string import Template
from typing import Annotated, Any

import typer

from toolorch_env.core.errors import ConfigurationError

MAX_RESPONSE_BYTES = 4 * 2**20

_PROVENANCE = ("name", "description", "source", "licence")


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """The options that all recordings share; also what they are called on the command line."""

    out: Annotated[
        str, typer.Option(help="Snapshot file to write or to add to, or postgresql:// URL of a shared database.")
    ]
    plan: Annotated[
        Path | None, typer.Option(help="YAML file that says which calls to make; without one, a plan is proposed.")
    ] = None
    save_plan: Annotated[Path | None, typer.Option(help="Write the plan that was used to this YAML file.")] = None
    sessions: Annotated[int, typer.Option(help="Calls that are under way at once.", min=1)] = 8
    rate: Annotated[float | None, typer.Option(help="Most calls a second, retries among them.")] = None
    attempts: Annotated[int, typer.Option(help="How often a call is made until it is answered.", min=1)] = 5
    timeout: Annotated[float, typer.Option(help="Seconds that a call may take.", min=0.001)] = 30.0
    max_response_bytes: Annotated[int, typer.Option(help="Longer responses are not recorded.", min=1)] = (
        MAX_RESPONSE_BYTES
    )
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn, in place of the plan's seed.")] = None
    name: Annotated[str | None, typer.Option(help="Name of the snapshot; also these in place of the plan's.")] = None
    description: Annotated[str | None, typer.Option(help="What is recorded, in words.")] = None
    source: Annotated[str | None, typer.Option(help="Where the API is; by default its address.")] = None
    licence: Annotated[str | None, typer.Option(help="Licence of the recorded data.")] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which calls would be made, and make none of them.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")] = False

    def settings(self) -> dict[str, Any]:
        """What was given in place of the plan's own settings."""
        given = {name: getattr(self, name) for name in (*_PROVENANCE, "seed")}
        return {name: value for name, value in given.items() if value is not None}


def with_recording_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the shared options; it takes them as its argument ``options``."""
    shared = inspect.signature(RecordingOptions).parameters
    own = [item for item in inspect.signature(command).parameters.values() if item.name != "options"]

    @wraps(command)
    def run(**given: Any) -> None:
        options = RecordingOptions(**{name: given.pop(name) for name in shared})
        command(options=options, **given)

    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*own, *shared.values())]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    return run


def read_headers(given: Iterable[str]) -> dict[str, str]:
    """HTTP headers that were given as ``Name: value``.

    Raises:
        ConfigurationError: one is not of that form, or names an environment variable that is not set.
    """
    headers = {}
    for number, text in enumerate(given, 1):
        name, colon, value = text.partition(":")
        if not colon or not name.strip():  # not shown: it may be a secret without its name
            raise ConfigurationError(f"--header number {number} is no header: write 'Name: value'")
        headers[name.strip()] = _filled_in(value.strip(), f"the header {name.strip()!r}")
    return headers


def read_credentials(given: Iterable[str]) -> dict[str, str]:
    """Credentials that were given as ``NAME=ENVIRONMENT_VARIABLE``, with the values of the variables.

    Raises:
        ConfigurationError: one is not of that form, or its variable is not set.
    """
    credentials = {}
    for number, text in enumerate(given, 1):
        name, equals, variable = text.partition("=")
        if not equals or not name or not variable.isidentifier():
            raise ConfigurationError(
                f"--credential number {number} must be NAME=VARIABLE, with the name of an environment variable that "
                "holds the credential"
            )
        credentials[name] = _filled_in(f"${variable}", f"the credential {name!r}")
    return credentials


def read_environment(given: Iterable[str]) -> dict[str, str]:
    """Environment variables that were given as ``NAME=VALUE``.

    Raises:
        ConfigurationError: one is not of that form, or names an environment variable that is not set.
    """
    environment = {}
    for number, text in enumerate(given, 1):
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--env number {number} must be NAME=VALUE")
        environment[name] = _filled_in(value, f"the variable {name!r}")
    return environment


def _filled_in(value: str, what: str) -> str:
    """A value with ``$VARIABLE`` replaced by the environment's value."""
    try:
        return Template(value).substitute(os.environ)
    except KeyError as error:
        raise ConfigurationError(f"{what}: the environment variable {error.args[0]} is not set") from None
    except ValueError:
        raise ConfigurationError(f"{what}: write $VARIABLE for an environment variable, $$ for a dollar") from None
