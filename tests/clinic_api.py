"""A small API with naming habits of its own: camelCase, nested owners, lists at the top, plain ids."""

from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool

SPECIES = ("dog", "cat")
BREEDS = {"dog": ["beagle", "boxer", "collie"], "cat": ["manx", "siamese"]}
OWNERS, PETS, CLINICS = 12, 30, 5


def _tool(name: str, *, read_only: bool = True, optional: tuple[str, ...] = (), **properties: Any) -> Tool:
    required = [parameter for parameter in properties if parameter not in optional]
    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(name, "", schema, read_only=read_only)


TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}

TOOLS = ToolSet(
    [
        _tool("listOwners"),
        _tool("getOwner", ownerId=INTEGER),
        _tool(
            "listPets",
            species={"enum": list(SPECIES)},
            withPhotos={"type": "boolean", "default": False},
            pageSize={"type": "integer", "minimum": 1, "maximum": 3, "default": 3},
            optional=("species", "withPhotos", "pageSize"),
        ),
        _tool("getPet", id=TEXT),
        _tool("listVisits", pet_id=TEXT),
        _tool("get-visit", **{"visit-id": {"type": "string", "pattern": "^v-[0-9]+$"}}),
        _tool("getClinic", code=TEXT),
        _tool("clinicsNear", lat=NUMBER, lng=NUMBER),
        _tool("listBreeds", species={"enum": list(SPECIES)}),
        _tool("getBreed", species=TEXT, breed=TEXT),
        _tool("bookVisit", read_only=False, petId=TEXT),
        _tool("findLetters", phrase=TEXT),
    ]
)

CRAWLS = {
    ("getOwner", "ownerId", "listOwners"),
    ("getOwner", "ownerId", "listPets"),
    ("getOwner", "ownerId", "getPet"),
    ("getPet", "id", "listPets"),
    ("getPet", "id", "getOwner"),
    ("listVisits", "pet_id", "listPets"),
    ("listVisits", "pet_id", "getOwner"),
    ("get-visit", "visit-id", "listVisits"),
    ("getClinic", "code", "get-visit"),
    ("getClinic", "code", "clinicsNear"),
    ("clinicsNear", "lat", "get-visit"),
    ("clinicsNear", "lng", "get-visit"),
    ("getBreed", "breed", "listBreeds"),
}
"""Tool, parameter and source of all that can be crawled."""


def answer(tool: str, arguments: dict[str, Any]) -> tuple[int, Any]:
    """What the API answers: 404 to what is unknown."""
    try:
        return 200, _ANSWERS[tool](arguments)
    except (KeyError, ValueError, IndexError):
        return 404, {"error": "not found"}


def _owner(number: int) -> dict[str, Any]:
    return {"id": 1000 + number, "fullName": f"Owner {number}", "address": {"city": "Bern", "id": f"a{number}"}}


def _one_owner(arguments: dict[str, Any]) -> Any:
    number = range(OWNERS)[arguments["ownerId"] - 1000]
    pets = [{"petId": f"p-{pet}", "name": f"Pet {pet}"} for pet in range(PETS) if pet % OWNERS == number]
    return {**_owner(number), "pets": pets}


def _pet(number: int) -> dict[str, Any]:
    species = SPECIES[number % 2]
    owner = {"id": 1000 + number % OWNERS, "fullName": f"Owner {number % OWNERS}"}
    return {"id": f"p-{number}", "name": f"Pet {number}", "species": species, "owner": owner}


def _pets(arguments: dict[str, Any]) -> Any:
    pets = [_pet(number) for number in range(PETS)]
    wanted = [pet for pet in pets if arguments.get("species") in (None, pet["species"])]
    return {"data": wanted[: 8 * arguments.get("pageSize", 3)], "total": len(wanted)}


def _number(text: str, letter: str, count: int) -> int:
    prefix, _, digits = text.partition("-")
    if prefix != letter:
        raise ValueError(text)
    return range(count)[int(digits)]


def _visits(arguments: dict[str, Any]) -> Any:
    return [{"visitId": f"v-{2 * _number(arguments['pet_id'], 'p', PETS) + index}"} for index in range(2)]


def _visit(arguments: dict[str, Any]) -> Any:
    number = _number(arguments["visit-id"], "v", 2 * PETS)
    return {"day": f"2024-03-{1 + number % 28:02}", "clinic": {**_clinic(number % CLINICS), "location": _place(number)}}


def _clinic(number: int) -> dict[str, Any]:
    return {"code": f"K{number}", "beds": number}


def _place(number: int) -> dict[str, float]:
    return {"lat": 46.5 + number % CLINICS, "lng": 7.25 + number % CLINICS}


_ANSWERS: dict[str, Any] = {
    "listOwners": lambda arguments: [_owner(number) for number in range(OWNERS)],
    "getOwner": _one_owner,
    "listPets": _pets,
    "getPet": lambda arguments: {"pet": _pet(_number(arguments["id"], "p", PETS))},
    "listVisits": _visits,
    "get-visit": _visit,
    "getClinic": lambda arguments: _clinic(range(CLINICS)[int(arguments["code"].removeprefix("K"))]),
    "clinicsNear": lambda arguments: {"results": [_clinic(number) for number in range(int(arguments["lat"] - 46.5))]},
    "listBreeds": lambda arguments: BREEDS[arguments["species"]],
    "getBreed": lambda arguments: {"rank": 1 + BREEDS[arguments["species"]].index(arguments["breed"])},
}
