"""The command that trains, and the one that evaluates what it has trained."""

import json
from pathlib import Path

import pytest
from command_line import Command, told_in_one_line

pytest.importorskip("sb3_contrib", reason="the extra 'sb3' is not installed")
pytest.importorskip("numba", reason="the extra 'vector' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.long
def test_an_agent_is_trained_trained_on_and_evaluated(toolorch: Command, folder: Path, library: Path) -> None:
    training = ("train", "--snapshot", str(library), "--num-envs", "16", "--max-steps", "2")
    done = toolorch(*training, "--out", "agent.zip", "--steps", "500", "--reward", "atomic")
    assert (done.code, done.err) == (0, "")
    assert "agent.zip: 512 steps" in done.words
    refused = toolorch(*training, "--out", "agent.zip", "--steps", "500")
    assert refused.code == 2
    assert "--overwrite" in refused.err
    more = toolorch(*training, "--out", "agent.zip", "--steps", "256", "--resume", "agent.zip", "--minutes", "0.000001")
    assert more.code == 0
    assert "agent.zip: 528 steps" in more.words
    evaluated = ("evaluate", "--policy", "sb3:agent.zip", "--snapshot", str(library), "--tasks", "10")
    assert toolorch(*evaluated, "--split", "train", "--json", "one.json").code == 0
    assert toolorch(*evaluated, "--split", "train", "--blank-query", "--json", "two.json").code == 0
    one, two = (json.loads(Path(name).read_text()) for name in ("one.json", "two.json"))
    assert one["tasks"] == two["tasks"] == 10
    shown = toolorch("demo", "--snapshot", "travel", "--tasks", "2", "--agent", "agent.zip")
    assert "it was trained on 'library'" in shown.err.replace("agent.zip was", "it was")


def test_bad_use_is_told_in_one_line(toolorch: Command, folder: Path, library: Path) -> None:
    Path("odd.zip").write_text("no model")
    for said, arguments in [
        ("no snapshot", ("train", "--snapshot", "absent.sqlite", "--out", "agent.zip")),
        ("no reward", ("train", "--snapshot", str(library), "--reward", "kind", "--out", "agent.zip")),
        ("scored in Python", ("train", "--snapshot", str(library), "--reward", "execution", "--out", "agent.zip")),
        ("exists", ("train", "--snapshot", str(library), "--out", "odd.zip")),
        ("no model", ("train", "--snapshot", str(library), "--out", "agent.zip", "--resume", "odd.zip")),
        ("no model", ("evaluate", "--snapshot", str(library), "--policy", "sb3:odd.zip")),
        ("no model", ("evaluate", "--snapshot", str(library), "--policy", "sb3:absent.zip")),
        ("no policy", ("evaluate", "--snapshot", str(library), "--policy", "sb3:")),
        ("no policy", ("evaluate", "--snapshot", str(library), "--policy", "best")),
    ]:
        done = toolorch(*arguments)
        assert done.code == 2, arguments
        assert said in done.err, arguments
        assert told_in_one_line(done.err)
    assert not Path("agent.zip").exists()
