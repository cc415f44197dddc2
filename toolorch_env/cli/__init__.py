"""The command ``toolorch``: thin, everything is done by the packages that it calls."""

from typing import Annotated

import typer
from rich.markup import escape

import toolorch_env
from toolorch_env.cli import evaluate, importing, play, recording, serve, snapshots, synthesize, train, workflows
from toolorch_env.cli.display import console, error_console, showing_warnings
from toolorch_env.core.errors import ToolOrchError

app = typer.Typer(help="Recorded APIs as environments for multi-step tool orchestration.", no_args_is_help=True)
app.command()(play.demo)
app.command()(evaluate.evaluate)
app.command()(evaluate.rescore)
app.command()(evaluate.report)
app.command()(play.play)
app.command()(synthesize.synthesize)
app.command()(train.train)
app.add_typer(recording.app, name="record")
app.add_typer(importing.app, name="import")
app.add_typer(snapshots.app, name="snapshot")
app.add_typer(workflows.app, name="workflows")
app.add_typer(serve.app, name="serve")


def main() -> None:
    """Runs the command; what the user got wrong is told in one line, with exit code 2."""
    try:
        with showing_warnings():
            app()
    except ToolOrchError as error:
        told = " ".join(line.strip() for line in str(error).splitlines())
        error_console.print(f"[bold red]error:[/] {escape(told)}", soft_wrap=True, highlight=False)
        raise SystemExit(2) from None


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Recorded APIs as environments for multi-step tool orchestration."""
    if show:
        console.print(toolorch_env.__version__)
        raise typer.Exit
