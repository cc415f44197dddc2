"""Lets ``python -m toolorch_env.cli`` run the command."""

from toolorch_env.cli import main

main()
