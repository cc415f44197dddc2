"""A snapshot's tools as a server of the Model Context Protocol: agents of any make can be tried on recorded tasks.

An agent sees the tools of its task and calls them; each call is answered from the snapshot and scored. What it is to do
stands in the prompt ``task``. It sees no scores: who tries agents gets them when the session ends.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from toolorch_env.core.errors import EpisodeError
from toolorch_env.core.version import VERSION
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.envs.tool_orch_text import SYSTEM_PROMPT
from toolorch_env.evaluation.runs import PlayedEpisode
from toolorch_env.integrations.sessions import Session

SessionOf = Callable[[Any], Session]
"""The session that a request of an agent belongs to."""

PROMPT = "task"

_BROKEN_OFF = (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError)


def make_server(session_of: SessionOf, max_response_chars: int = 10_000) -> Server[Any]:
    """The protocol's server.

    Args:
        session_of: gives the session of a request from its context.
        max_response_chars: longer responses are shortened.
    """

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        episode = session_of(context).episode
        tools = [episode.replay.tools[name] for name in episode.task.tools]
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=dict(tool.parameters))
                for tool in tools
            ]
        )

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            step = session_of(context).call(params.name, params.arguments or {})
        except EpisodeError:
            return _said("The task has ended: no more calls are answered.", is_error=True)
        return _said(shorten_json(step.response.raw, max_response_chars), is_error=not step.response.success)

    async def list_prompts(context: Any, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name=PROMPT, description="What is to be done.")])

    async def get_prompt(context: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        if params.name != PROMPT:
            raise MCPError(types.INVALID_PARAMS, f"there is no prompt {params.name[:100]!r}")
        query = session_of(context).episode.task.query
        content = types.TextContent(type="text", text=query)
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content)])

    return Server(
        "toolorch",
        version=VERSION,
        instructions=f"{SYSTEM_PROMPT} The request is the prompt {PROMPT!r}.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


def _said(text: str, *, is_error: bool) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)


async def serve_stdio(
    session: Session, max_response_chars: int = 10_000, on_signal: Callable[[int], None] | None = None
) -> PlayedEpisode:
    """Serves one session on standard input and output until the agent leaves; tells how it went.

    Args:
        session: the session.
        max_response_chars: longer responses are shortened.
        on_signal: called when the process is told to end (SIGINT, SIGTERM); it has to end it, as nothing else can while
            standard input is open.
    """
    server = make_server(lambda _: session, max_response_chars)
    if on_signal is not None and sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    try:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
    except* _BROKEN_OFF:  # the agent has left without waiting for an answer
        pass
    return session.finish()
