"""The command line: what it prints, what it returns, and one clear message for every mistake."""

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from experiment_studies import flow, flow_data
from rich.console import Console

from swjax import experiment
from swjax.convergence import exceedance
from swjax.experiment import cli
from swjax.experiment import sweep as sweep_module
from swjax.experiment.claims_exceedance import decreasing_claim
from swjax.experiment.store import RunFolder
from swjax.experiment.strict_yaml import write_yaml
from swjax.experiment.study import read_study
from swjax.experiment.tables import verdict_table

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Work in an empty folder with one study, and leave out the figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sweep_module, "write_report", lambda folder: None)
    Path("configs").mkdir()
    Path("configs/small.yaml").write_text(write_yaml(flow_data("name=small")))
    return tmp_path


def swjax(*words):
    return cli.main([str(word) for word in words])


def test_run_ends_with_the_verdicts_and_names_the_report(capsys):
    assert swjax("run", "configs/small.yaml", "repetitions=4", "expect.tolerance=5") == 0
    printed = capsys.readouterr().out
    assert "sgd, step size 0.05, 4 repetitions: 20 steps" in printed
    assert "holds" in printed
    assert "Report: runs/small/report.html" in printed
    assert experiment.load("runs/small").study.repetitions == 4
    assert swjax("resume", "runs/small") == 0
    assert "only the report is written again" in capsys.readouterr().out
    assert swjax("list", "runs") == 0
    printed = capsys.readouterr().out
    assert "runs/small" in printed
    assert "3/3" in printed


@pytest.mark.slow
def test_several_studies_end_with_one_table_and_strict_fails_with_1(capsys):
    Path("configs/other.yaml").write_text(
        write_yaml(flow_data("name=other", "expect={order: 3.0, tolerance: 0.01}"))
    )
    words = ["run", "configs/small.yaml", "configs/other.yaml", "step_sizes=[0.2,0.1,0.05]"]
    assert swjax(*words, "--output", "mine", "--quiet") == 0
    printed = capsys.readouterr().out
    assert printed.count("Verdicts") == 1
    assert "Report: mine/small/report.html" in printed
    assert "Report: mine/other/report.html" in printed
    assert swjax("report", "mine/other", "--strict") == 1
    assert swjax("report", "mine/other") == 0


EXACT = ["reference={kind: population}", "source.num_atoms=4", "target.num_atoms=4"]
BALL = "{kind: projected_sgd, radius: 0.5}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: 1 problem\n  there is no such file"),
        (["run", "configs/small.yaml", "step_szes=[1]"], "did you mean 'step_sizes'?"),
        (["run", "configs/small.yaml", "seed=x", "horizon=-1"], "2 problems"),
        (["run", "configs/small.yaml", "generator.kind=mpl"], "unknown kind 'mpl'"),
        (["run", "configs/small.yaml", "step_sizes=[0.0]"], "greater than 0, got 0"),
        (["run", "configs/small.yaml", "target.shift=[1.0]"], "target: shift must have shape"),
        (["run", "configs/small.yaml", "configs/small.yaml"], "two of these studies have one name"),
        (["run", "seed=1"], "name at least one study file"),
        (["resume", "nowhere"], "nowhere does not exist"),
        (["report", "configs"], "configs is not a run folder"),
        (["run", "configs/small.yaml", "reference={kind: population}"], "give source and target"),
        (["run", "configs/small.yaml", *EXACT, f"scheme={BALL}"], "0.5 excludes the start, whose"),
        (["run", "configs/small.yaml", "horizon=0.1"], "give a longer horizon or smaller step"),
        (["run", "configs/small.yaml", "step_sizes=[0.2,0.1]"], "there are 2; give more, or leave"),
        (["run", "configs/small.yaml", "--devices", "0"], "devices: at least 1 is needed"),
        (["check", "configs/small.yaml", "loss.batch_size=0"], "loss.batch_size: input should be"),
        (["run", "configs/small.yaml", "--quiet", ""], "swjax: a word is empty; leave it out"),
        (["run", "configs/small.yaml", "seed=" + 400 * "x"], "input should be a valid integer"),
        (["run", "configs/small.yaml", "step_sizes=[0.1,", "0.05]"], "quote the whole assignment"),
    ],
)
def test_a_mistake_gives_one_message_and_exit_code_2(words, message, capsys):
    assert swjax(*words) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not Path("runs").exists()


def test_a_folder_in_use_gives_exit_code_2(capsys):
    with RunFolder("runs/small").claim(flow("name=small")):
        assert swjax("run", "configs/small.yaml") == 2
    assert "runs/small is in use by process" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_module, "execute", interrupted)
    assert swjax("run", "configs/small.yaml") == 130
    assert "swjax resume runs/small" in capsys.readouterr().out


