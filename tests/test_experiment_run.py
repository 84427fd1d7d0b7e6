"""A run folder: the same bits again, whatever happens in between, and nothing overwritten."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from html import escape
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from experiment_studies import flow, flow_data, training_data
from rich.console import Console

from swjax import experiment
from swjax.experiment import execute as execute_module
from swjax.experiment import report as report_module
from swjax.experiment import sweep as sweep_module
from swjax.experiment.build import build
from swjax.experiment.chunks import ArmProgram, Interrupted
from swjax.experiment.claims import step_size_keys
from swjax.experiment.errors import RunFolderError, StudyError, UserError
from swjax.experiment.progress import asked_to_stop
from swjax.experiment.store import RunFolder, read_dataset, read_json, write_atomically
from swjax.experiment.strict_yaml import write_yaml
from swjax.experiment.study import plain


@pytest.fixture(autouse=True)
def no_report(request, monkeypatch):
    """Leave out the figures where a test is not about them: they take most of the time."""
    if "report" not in request.node.name:
        monkeypatch.setattr(sweep_module, "write_report", lambda folder: None)


def results(folder):
    """Name and content of every file of results."""
    files = [
        *Path(folder).glob("cells/*.nc"),
        Path(folder) / "reference.nc",
        Path(folder) / "summary.json",
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.exists()}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of the small flow study, with its report."""
    return experiment.run(flow(), output=tmp_path_factory.mktemp("runs") / "done")


def test_a_run_leaves_study_manifest_cells_summary_and_report(done):
    names = {path.name for path in done.folder.iterdir()}
    assert {
        "study.yaml",
        "manifest.json",
        "reference.nc",
        "cells",
        "summary.json",
        "report.html",
    } <= names
    assert sorted(path.name for path in (done.folder / "cells").iterdir()) == [
        "sgd_0.05.nc", "sgd_0.1.nc", "sgd_0.2.nc",
    ]  # fmt: skip
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["machine"]["versions"]["jax"] == jax.__version__
    assert set(manifest["sessions"][0]["cells"]) == {"sgd 0.2", "sgd 0.1", "sgd 0.05"}
    assert done.summary["status"] == "done"
    assert not list(done.folder.rglob("*.tmp"))


def test_the_results_are_one_labelled_dataset(done):
    dataset = done.dataset
    assert dict(dataset["distance"].sizes) == {
        "arm": 1, "step_size": 3, "repetition": 8, "time": 21,
    }  # fmt: skip
    assert dataset["step_size"].values.tolist() == [0.2, 0.1, 0.05]
    assert dataset["num_steps"].values.tolist() == [5, 10, 20]
    assert dataset["arm"].values.tolist() == ["sgd"]
    assert np.isfinite(dataset["distance"]).all()
    assert (dataset["distance"].isel(time=0) == 0).all()
    assert (dataset["diverged_at"] == -1).all()
    assert json.loads(dataset.attrs["study"]) == plain(done.study)


@pytest.fixture
def copied(done, tmp_path):
    """A copy of that run, to be spoiled."""
    return RunFolder(shutil.copytree(done.folder, tmp_path / "copied"))


def test_a_loaded_run_is_the_run(done):
    loaded = experiment.load(done.folder)
    assert loaded.study == done.study
    assert loaded.dataset.identical(done.dataset)
    assert loaded.summary == done.summary


def test_the_same_seeds_give_the_same_files_bit_for_bit(done, tmp_path):
    again = experiment.run(flow_data(), output=tmp_path / "again")
    assert results(again.folder) == results(done.folder)
    other = experiment.run(flow_data(), overrides=["seed=1"], output=tmp_path / "other")
    assert results(other.folder)["cells/sgd_0.1.nc"] != results(done.folder)["cells/sgd_0.1.nc"]


def test_what_is_done_is_not_made_again_and_what_is_missing_comes_out_the_same(done):
    before = results(done.folder)
    cell = RunFolder(done.folder).cell_path("sgd", 0.1)
    kept = RunFolder(done.folder).cell_path("sgd", 0.2).stat().st_mtime_ns
    cell.unlink()
    console = Console(record=True, width=200, file=io.StringIO())
    experiment.run(flow(), output=done.folder, console=console)
    assert "2 of 3 cells are there already" in console.export_text()
    assert results(done.folder) == before
    assert RunFolder(done.folder).cell_path("sgd", 0.2).stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_completed_run_says_so_and_rewrites_only_its_report(done):
    stamps = {p: p.stat().st_mtime_ns for p in (done.folder / "cells").iterdir()}
    report = (done.folder / "report.html").stat().st_mtime_ns
    console = Console(record=True, width=200, file=io.StringIO())
    experiment.resume(done.folder, console=console)
    assert (
        "all 3 cells are there already; only the report is written again" in console.export_text()
    )
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert (done.folder / "report.html").stat().st_mtime_ns > report


