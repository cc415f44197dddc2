"""The commands that serve a snapshot's tools."""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.markup import escape

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import check_writable, error_console
from toolorch_env.cli.evaluate import make_env
from toolorch_env.cli.policies import GeneratorOption, RewardOption, SeedOption, SnapshotOption
from toolorch_env.core.errors import ConfigurationError, ToolOrchError
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.evaluation.evaluations import make_header
from toolorch_env.evaluation.run_files import RunWriter
from toolorch_env.evaluation.runs import PlayedEpisode
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.integrations.sessions import SessionStore

app = typer.Typer(help="Serve a snapshot's tools to agents, and score what they call.", no_args_is_help=True)

TOKEN = "TOOLORCH_TOKEN"  # noqa: S105  the variable's name
LOOPBACK, PORT = "127.0.0.1", 8000

HostOption = Annotated[str, typer.Option(help=f"Address to listen on; other than loopback needs {TOKEN}.")]
PortOption = Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)]
SessionsOption = Annotated[int, typer.Option(help="Sessions at a time.", min=1)]
IdleOption = Annotated[float, typer.Option(help="Sessions that nobody uses for so many minutes are dropped.", min=0.01)]


@app.command()
@with_constraint_options
def mcp(
    asked: TaskConstraints,
    snapshot: SnapshotOption = "travel",
    seed: SeedOption = 0,
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    task_id: Annotated[str | None, typer.Option(help="On standard input and output: the task to play.")] = None,
    http: Annotated[bool, typer.Option("--http", help="Many sessions over HTTP, not one on stdin and stdout.")] = False,
    host: HostOption = LOOPBACK,
    port: PortOption = PORT,
    sessions: SessionsOption = 1000,
    idle_minutes: IdleOption = 30,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write what was played, as `toolorch evaluate` does.")
    ] = None,
) -> None:
    """Offer a snapshot's tools as an MCP server: any agent can call them, and is scored when its session ends.

    Over HTTP, who tries agents begins and ends sessions (see docs/evaluation.md). A token in the environment variable
    TOOLORCH_TOKEN is asked of them; agents need none.
    """
    if not http and (host, port) != (LOOPBACK, PORT):
        raise ConfigurationError("--host and --port are of a server over HTTP: add --http")
    if http and task_id is not None:
        raise ConfigurationError(
            "--task-id is for standard input and output; over HTTP each session names its own task"
        )
    if out is not None:
        check_writable(out)
    if http:
        checked_token(host)  # before a file is begun
    env = make_env("ToolOrchText-v0", snapshot, asked, generator=generator, reward=reward)
    _needs_extra()
    with ExitStack() as stack:
        keep = _keeper(stack, out, env, seed)
        plain = cast("ToolOrchTextEnv", env.unwrapped)
        store = SessionStore(plain, most=sessions, idle_seconds=60 * idle_minutes, on_end=keep)
        if http:
            _serve_mcp(store, host, port)
            return
        from toolorch_env.integrations.mcp_server import serve_stdio

        session = store.begin(seed=seed, options=None if task_id is None else {"task_id": task_id})

        def leave(number: int) -> None:
            """Some clients end their servers by a signal: what was played counts."""
            try:
                _tell(session.finish(), keep)
            except ToolOrchError as error:
                error_console.print(escape(str(error)), soft_wrap=True, highlight=False)
            finally:
                os._exit(128 + number)

        _tell(asyncio.run(serve_stdio(session, on_signal=leave)), keep)


def _tell(played: PlayedEpisode, keep: Callable[[PlayedEpisode], None]) -> None:
    keep(played)
    result = played.result
    error_console.print(
        f"{'solved' if result.success else 'not solved'}, {result.complete_calls} of {result.reference_calls} calls, "
        f"return {result.total:+.3f}"
    )


@app.command()
@with_constraint_options
def http(
    asked: TaskConstraints,
    snapshot: SnapshotOption = "travel",
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    host: HostOption = LOOPBACK,
    port: PortOption = PORT,
    sessions: SessionsOption = 1000,
    idle_minutes: IdleOption = 30,
) -> None:
    """Serve episodes as OpenEnv does: each WebSocket connection is a session (see docs/trainers.md).

    A token in the environment variable TOOLORCH_TOKEN is asked of everyone.
    """
    env = make_env("ToolOrchText-v0", snapshot, asked, generator=generator, reward=reward)  # tells what is wrong
    try:
        from toolorch_env.integrations.openenv import make_app
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extra 'openenv' ({error.name} is not installed): pip install 'toolorch-env[openenv]'"
        ) from None
    plain: Any = env.unwrapped
    given = {"snapshot": plain.snapshot, "generator": plain.generator, "constraints": plain.constraints}
    application = make_app(
        sessions=sessions,
        idle_seconds=60 * idle_minutes,
        token=checked_token(host),
        hosts=loopback_names(host),
        reward=reward,
        **given,
    )
    _serve(application, host, port, "")


def _serve_mcp(store: SessionStore, host: str, port: int) -> None:
    from toolorch_env.integrations.mcp_http import make_app

    application = make_app(store, token=checked_token(host), hosts=loopback_names(host))
    _serve(application, host, port, "/sessions")


def _serve(application: Any, host: str, port: int, path: str) -> None:
    import uvicorn

    error_console.print(f"serving on http://{host}:{port}{path}, end with Ctrl-C", highlight=False)
    uvicorn.run(application, host=host, port=port, log_level="warning")


def _keeper(stack: ExitStack, out: Path | None, env: Any, seed: int) -> Callable[[PlayedEpisode], None]:
    """What writes an episode that was played."""
    if out is None:
        return lambda _: None
    writer = stack.enter_context(RunWriter(out, make_header(env, "mcp", tasks=0, seed=seed)))
    before = 1 + max((index for index, _ in writer.played), default=-1)
    return lambda played: writer.write(played.model_copy(update={"index": before + played.index}))


def checked_token(host: str) -> str | None:
    """The token that clients have to know, ``None`` for none.

    Raises:
        ConfigurationError: others than this machine could come without one.
    """
    token = os.environ.get(TOKEN) or None
    if token is None and not is_loopback(host):
        raise ConfigurationError(f"{host} can be reached by others: set a token in {TOKEN}, or listen on 127.0.0.1")
    return token


def loopback_names(host: str) -> list[str] | None:
    """Names that this machine asks for its own server by, ``None`` where others may come.

    Of an address such as ``[::1]:8000`` Starlette reads all up to the port, in earlier releases up to the first colon;
    no name that was rebound begins with one.
    """
    return ["127.0.0.1", "localhost", "[::1]", "[", host, f"[{host}]"] if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _needs_extra() -> None:
    try:
        import mcp.server.lowlevel  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extra 'serve' ({error.name} is not installed): pip install 'toolorch-env[serve]'"
        ) from None