def test_ctrl_c_before_anything_ran_proposes_no_folder_to_resume(capsys, monkeypatch):
    def interrupted(study):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_module, "build", interrupted)
    assert swjax("run", "configs/small.yaml") == 130
    printed = capsys.readouterr().out
    assert "Nothing had been run yet" in printed
    assert "resume" not in printed


def test_check_shows_the_plan(capsys):
    assert swjax("check", "configs/small.yaml") == 0
    printed = capsys.readouterr().out
    assert "3 cells, 35 steps of 8 repetitions, 2 parameters" in printed
    assert not Path("runs").exists()


def test_check_can_time_a_few_steps(capsys):
    assert swjax("check", "configs/small.yaml", "--time") == 0
    assert "s on this machine" in capsys.readouterr().out


def test_check_prints_the_schema(capsys):
    assert swjax("check", "--schema") == 0
    assert "FlowStudy" in json.loads(capsys.readouterr().out)["$defs"]


def test_list_shows_studies_and_marks_invalid_ones(capsys):
    Path("configs/bad.yaml").write_text("name: bad\nkind: flow\n")
    assert swjax("list") == 0
    printed = capsys.readouterr().out
    assert "configs/small.yaml" in printed
    assert "invalid" in printed
    assert "There is no folder runs/ here." in printed


def test_what_a_user_writes_is_no_markup(capsys):
    name, question = "runs/spé [red] x/[/b] run", "question='[/x] In [a, b] :bug: does it?'"
    assert swjax("check", "configs/small.yaml", question) == 0
    assert "small: [/x] In [a, b] :bug: does it?" in capsys.readouterr().out
    words = ["repetitions=4", "arms={a: {kind: sgd}, b: {kind: sgd}}", "scheme=null", question]
    assert swjax("run", "configs/small.yaml", *words, "--output", name) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}\n")
    assert f"Report: {name}/report.html" in printed
    assert swjax("list", "runs") == 0
    assert name in capsys.readouterr().out