def test_another_study_in_the_folder_is_refused_and_nothing_changes(done):
    before = {
        p: p.read_bytes() for p in done.folder.rglob("*") if p.is_file() and p.name != ".lock"
    }
    with pytest.raises(RunFolderError) as caught:
        experiment.run(flow("seed=3", "loss.batch_size=16"), output=done.folder)
    assert "seed: there 0, asked 3" in str(caught.value)
    assert "loss.batch_size: there 8, asked 16" in str(caught.value)
    after = {p: p.read_bytes() for p in done.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == before


def test_a_folder_in_use_is_refused(done):
    with (
        RunFolder(done.folder).claim(flow()),
        pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on"),
    ):
        experiment.run(flow(), output=done.folder)


def test_a_killed_run_is_shown_as_stopped(tmp_path):
    folder = RunFolder(tmp_path / "killed")
    assert folder.status() == "unknown"
    with folder.claim(flow()):
        folder.update_manifest(status="running")
        assert RunFolder(folder.path).status() == "running"
    assert folder.status() == "stopped"


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / ".thesis.tmp").write_text("the last minutes of it")
    with pytest.raises(RunFolderError, match=r".thesis.tmp, thesis.tex"):
        experiment.run(flow(), output=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".thesis.tmp", "thesis.tex"]
    with pytest.raises(RunFolderError, match="is a file"):
        experiment.run(flow(), output=tmp_path / "thesis.tex")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        experiment.load(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        experiment.load(tmp_path / "nowhere")


def test_a_study_that_cannot_be_built_leaves_no_folder(tmp_path):
    with pytest.raises(StudyError):
        experiment.run(flow("target.shift=[1.0]"), output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(beside):
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_may_write_the_same_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"

    def write(beside):
        beside.write_text("first")
        monkeypatch.setattr(os, "getpid", lambda: 2)
        write_atomically(path, lambda other: other.write_text("second"))
        assert path.read_text() == "second"

    write_atomically(path, write)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unreadable_cell_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "cell.nc"
    path.write_bytes(b"not a netCDF file")
    with pytest.raises(RunFolderError, match="Remove it and resume"):
        read_dataset(path)


def test_an_interrupted_run_continues_inside_the_cell_to_the_same_bits(done, tmp_path, monkeypatch):
    monkeypatch.setattr(execute_module, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    study, folder = flow(), tmp_path / "stopped"
    calls = []
    with pytest.raises(KeyboardInterrupt), RunFolder(folder).claim(study) as claimed:
        execute_module.execute(
            build(study), claimed, None,
            lambda: calls.append(1) or len(calls) > 40, None,
        )  # fmt: skip
    manifest = RunFolder(folder).manifest()
    assert manifest["status"] == "interrupted"
    assert set(manifest["sessions"][0]["cells"]) == {"sgd 0.2", "sgd 0.1"}
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["sgd_0.1.npz"]
    half = experiment.load(folder)
    assert np.isfinite(half.dataset["distance"].sel(step_size=0.2)).all()
    assert np.isnan(half.dataset["distance"].sel(step_size=0.05)).all()
    experiment.resume(folder)
    assert results(folder) == results(done.folder)
    assert not list((folder / "checkpoints").iterdir())


def test_kill_at_any_moment_and_resume_to_the_same_bits(done, tmp_path):
    folder, config = tmp_path / "killed", tmp_path / "study.yaml"
    config.write_text(write_yaml(flow_data()))
    code = "import sys; from swjax.experiment.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", str(config), "--quiet", "--output", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}

    def start():
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    for sight in ("study.yaml", "cells/sgd_0.2.nc"):
        process = start()
        give_up = time.monotonic() + 300
        while not (folder / sight).exists() and process.poll() is None:
            assert time.monotonic() < give_up
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (folder / "cells").mkdir(exist_ok=True)
        half = folder / "cells" / f".sgd_0.05.nc.{process.pid}.tmp"
        half.write_bytes(b"half a file")
    sweep = experiment.resume(folder)
    assert sweep.summary["status"] == "done"
    assert results(folder) == results(done.folder)
    assert not list(folder.rglob("*.tmp"))


def test_the_first_ctrl_c_stops_between_chunks_and_the_second_at_once():
    before = signal.getsignal(signal.SIGINT)
    with asked_to_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_double_precision_is_asked_for_in_the_study(tmp_path):
    sweep = experiment.run(
        flow("precision=float64", "repetitions=2", "step_sizes=[0.2]", "expect={eta: 0.9}"),
        output=tmp_path / "x64",
    )
    assert sweep.dataset["distance"].dtype == np.float64
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_arms_with_different_balls_have_flows_of_their_own(tmp_path):
    study = flow(
        "scheme=null",
        "arms={free: {kind: sgd}, held: {kind: projected_sgd, radius: 0.5}}",
        "source={kind: cube, dim: 1, num_atoms: 6}",
        "target={kind: cube, dim: 1, num_atoms: 6, shift: [1.0]}",
        "reference={kind: population, num_steps: 64}",
        "initial={kind: uniform_ball, radius: 0.4, shared: true}",
        "repetitions=4",
    )
    sweep = experiment.run(study, output=tmp_path / "balls")
    ends = sweep.dataset["flow_path"].isel(time=-1)
    assert np.linalg.norm(ends.sel(arm="held")) <= 0.5 * (1 + 1e-6)
    assert np.linalg.norm(ends.sel(arm="free")) > 0.5
    assert float(sweep.dataset["distance"].sel(arm="held").isel(time=-1).max()) < 0.3
    assert any("reference flow is exact enough" in c["claim"] for c in sweep.summary["claims"])


def test_a_training_study_compares_its_arms(tmp_path):
    data = training_data("expect={relative_difference: 0.0, tolerance: 0.5}", "step_sizes=[0.1]")
    sweep = experiment.run(data, output=tmp_path / "training")
    claims = {c["claim"]: c for c in sweep.summary["claims"]}
    (ball,) = [c for text, c in claims.items() if "stay in the ball of radius 2" in text]
    assert ball["verdict"] == "holds"
    assert ball["estimate"] <= 2 * (1 + 4 * np.finfo(np.float32).eps)
    (difference,) = [c for text, c in claims.items() if "relative difference" in text]
    assert difference["low"] <= difference["estimate"] <= difference["high"]
    names = {m["measurement"] for m in sweep.summary["measurements"]}
    assert {"largest norm", "final loss", "final loss, paired difference to plain"} <= names


def test_failing_runs_are_named_with_a_remedy_while_they_run_and_in_summary_and_report(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(report_module, "drawings", lambda study, dataset: [])
    monkeypatch.setattr(sweep_module, "hypotheses", lambda problem: {})
    data = flow_data(
        "kind=training", "repetitions=4", "horizon=800.0", "step_sizes=[2.0]",
        "record.num_times=80", "target.shift=[3.0, 0.0]",
        "arms={free: {kind: sgd}, held: {kind: projected_sgd, radius: 1.0}}",
        "initial={kind: fixed, values: [-1.0, 0.0]}",
    )  # fmt: skip
    for key in ("reference", "expect", "scheme"):
        del data[key]
    console = Console(record=True, width=2000, file=io.StringIO())
    sweep = experiment.run(data, output=tmp_path / "failing", console=console)
    found = {each["arm"]: each for each in sweep.summary["diagnoses"]}
    # A step triples the error along its direction, or leads across the ball to its sphere.
    assert found["free"]["signature"] == "diverged"
    assert found["held"]["signature"] == "stalled"
    shown, page = console.export_text(), (sweep.folder / "report.html").read_text()
    for each in found.values():
        happened = f"{each['signature']} from step {each['first_step']} on"
        assert f"{each['num_runs']} of 4 runs {happened}. {each['remedy']}" in shown
        assert happened in page
        assert escape(each["remedy"]) in page


def test_an_unknown_figure_is_refused_with_the_known_ones(done):
    with pytest.raises(ValueError, match="order_plot"):
        done.plot("oder")


# --- results that do not belong together ----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed: 0", "seed: 1", "seed: there 0, asked 1"),
        ("batch_size: 8", "batch_size: 16", "loss.batch_size: there 8, asked 16"),
        ("repetitions: 8", "repetitions: 4", "repetitions: there 8, asked 4"),
    ],
)
def test_results_of_another_study_are_refused_by_whoever_reads_them(copied, before, after, said):
    path = copied.path / "study.yaml"
    path.write_text(path.read_text().replace(before, after))
    copied.cell_path("sgd", 0.05).unlink()
    summary = copied.summary()
    for use in (experiment.resume, sweep_module.conclude, lambda p: experiment.load(p).dataset):
        with pytest.raises(RunFolderError, match="reference.nc holds results of another") as caught:
            use(copied.path)
        assert said in str(caught.value)
    copied.reference_path.unlink()
    with pytest.raises(RunFolderError, match=r"sgd_0.2.nc holds results of another study"):
        experiment.resume(copied.path)
    assert copied.summary() == summary
    assert not copied.cell_path("sgd", 0.05).exists()


def test_a_cell_under_the_name_of_another_is_refused(copied):
    shutil.copy(copied.cell_path("sgd", 0.1), copied.cell_path("sgd", 0.05))
    with pytest.raises(RunFolderError, match="of another cell: arm sgd, step_size 0.1"):
        experiment.resume(copied.path)


def test_a_file_that_names_no_study_is_refused(copied):
    copied.cell_path("sgd", 0.1).unlink()
    read_dataset(copied.cell_path("sgd", 0.2)).drop_attrs().to_netcdf(
        copied.cell_path("sgd", 0.1), engine="h5netcdf"
    )
    with pytest.raises(RunFolderError, match="does not say which study it is of"):
        experiment.resume(copied.path)


def test_cells_without_their_flow_are_not_judged(copied):
    copied.reference_path.unlink()
    assert copied.status() == "incomplete"
    with pytest.raises(RunFolderError, match=r"reference.nc is missing. Resume"):
        sweep_module.conclude(copied.path)


def test_arms_in_another_order_are_another_study(tmp_path):
    arms = ["{a: {kind: sgd}, b: {kind: adam}}", "{b: {kind: adam}, a: {kind: sgd}}"]
    first, second = (
        experiment.sweep.as_study(training_data(f"arms={each}", "record.path=false"))
        for each in arms
    )
    with RunFolder(tmp_path / "arms").claim(first):
        pass
    with pytest.raises(RunFolderError, match="arms: there in the order a, b, asked in b, a"):
        RunFolder(tmp_path / "arms").claim(second)


def test_data_are_known_by_their_content_and_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_module, "hypotheses", lambda problem: {})
    values = np.random.default_rng(0).normal(size=(6, 2))
    np.save("a.npy", values)
    data = flow_data(
        "source={kind: file, path: a.npy}", "target.num_atoms=4", "reference={kind: population}",
        "initial.shared=true",
    )  # fmt: skip
    folder = RunFolder(experiment.run(data, output="data").folder.absolute())
    assert folder.study().source.path == str(tmp_path / "a.npy")
    before = results(folder.path)
    monkeypatch.chdir("/")
    folder.cell_path("sgd", 0.1).unlink()
    experiment.resume(folder.path)
    assert results(folder.path) == before
    shutil.move(tmp_path / "a.npy", tmp_path / "b.npy")
    sweep_module.conclude(folder.path)
    assert results(folder.path) == before
    with pytest.raises(StudyError, match="source.path: there is no file"):
        experiment.resume(folder.path)
    experiment.run(data, overrides=[f"source.path={tmp_path}/b.npy"], output=folder.path)
    assert folder.study().source.path == str(tmp_path / "b.npy")
    assert results(folder.path) == before
    np.save(tmp_path / "b.npy", values + 1)
    folder.cell_path("sgd", 0.1).unlink()
    with pytest.raises(StudyError, match="b.npy holds other data than the study names"):
        experiment.resume(folder.path)
    with pytest.raises(RunFolderError, match="source.sha256: there"):
        experiment.run(data, overrides=[f"source.path={tmp_path}/b.npy"], output=folder.path)
    assert not folder.cell_path("sgd", 0.1).exists()


