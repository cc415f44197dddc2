"""Policies that live in packages and files of their users."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.policies.base import Policy


def load_policy(name: str) -> Policy:
    """The policy that ``package.module:object`` names; the current folder is looked in, too.

    The object is a policy, or a class or function that makes one of no arguments.

    Raises:
        ConfigurationError: there is none.
    """
    module_name, _, attribute = name.partition(":")
    found = _attribute(name, module_name, attribute)
    if isinstance(found, type) or not isinstance(found, Policy):
        if not callable(found):
            raise ConfigurationError(f"{name!r} is no policy: it has no method act()")
        try:
            found = found()
        except TypeError as error:
            raise ConfigurationError(f"{name!r} makes no policy of no arguments: {error}") from None
    if not isinstance(found, Policy):
        raise ConfigurationError(f"{name!r} makes a {type(found).__name__}, which is no policy: it has no method act()")
    return found


def _attribute(name: str, module_name: str, attribute: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise ConfigurationError(f"the policy {name!r} cannot be found: there is no module {error.name!r}") from None
    except (TypeError, ValueError):  # relative names, and none
        raise ConfigurationError(f"{module_name!r} is no name of a module") from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(f"the module {module_name!r} has no {attribute!r}") from None