def fake_run(folder, **manifest):
    """A run folder as `swjax list` reads it."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(write_yaml(flow_data("name=small")))
    started = {"started": "2031-02-03T04:05:06+00:00"}
    (folder / "manifest.json").write_text(json.dumps({"sessions": [started], **manifest}))
    verdicts = {"holds": 12, "fails": 0, "undecided": 1}
    (folder / "summary.json").write_text(json.dumps({"verdicts": verdicts}))
    return folder


def test_list_shows_runs_in_folders_and_those_that_cannot_be_read(capsys):
    fake_run("runs/grid/a", status="interrupted", num_cells=3)
    fake_run("runs/grid/a/figures/none")
    (fake_run("runs/broken") / "manifest.json").write_text("{")
    (fake_run("runs/list") / "summary.json").write_text("[]")
    fake_run("runs/1/2/3/4")
    fake_run("runs/1/2/3/deep/4")
    assert swjax("list", "runs") == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert "interrupted" in rows["runs/grid/a"]
    assert "0/3" in rows["runs/grid/a"]
    assert "2031-02-03" in rows["runs/grid/a"]
    assert "12 holds, 1 undecided" in rows["runs/grid/a"]
    assert "invalid" in rows["runs/broken"]
    assert "invalid" in rows["runs/list"]
    assert {"runs/grid/a", "runs/broken", "runs/list", "runs/1/2/3/4"} <= rows.keys()
    assert not any("none" in name or "deep" in name for name in rows)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_list_fits_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    for name in ("one", "a_study_with_a_name_that_is_rather_long_for_a_terminal"):
        fake_run(f"runs/{name}", status="interrupted", num_cells=3)
    assert swjax("list") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert "runs/one" in printed
    assert "configs/small.yaml" in printed
    for whole in ("interrupted", "0/3", "2031-02-03", "flow", "undecided"):
        assert whole in printed
    if width < 72:
        assert "\n  interrupted, 0/3, 2031-02-03" in printed


def test_mistakes_in_several_studies_are_named_at_once(capsys):
    Path("configs/other.yaml").write_text(write_yaml(flow_data("name=other")))
    for command in ("run", "check"):
        assert swjax(command, "configs/small.yaml", "configs/other.yaml", "seed=x") == 2
        shown = capsys.readouterr().err
        assert "configs/small.yaml: 1 problem" in shown
        assert "configs/other.yaml: 1 problem" in shown


def test_check_goes_on_after_a_study_that_cannot_be_built(capsys):
    bad = flow_data("name=bad", "target.shift=[1.0]")
    Path("configs/bad.yaml").write_text(write_yaml(bad))
    assert swjax("check", "configs/bad.yaml", "configs/small.yaml") == 2
    shown = capsys.readouterr()
    assert "bad: 1 problem" in shown.err
    assert "3 cells, 35 steps" in shown.out


def test_strict_is_not_content_with_a_run_that_is_not_complete(capsys):
    words = ["repetitions=4", "expect.tolerance=5", "target.num_atoms=3", "source.num_atoms=3"]
    assert swjax("run", "configs/small.yaml", *words, "--quiet", "--strict") == 0
    next(Path("runs/small/cells").iterdir()).unlink()
    assert swjax("report", "runs/small") == 0
    assert "no verdict yet: incomplete" in capsys.readouterr().out
    assert swjax("report", "runs/small", "--strict") == 1


def test_a_ball_claim_reads_at_most(capsys):
    summary = {"study": "balls", "kind": "training", "status": "done"}
    norm = {"claim": "norms stay", "estimate": 2.08, "low": 2.08, "high": 2.08, "expected": 10.0}
    norm |= {"tolerance": 4.768e-06, "verdict": "holds", "note": ""}
    nothing = norm | {"estimate": None, "low": None, "high": None, "note": "No run stayed finite."}
    Console(width=120).print(verdict_table([summary | {"claims": [norm, nothing]}]))
    printed = capsys.readouterr().out
    assert "2.08, expected at most 10 up to rounding" in printed
    assert "No run stayed finite. " in printed
    assert "[" not in printed


def test_a_claim_that_fails_inside_its_band_says_why(capsys):
    shares = [exceedance(np.arange(100) < count, 0.5) for count in (50, 90, 0)]
    claim = decreasing_claim("the share falls", [0.1, 0.05, 0.025], shares, "")
    summary = {"study": "rare", "kind": "flow", "status": "done", "claims": [claim]}
    Console(width=120).print(verdict_table([summary]))
    printed = capsys.readouterr().out
    assert "0.9 at 0.05 is above 0.5 at 0.1." in printed
    assert "expected" not in printed


@pytest.mark.parametrize("file", ["runs/small/report.html", None])
def test_a_full_disk_gives_one_line_and_exit_code_2(file, capsys, monkeypatch):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", file)

    monkeypatch.setattr(sweep_module, "write_report", full)
    assert swjax("run", "configs/small.yaml", "repetitions=4", "--quiet") == 2
    err = capsys.readouterr().err
    assert err == f"swjax: {file or 'runs/small'}: No space left on device\n"


def test_too_little_memory_gives_one_line_and_exit_code_2(capsys):
    law, many = "{kind: ball, dim: 100000}", "loss.batch_size=2000000000"
    assert swjax("check", "configs/small.yaml", f"source={law}", f"target={law}", many) == 2
    err = capsys.readouterr().err
    assert err.startswith("swjax: not enough memory for so many repetitions")
    assert err.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def faulty(study):
        raise RuntimeError("a fault")

    monkeypatch.setattr(sweep_module, "build", faulty)
    with pytest.raises(RuntimeError, match="a fault"):
        swjax("run", "configs/small.yaml")


def test_a_closed_pipe_ends_the_command_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from swjax.experiment.cli import main; sys.exit(main(['list']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_script_with_changed_values_leaves_the_figures_of_the_project_alone(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    monkeypatch.setattr(sys, "argv", ["experiments/some_claim.py"])
    script = importlib.import_module("_claim")
    assert script.suffix() == ""
    saved = []
    monkeypatch.setattr(script._script, "save", lambda ax, folder: saved.append(folder))
    script.save(None)
    for words in (["seed=1"], ["seed=2"]):
        monkeypatch.setattr(sys, "argv", ["experiments/some_claim.py", *words])
        script.save(None)
    project, first, second = saved
    assert project == ROOT / "experiments" / "figures"
    assert first.parent == second.parent == ROOT / "runs"
    assert first != second
    monkeypatch.setattr(sys, "argv", ["experiments/some_claim.py", "sed=1"])
    with pytest.raises(SystemExit) as caught:
        script.run_study("translation")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "exit codes: 0 done"),
        (["run", "--help"], "values to use instead of theirs"),
        (["report", "--help"], "Judge results again and rewrite their report."),
        (["--version"], "swjax "),
    ],
)
def test_the_commands_explain_themselves(words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        swjax(*words)
    assert caught.value.code == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_an_unknown_command_gives_exit_code_2():
    with pytest.raises(SystemExit) as caught:
        swjax("walk")
    assert caught.value.code == 2


STUDIES = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_studies_that_come_with_the_project_are_read(path):
    assert read_study(path).question


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_studies_that_come_with_the_project_can_be_built(path):
    assert swjax("check", path) == 0


def test_help_is_fast_enough_to_be_asked_for():
    code = "import sys; from swjax.experiment.cli import main; main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "usage: swjax" in done.stdout
    assert "matplotlib" not in done.stderr
