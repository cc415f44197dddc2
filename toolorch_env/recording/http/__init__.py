"""HTTP APIs that an OpenAPI document describes."""

from toolorch_env.recording.http.api import HttpApi, HttpSession, open_http_api

__all__ = ["HttpApi", "HttpSession", "open_http_api"]