# --- runs that did not finish ---------------------------------------------------------------------


def test_the_summary_says_how_far_a_run_is(copied):
    copied.update_manifest(status="running")
    assert sweep_module.conclude(copied.path).summary["status"] == "stopped"
    copied.update_manifest(status="done")
    copied.cell_path("sgd", 0.1).unlink()
    summary = sweep_module.conclude(copied.path).summary
    assert summary["status"] == copied.status() == "incomplete"
    assert summary["claims"] == []


@pytest.mark.parametrize("kind", ["damaged", "of another study"])
def test_a_checkpoint_that_cannot_be_used_is_removed_and_it_is_said(copied, kind):
    place, before = copied.checkpoint_path("sgd", 0.05), results(copied.path)
    if kind == "damaged":
        write_atomically(place, lambda beside: beside.write_bytes(b"PK half an archive"))
    else:
        other = ArmProgram(build(flow("seed=1")), 0, None)
        with pytest.raises(Interrupted):
            other.run(2, place=place, should_stop=lambda: True)
    copied.cell_path("sgd", 0.05).unlink()
    console = Console(record=True, width=200, file=io.StringIO())
    experiment.resume(copied.path, console=console)
    said = "checkpoint sgd_0.05.npz removed, the cell begins anew: "
    assert said in console.export_text()
    assert not place.exists()
    assert results(copied.path) == before


