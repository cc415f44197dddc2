"""Commands that record an API into a snapshot."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from toolorch_env.cli.display import check_writable, console, counted, error_console, write_text
from toolorch_env.cli.recording_display import (
    show_forecast,
    show_kept,
    show_recording,
    show_unreached,
    showing_progress,
)
from toolorch_env.cli.recording_options import (
    RecordingOptions,
    read_credentials,
    read_environment,
    read_headers,
    with_recording_options,
)
from toolorch_env.cli.snapshots import JSON_LINES
from toolorch_env.core.errors import ConfigurationError, ToolOrchError
from toolorch_env.store.snapshot import check_header

if TYPE_CHECKING:
    from toolorch_env.recording.api import Api
    from toolorch_env.recording.plans.plan import Plan
    from toolorch_env.recording.record import Recording

app = typer.Typer(
    help="Record an API into a snapshot. Interrupted and run again, a recording goes on where it was.\n\n"
    "Exit code 0 if every call was answered, 1 if some got no answer that could be recorded, 2 after an error, "
    "130 when interrupted.",
    no_args_is_help=True,
)

OpenApi = Callable[["Plan"], Awaitable["Api"]]
"""Opens the API; the plan names further credentials."""

HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="'NAME: VALUE'", help="Sent with each request; $VARIABLE is filled in. Repeatable."
    ),
]
CredentialOption = Annotated[
    list[str] | None,
    typer.Option(
        "--credential",
        metavar="NAME=VARIABLE",
        help="Parameter that is a credential, and the environment variable that holds its value. Repeatable.",
    ),
]


EXTRAS = {
    "record": ("aiolimiter", "docstring_parser", "httpx", "tenacity"),
    "mcp": ("aiolimiter", "docstring_parser", "httpx", "tenacity", "mcp"),
    "import": ("ijson",),
    "bfcl": ("aiolimiter", "docstring_parser", "httpx", "tenacity", "mpmath"),
}
"""What the extras bring that recording and importing need."""


@app.command("openapi")
@with_recording_options
def record_openapi(
    options: RecordingOptions,
    where: Annotated[str, typer.Argument(metavar="DOCUMENT", help="URL or file of the OpenAPI document.")],
    base_url: Annotated[str | None, typer.Option(help="Where the API is, if not where the document says.")] = None,
    header: HeaderOption = None,
    credential: CredentialOption = None,
) -> None:
    """Record an HTTP API that an OpenAPI document describes."""
    headers, credentials = read_headers(header or ()), read_credentials(credential or ())

    async def open_api(plan: "Plan") -> "Api":
        from toolorch_env.recording.http import open_http_api

        return await open_http_api(
            where,
            base_url=base_url,
            headers=headers,
            credentials=credentials,
            credential_names=plan.credentials,
            timeout=options.timeout,
            max_response_bytes=options.max_response_bytes,
        )

    run_recording(open_api, options)


@app.command("mcp")
@with_recording_options
def record_mcp(
    options: RecordingOptions,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="After --: the server's command and its arguments.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Endpoint of a server that is reached over streamable HTTP.")] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Environment variable of the server; $VARIABLE is filled in. Repeatable."
        ),
    ] = None,
    credential: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VARIABLE",
            help="The same for a secret, kept out of the snapshot: NAME gets the value of VARIABLE. Repeatable.",
        ),
    ] = None,
    header: HeaderOption = None,
) -> None:
    """Record a server of the Model Context Protocol.

    {session} in the command's arguments and in values of --env stands for an empty folder, a new one for each session.
    """
    headers, secret = read_headers(header or ()), read_credentials(credential or ())
    environment = read_environment(env or ())

    async def open_api(plan: "Plan") -> "Api":
        from toolorch_env.recording.mcp import open_mcp

        return await open_mcp(
            command,
            url,
            environment=environment,
            credentials=secret,
            credential_names=plan.credentials,
            headers=headers,
            timeout=options.timeout,
            max_response_bytes=options.max_response_bytes,
        )

    run_recording(open_api, options, "mcp")


@app.command("python")
@with_recording_options
def record_python(
    options: RecordingOptions,
    target: Annotated[
        str, typer.Argument(help="module, module:object or module:factory(); the current folder is searched, too.")
    ],
) -> None:
    """Record the functions of a Python module, or the methods of an object."""

    async def open_api(plan: "Plan") -> "Api":
        from toolorch_env.recording.python import open_python

        return open_python(
            target,
            timeout=options.timeout,
            max_response_bytes=options.max_response_bytes,
            credential_names=plan.credentials,
        )

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    run_recording(open_api, options)


def check_installed(extra: str) -> None:
    """Checks that an extra of the package is installed.

    Raises:
        ConfigurationError: it is not.
    """
    for module in EXTRAS[extra]:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"this needs the extra {extra!r} ({error.name} is not installed): pip install 'toolorch-env[{extra}]'"
            ) from None


def run_recording(open_api: OpenApi, options: RecordingOptions, extra: str = "record") -> None:
    """Records, or says what would be recorded; ends the command with its exit code."""
    check_installed(extra)
    plan = read_plan(options)
    check_target(options.out)
    if options.save_plan is not None:
        check_writable(options.save_plan)
    try:
        if options.dry_run:
            asyncio.run(_forecast(open_api, plan, options))
            return
        recording = asyncio.run(_record(open_api, plan, options))
    except KeyboardInterrupt:
        error_console.print("interrupted")
        show_kept(options.out)
        raise typer.Exit(130) from None
    except ToolOrchError:
        show_kept(options.out)
        raise
    _save_plan(recording.plan, options.save_plan)
    if not options.quiet:
        show_recording(recording, options.out)
    raise typer.Exit(1 if recording.summary.failed else 0)


async def _record(open_api: OpenApi, plan: "Plan", options: RecordingOptions) -> "Recording":
    from toolorch_env.recording.asking import Patience
    from toolorch_env.recording.record import record_async

    patience = Patience(sessions=options.sessions, rate=options.rate, attempts=options.attempts)
    api = await open_api(plan)
    if not options.quiet:
        console.print(f"{escape(api.source)}, {counted(len(api.tools), 'tool')}", soft_wrap=True, highlight=False)
    with showing_progress(options.quiet) as progress:
        return await record_async(api, options.out, plan, patience=patience, progress=progress)


async def _forecast(open_api: OpenApi, given: "Plan", options: RecordingOptions) -> None:
    from toolorch_env.recording.record import first_plan, forecast
    from toolorch_env.recording.recorder import marked_tools

    tools = marked_tools((await open_api(given)).tools, given)
    plan = first_plan(tools, given)
    expected = forecast(tools, plan, options.out)
    _save_plan(plan, options.save_plan)
    if not options.quiet:
        show_forecast(expected, tools)
        if plan != given:
            console.print("There is no plan: further calls are proposed from what these answer.")
        show_unreached(expected.unreached)


def read_plan(options: RecordingOptions) -> "Plan":
    """The plan that was given, with the settings of the command line in place of its own; without one, they alone.

    Raises:
        PlanError: it is missing or not valid.
    """
    from toolorch_env.recording.plans.plan import Plan, load_plan

    plan = Plan() if options.plan is None else load_plan(options.plan)
    return plan.model_copy(update=options.settings())


def check_target(out: str) -> None:
    """Checks that a recording can go to a target, before anything is asked for it or written beside it.

    Raises:
        ConfigurationError: it cannot.
        SnapshotError: there is something else.
    """
    from toolorch_env.store.databases import as_url, is_url

    if is_url(out):
        as_url(out)
        return
    path = Path(out)
    check_writable(path)
    if out.endswith(JSON_LINES):
        raise ConfigurationError(f"{out}: record into a snapshot first, then write it with `toolorch snapshot export`")
    if path.exists():
        check_header(path)


def _save_plan(plan: "Plan", path: Path | None) -> None:
    if path is not None:
        from toolorch_env.recording.plans.plan_yaml import plan_to_yaml

        write_text(path, plan_to_yaml(plan))
