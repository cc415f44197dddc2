"""The values that the recording plan starts from, taken from the database."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path

import travel_api

CURRENCIES = (
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW",
    "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
)  # fmt: skip
"""Nobody asks for the rate of a currency to itself, so the plan starts from pairs of two."""

CITIES = 300
_CANDIDATES = 700


def write_values(connection: sqlite3.Connection, folder: Path) -> None:
    """Writes the files that `plan.yaml` names into a folder: cities, countries and pairs of currencies."""
    _write_table(folder / "cities.csv", ("city_name", "country_code"), leading_cities(connection))
    _write_table(folder / "currency_pairs.csv", ("base", "quote"), permutations(CURRENCIES, 2))
    codes = connection.execute("SELECT country_code FROM countries ORDER BY country_code")
    (folder / "countries.txt").write_text("".join(f"{code}\n" for (code,) in codes), encoding="utf-8")


def leading_cities(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Name and country of the most populous cities with plain names that lead the search for their name."""
    found: dict[str, str] = {}
    rows = connection.execute(
        "SELECT name, country_code, folded_name FROM cities ORDER BY population DESC, city_id LIMIT ?", (_CANDIDATES,)
    )
    for name, country, folded in rows.fetchall():
        plain = folded == name.lower() and name.replace(" ", "").isalpha() and len(name) >= 4
        if plain and name not in found and len(found) < CITIES and _leads(connection, name):
            found[name] = country
    return sorted(found.items())


def _leads(connection: sqlite3.Connection, name: str) -> bool:
    answer = travel_api.answer(connection, "search_cities", {"city_name": name})
    return bool(max(answer["cities"], key=lambda city: city["population"])["name"] == name)


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