def test_the_time_of_a_cell_is_noted_once_it_is_done(tmp_path):
    study, seen = flow(), []
    with RunFolder(tmp_path / "timed").claim(study) as folder:

        def stop():
            seen.append(folder.manifest())
            return folder.cell_path("sgd", 0.2).exists()

        with pytest.raises(KeyboardInterrupt):
            execute_module.execute(build(study), folder, None, stop, None)
    assert seen[-1]["status"] == "running"
    assert set(seen[-1]["sessions"][0]["cells"]) == {"sgd 0.2"}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_judging_again_changes_nothing(copied, tmp_path, precision):
    folder = copied.path
    if precision == "float64":
        folder = experiment.run(flow("precision=float64"), output=tmp_path / "x64").folder
    before = results(folder)
    sweep_module.conclude(folder)
    assert results(folder) == before


@pytest.fixture(scope="module")
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_files_that_a_run_writes_and_writes_no_more_are_cleaned_away(copied, ended):
    names = (
        "cells/.notes.tmp", f".notes.{ended}.tmp", ".summary.json.x.tmp",
        f".summary.json.{os.getpid()}.tmp", ".report.html.1.tmp",
    )  # fmt: skip
    left = copied.path / f".summary.json.{ended}.tmp"
    for path in (*(copied.path / name for name in names), left):
        path.write_text("half a file")
    with copied.claim(flow()):
        assert [name for name in names if not (copied.path / name).exists()] == []
        assert not left.exists()


