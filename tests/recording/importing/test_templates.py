"""Published workflow templates: each becomes a workflow that parses, or is reported."""

from pathlib import Path
from typing import Any

import jmespath
import pytest
from booking_data import BOOKING, needs_booking
from hypothesis import given
from hypothesis import strategies as st
from json_values import texts
from published_shapes import LIBRARY_TEMPLATE, template, templates, write_json

from toolorch_env.core.canonical import token
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.pickles import load_plain
from toolorch_env.recording.importing.templates import (
    PublishedDependency,
    published_dependencies,
    read_templates,
    select_field,
    snake_case,
)
from toolorch_env.store.selection import Selector
from toolorch_env.store.workflows import QueryArgument, Workflow, parse_workflows


def converted(tmp_path: Path, *listed: Any) -> Workflow:
    document, problems = read_templates(write_json(tmp_path / "templates.json", templates(*listed)))
    assert problems == ()
    return parse_workflows(document).workflows[0]


def test_a_template_becomes_a_workflow(tmp_path: Path) -> None:
    workflow = converted(tmp_path, LIBRARY_TEMPLATE)
    assert workflow.name == "workflow_0"
    assert workflow.frequency == 3
    assert workflow.literals == {"name": "name", "min_rating": "min_rating"}
    assert [step.tool for step in workflow.steps] == ["Find_Author", "List_Books", "Get_Book"]
    assert [link.select for link in workflow.links()] == ["(data || @)[0].id", "(data || @).books[1].isbn"]
    assert workflow.phrasings[0].startswith(
        "Find author with name {name}; then list books with min rating {min_rating}"
    )


def test_one_value_of_a_parameter_is_one_literal(tmp_path: Path) -> None:
    days = [("Opening_Hours", {"day": day, "until": "Monday"}, {}) for day in ("Monday", "Friday", "Monday", 5, "5")]
    workflow = converted(tmp_path, template("weekly", *days))
    said = [
        argument.query
        for step in workflow.steps
        for argument in step.arguments.values()
        if isinstance(argument, QueryArgument)
    ]
    assert said == ["day", "until", "day_2", "until", "day", "until", "day_3", "until", "day_4", "until"]
    assert workflow.literals == {"day": "day", "until": "until", "day_2": "day", "day_3": "day", "day_4": "day"}


def test_literal_names_do_not_collide(tmp_path: Path) -> None:
    steps = [("A", {"day": 1, "day_2": 2, "Day": 3}, {}), ("B", {"day": 4}, {})]
    workflow = converted(tmp_path, template("w", *steps))
    names = [argument.query for step in workflow.steps for argument in step.arguments.values()]  # type: ignore[union-attr]
    assert len(set(names)) == 4
    assert set(workflow.literals) == set(names)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("pickUpDate", "pick_up_date"),
        ("sort_by", "sort_by"),
        ("toId", "to_id"),
        ("ISBNNumber", "isbn_number"),
        ("Car-Rental 3", "car_rental_3"),
        ("3d", "_3d"),
        ("", "_"),
        ("änderung", "nderung"),
    ],
)
def test_names_become_small_words(name: str, snake: str) -> None:
    assert snake_case(name) == snake


BODY = {"books": [{"isbn": "a", "first-page": {"no": [[7, 8]]}}, {"isbn": "b", "not": 1}], "@type": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("books[1].isbn", "b"),
        ("books[0].first-page.no[0][1]", 8),
        ("books[1].not", 1),
        ("@type", 2),
        ("books[9].isbn", None),
    ],
)
def test_a_field_is_selected_with_and_without_data_around_it(field: str, value: Any) -> None:
    select = Selector(select_field(field))
    assert select(BODY) == value
    assert select({"status": True, "data": BODY}) == value


def test_a_field_of_a_list_is_selected_with_and_without_data_around_it() -> None:
    select = Selector(select_field("[1].id"))
    assert select([{"id": 1}, {"id": 2}]) == 2
    assert select({"data": [{"id": 1}, {"id": 2}]}) == 2
    assert Selector(select_field("[0][1]"))([[1, 2]]) == 2


names = texts.filter(lambda name: name and not set(name) & set(".[]") and not name.isdigit())


@given(st.lists(st.tuples(names, st.lists(st.integers(0, 3), max_size=2)), min_size=1, max_size=4))
def test_every_path_of_names_and_indices_selects_what_it_says(path: list[tuple[str, list[int]]]) -> None:
    body: Any = "found"
    for name, indices in reversed(path):
        for index in reversed(indices):
            body = [None] * index + [body]
        body = {name: body}
    field = ".".join(name + "".join(f"[{index}]" for index in indices) for name, indices in path)
    assert jmespath.search(select_field(field).replace("(data || @)", "@", 1), body) == "found"
    assert jmespath.search(select_field(field), {"data": body}) == "found"


