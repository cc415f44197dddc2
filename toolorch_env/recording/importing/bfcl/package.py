"""What the package ``bfcl-eval`` brings: the classes of the back ends, their tool documents, the problems' files."""

import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolorch_env.core.errors import ConfigurationError, DataSetError
from toolorch_env.recording.importing.json_files import read_json_lines

PACKAGE = "bfcl_eval"
INSTALL = "pip install 'toolorch-env[bfcl]' && pip install --no-deps bfcl-eval==2026.3.23"
"""Without its dependencies: it pins some 30 packages, most for other purposes, that do not fit to ours."""

CLASSES = (
    *("GorillaFileSystem", "MathAPI", "MessageAPI", "TicketAPI", "TradingBot", "TravelAPI", "TwitterAPI"),
    "VehicleControlAPI",
)
"""The back ends of the multi-turn categories; others of the package need the network."""


@dataclass(frozen=True)
class Package:
    """The installed package.

    Attributes:
        version: its version.
        data: folder of its data files.
        classes: the classes of the back ends, by name.
        stateless: names of the classes that are not set up.
        documents: for each class the documents of its tools, in BFCL's dialect of JSON Schema.
    """

    version: str
    data: Path
    classes: Mapping[str, type]
    stateless: frozenset[str]
    documents: Mapping[str, tuple[dict[str, Any], ...]]

    def owners(self) -> dict[str, str]:
        """The class that each tool belongs to.

        Raises:
            DataSetError: two classes have a tool of one name, or a class lacks a tool that is documented.
        """
        owners: dict[str, str] = {}
        for owner, documents in self.documents.items():
            for name in (document["name"] for document in documents):
                if name in owners:
                    raise DataSetError(f"bfcl-eval {self.version}: both {owners[name]} and {owner} have a tool {name}")
                if not callable(getattr(self.classes[owner], name, None)):
                    raise DataSetError(f"bfcl-eval {self.version}: {owner} has no {name}")
                owners[name] = owner
        return owners

    def parameters(self) -> dict[str, tuple[str, ...]]:
        """The names of each tool's parameters, in the order in which they are passed without names."""
        return {
            name: tuple(inspect.signature(getattr(self.classes[owner], name)).parameters)[1:]
            for name, owner in self.owners().items()
        }


def open_package() -> Package:
    """The package ``bfcl-eval`` as it is installed.

    Raises:
        ConfigurationError: it is not installed, or something that its back ends need is not.
        DataSetError: a file of it is missing or damaged.
    """
    found = importlib.util.find_spec(PACKAGE)
    try:
        if found is None or not found.submodule_search_locations:
            raise ModuleNotFoundError(name=PACKAGE)
        settings = importlib.import_module(f"{PACKAGE}.constants.executable_backend_config")
        modules = {name: importlib.import_module(settings.CLASS_FILE_PATH_MAPPING[name]) for name in CLASSES}
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"importing BFCL needs the package bfcl-eval ({error.name} is not installed): {INSTALL}"
        ) from None
    data = Path(found.submodule_search_locations[0]) / "data"
    files = settings.MULTI_TURN_FUNC_DOC_FILE_MAPPING
    return Package(
        version=importlib.metadata.version("bfcl-eval"),
        data=data,
        classes={name: getattr(module, name) for name, module in modules.items()},
        stateless=frozenset(settings.STATELESS_CLASSES),
        documents={name: tuple(read_objects(data / "multi_turn_func_doc" / files[name])) for name in CLASSES},
    )


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line.

    Raises:
        DataSetError: the file cannot be read, or a line of it is no JSON object.
    """
    found = []
    for place, value in read_json_lines(path):
        if not isinstance(value, dict):
            raise DataSetError(f"{place}: no JSON object")
        found.append(value)
    return found