def test_a_folder_of_leftovers_alone_can_be_claimed(tmp_path, ended):
    left = tmp_path / f".study.yaml.{ended}.tmp"
    left.write_text("half a file")
    with RunFolder(tmp_path).claim(flow()):
        assert not left.exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / ".study.yaml.mine.tmp").write_text("mine")
    with pytest.raises(RunFolderError, match=r"holds other things \(.study.yaml.mine.tmp\)"):
        RunFolder(other).claim(flow())


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("num", [0, -1])
def test_a_run_needs_a_device(tmp_path, num):
    with pytest.raises(UserError, match=f"at least 1 is needed to run on, got {num}"):
        experiment.run(flow(), output=tmp_path / "none", max_devices=num)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("asked", "overrides", "message"),
    [
        (3, [], "a YAML file, a dict or a Study, got type int"),
        (None, [], "a YAML file, a dict or a Study, got type NoneType"),
        (flow_data(), "repetitions=4", "a list of assignments such as"),
        (flow_data(), 4, "a list of assignments such as"),
        (flow_data(), [4], "4 is not of the form key=value"),
    ],
)
def test_what_is_no_study_is_refused_with_one_message(asked, overrides, message):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(StudyError, match="1 problem\n.*" + message):
            experiment.run(asked, overrides=overrides)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null", "{"])
def test_a_manifest_of_something_else_is_named(copied, text):
    (copied.path / "manifest.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"manifest\.json .*Remove it: resume writes it again"):
        copied.manifest()
    assert read_json(copied.path / "nothing.json") == {}


def test_a_manifest_and_a_summary_that_were_removed_are_written_again(copied):
    before = results(copied.path)
    (copied.path / "manifest.json").unlink()
    (copied.path / "summary.json").unlink()
    experiment.resume(copied.path)
    assert results(copied.path) == before
    assert copied.status() == "done"


def test_a_file_that_may_not_be_read_is_not_to_be_removed(tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot be read: Is a directory$"):
        read_json(tmp_path)


def test_step_sizes_that_agree_to_six_digits_have_keys_of_their_own():
    assert step_size_keys([0.2, 1 / 3, 0.1 + 0.2]) == ["0.2", "0.333333", "0.3"]
    assert step_size_keys([0.1, 0.1000001]) == ["0.1", "0.1000001"]
    assert len(set(step_size_keys([0.3, 0.1 + 0.2]))) == 2