@pytest.mark.parametrize("field", ["", ".", "a..b", ".a", "a.", "[x]", "a[", "a]", "[-1]", "[0]a", "a.[0]", "a[*].b"])
def test_what_is_no_path_is_refused(field: str) -> None:
    with pytest.raises(DataSetError, match="is no path of names and"):
        select_field(field)


def test_a_number_among_names_is_refused() -> None:
    with pytest.raises(DataSetError, match="whether 0 is a name or an index"):
        select_field("books.0.isbn")


BROKEN = {
    "no_path": template("no_path", ("A", {}, {}), ("B", {"x": 1}, {"x": (0, "a[*].b")})),
    "itself": template("itself", ("A", {"x": 1}, {"x": (0, "a")})),
    "later": template("later", ("A", {"x": 1}, {"x": (1, "a")}), ("B", {}, {})),
    "empty": template("empty"),
    "unnumbered": {"id": "unnumbered", "dependencies": {"1": {"function": "A"}}},
    "no_function": {"id": "no_function", "dependencies": {"0": {}}},
    "x" * 65: template("x" * 65, ("A", {}, {})),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_what_cannot_be_converted_is_reported_and_the_rest_kept(name: str, tmp_path: Path) -> None:
    document, problems = read_templates(write_json(tmp_path / "t.json", templates(BROKEN[name], LIBRARY_TEMPLATE)))
    assert [workflow.name for workflow in parse_workflows(document).workflows] == ["workflow_0"]
    assert len(problems) == 1
    assert problems[0].startswith(f"template {name!r} is left out: ")


def test_a_second_template_of_one_name_is_reported(tmp_path: Path) -> None:
    document, problems = read_templates(write_json(tmp_path / "t.json", templates(LIBRARY_TEMPLATE, LIBRARY_TEMPLATE)))
    assert len(parse_workflows(document).workflows) == 1
    assert problems == ("template 'workflow_0' is left out: another template has the name 'workflow_0'",)


def test_a_file_of_which_nothing_can_be_converted_gives_no_document(tmp_path: Path) -> None:
    document, problems = read_templates(write_json(tmp_path / "t.json", templates(BROKEN["empty"], 7)))
    assert document is None
    assert len(problems) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"workflows": {}}', "no"])
def test_what_is_no_file_of_templates_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(text, encoding="utf-8")
    for reader in (read_templates, published_dependencies):
        with pytest.raises(DataSetError, match=r"t\.json(: not JSON| holds no workflow templates)"):
            reader(path)
    with pytest.raises(DataSetError, match="cannot be read"):
        read_templates(tmp_path / "none")


def test_published_dependencies_are_as_published(tmp_path: Path) -> None:
    (published,) = published_dependencies(write_json(tmp_path / "t.json", templates(LIBRARY_TEMPLATE)))
    assert published.id == "workflow_0"
    assert published.pattern == ("Find_Author", "List_Books", "Get_Book")
    assert published.frequency == 3
    assert published.dependencies == {
        PublishedDependency(1, "author_id", 0, "[0].id"),
        PublishedDependency(2, "isbn", 1, "books[1].isbn"),
    }


def test_a_malformed_template_has_no_dependencies(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", templates(BROKEN["no_function"]))
    with pytest.raises(
        DataSetError, match=r"t\.json, template 'no_function': dependencies\.0\.function: Field required"
    ):
        published_dependencies(path)


@needs_booking
def test_all_published_templates_become_workflows() -> None:
    assert BOOKING is not None
    path = BOOKING / "workflow_templates.json"
    document, problems = read_templates(path)
    assert problems == ()
    workflows = parse_workflows(document).workflows
    published = published_dependencies(path)
    assert len(workflows) == len(published) == 107
    for workflow, template_of in zip(workflows, published, strict=True):
        assert tuple(step.tool for step in workflow.steps) == template_of.pattern
        assert len(list(workflow.links())) == len(template_of.dependencies)


@needs_booking
def test_the_selections_of_published_templates_find_what_published_tasks_use() -> None:
    """In nearly every place: some tasks of a template take another element than the template says."""
    assert BOOKING is not None
    by_name = {one.id: one for one in published_dependencies(BOOKING / "workflow_templates.json")}
    found = []
    for task in load_plain(BOOKING / "bfcl_training_3_per_workflow.pkl"):
        for dependency in by_name[task["workflow_id"]].dependencies:
            body = task["steps"][dependency.from_step]["execution_result"]["execution_result"]
            value = Selector(select_field(dependency.from_field))(body)
            argument = task["steps"][dependency.step]["ground_truth"]["arguments"].get(dependency.argument)
            found.append(None if value is None else token(value) == token(argument))
    assert len(found) == 398
    assert found.count(None) <= 3
    assert found.count(True) >= 383
