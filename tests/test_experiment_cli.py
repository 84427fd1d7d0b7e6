"""The command line: what it prints, what it returns, and one clear message for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from experiment_studies import flow, flow_data

from swjax import experiment
from swjax.experiment import cli
from swjax.experiment import sweep as sweep_module
from swjax.experiment.store import RunFolder
from swjax.experiment.strict_yaml import write_yaml
from swjax.experiment.study import read_study

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
