import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from swjax import plot
from swjax.convergence import exceedance
from swjax.experiment import report_flow
from swjax.experiment.claims_closed_form import closed_form_claims
from swjax.experiment.claims_exceedance import decreasing_claim, rare_claim
from swjax.experiment.diagnoses import diagnoses
from swjax.experiment.distances import run_distances
from swjax.experiment.order_claim import judged_order
from swjax.experiment.report import write_report
from swjax.experiment.report_claims import claims_of
from swjax.experiment.report_figures import draw_figure
from swjax.experiment.report_html import decimals_of, interval, number, tag, with_interval
from swjax.experiment.report_verdict import sentence, verdict_block
from swjax.experiment.results import cell_dataset, combine, flow_times
from swjax.experiment.store import RunFolder, write_dataset, write_json
from swjax.experiment.study import parse_study, plain

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect"}

FLOW = {
    "name": "small",
    "question": "Does SGD approach the <flow> & at what order?",
    "kind": "flow",
    "seed": 0,
    "repetitions": 16,
    "horizon": 2.0,
    "step_sizes": [0.2, 0.1, 0.05],
    "source": {"kind": "ball", "dim": 2},
    "target": {"kind": "ball", "dim": 2, "shift": [1.0, 0.0]},
    "generator": {"kind": "translation"},
    "loss": {"batch_size": 8},
    "scheme": {"kind": "sgd"},
    "initial": {"kind": "fixed", "values": [0.0, 0.0]},
    "reference": {"kind": "closed_form"},
    "record": {"num_times": 10},
    "expect": {"order": 0.5, "tolerance": 0.2},
}
EXCESS = {"loss": {"kind": "closed_form"}}
TRAINING = {
    **{k: v for k, v in FLOW.items() if k not in ("scheme", "reference", "expect")},
    "kind": "training",
    "name": "balls",
    "arms": {
        "small": {"kind": "projected_sgd", "radius": 1.0},
        "large": {"kind": "noised_projected_sgd", "radius": 3.0, "noise_std": 0.1},
    },
    "common_random_numbers": True,
    "record": {"num_times": 10, "loss": {"kind": "draws", "num": 8}},
    "expect": {"relative_difference": 0.0, "tolerance": 0.05},
}
CLAIM = {
    "claim": "the distance shrinks like the step size to the power 0.5",
    "estimate": 0.512,
    "low": 0.48,
    "high": 0.544,
    "expected": 0.5,
    "tolerance": 0.2,
    "verdict": "holds",
    "note": "",
}


def make_run(
    path, data, *, cells=None, diverged=0, summary=None, status="done", flow=None, everywhere=False
):
    """A run folder as a sweep leaves it, with made-up results.

    So many runs diverged at the largest step size, or everywhere.
    """
    study = parse_study(data)
    folder = RunFolder(path)
    rng = np.random.default_rng(0)
    with folder.claim(study):
        places = [(arm, size) for arm in study.schemes for size in study.step_sizes]
        times, shape = flow_times(study), (study.repetitions, study.record.num_times + 1)
        for arm, size in places[:cells]:
            noise = rng.lognormal(sigma=0.2, size=shape)
            records = {
                "norm": times * noise,
                "max_norm": np.maximum.accumulate(times * noise, axis=1),
                "sample_loss": np.where(times > 0, 1.0, np.nan) * np.exp(-times) * noise,
                "loss": np.exp(-times) * noise,
            }
            if study.kind == "flow":
                records["distance"] = np.sqrt(size * times) * noise
            records = {name: values.astype(np.float32) for name, values in records.items()}
            diverged_at = np.full(shape[0], -1, np.int32)
            if everywhere or size == max(study.step_sizes):
                diverged_at[:diverged] = 7
                for values in records.values():
                    values[:diverged, 5:] = np.nan
            records["diverged_at"] = diverged_at
            cell = cell_dataset(study, arm, size, records)
            write_dataset(folder.cell_path(arm, size), cell)
        if study.kind == "flow":
            if flow is None:
                flow = np.stack([1 - np.exp(-times), 0 * times], axis=1)
            reference = {
                "flow_path": (("time", "parameter"), flow),
                "flow_loss": ("time", np.exp(-times)),
                "flow_error": ((), 0.0),
            }
            attrs = {"study": json.dumps(plain(study))}
            dataset = xr.Dataset(reference, coords={"time": times}, attrs=attrs)
            write_dataset(folder.reference_path, dataset)
        machine = {"versions": {"swjax": "0.1.0", "jax": "0.10.2"}, "python": "3.11.7"}
        machine |= {"cpu": "Abacus <9>", "devices": ["cpu"], "git": {"commit": "a" * 40}}
        seconds = {f"{arm} {size!r}": 1.25 for arm, size in places[:cells]}
        session = {"started": "2031-02-03T04:05:06+00:00", "machine": machine, "cells": seconds}
        folder.update_manifest(status=status, machine=machine, sessions=[session])
        write_json(folder.path / "summary.json", {"claims": [CLAIM], **(summary or {})})
    return folder.path


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class Page(HTMLParser):
    """What a test asks of a page: balanced tags, ids, what it refers to, its words."""

    def __init__(self, path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.open, self.ids, self.tags, self.links, self.parts = [], [], [], [], []
        self.feed(self.html)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID or f"</{tag}>" in self.html and tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                self.links.append(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.parts.append(data)


@pytest.fixture(scope="module")
def flow_run(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("runs") / "flow", FLOW, diverged=2)
    write_report(path)
    return path


@pytest.fixture(scope="module")
def flow_page(flow_run):
    return Page(flow_run / "report.html")


def test_the_page_refers_to_nothing_outside_of_itself(flow_page):
    assert "http" not in flow_page.html
    assert not {"script", "link", "iframe", "object", "base"} & set(flow_page.tags)
    assert "@import" not in flow_page.html
    assert all(link.startswith(("#", "data:")) for link in flow_page.links)
    targets = re.findall(r"url\(([^)]*)\)", flow_page.html)
    assert all(target.startswith("#") for target in targets)
    referred = {link[1:] for link in [*flow_page.links, *targets] if link.startswith("#")}
    assert referred <= set(flow_page.ids)


def test_every_id_is_there_once(flow_page):
    assert flow_page.tags.count("svg") == 4
    assert len(set(flow_page.ids)) == len(flow_page.ids)


def test_what_the_user_wrote_is_escaped(flow_page):
    assert "<h1>Does SGD approach the &lt;flow&gt; &amp; at what order?</h1>" in flow_page.html
    assert "Abacus &lt;9&gt;" in flow_page.html


def test_the_page_has_all_that_a_reader_needs(flow_page):
    for words in (
        "It holds",
        "✓ holds the distance shrinks like the step size to the power 0.5. Measured 0.512, "
        "95 % interval [0.480, 0.544], inside 0.5 ± 0.2.",
        "Order of convergence.",
        "Distance to the flow over flow time.",
        "Fluctuation around the flow.",
        "Loss over flow time.",
        "Results at every step size",
        "Claims",
        "Runs that went wrong",
        "swjax run study.yaml --output runs/small-again",
        "jax==0.10.2",
        "num_times: 10",
        "started 2031-02-03",
        "aaaaaaaaaaaa",
    ):
        assert words in flow_page.text, words


def test_the_table_holds_the_numbers_of_the_results(flow_run, flow_page):
    folder = RunFolder(flow_run)
    dataset = combine(folder, folder.study()).isel(arm=0)
    sup = dataset["distance"].max("time", skipna=False).values
    rows = re.findall(r"<tr>(.*?)</tr>", flow_page.html, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    table = {row[0]: row for row in cells if len(row) == 7}
    for i, size in enumerate(FLOW["step_sizes"]):
        row, kept = table[f"{size:g}"], sup[i][np.isfinite(sup[i])]
        assert row[1:4] == [f"{round(2 / size)}", "16", "2" if i == 0 else "0"]
        shown = re.findall(r"\d+\.(\d+)", row[4])
        rounding = 0.51 * 10.0 ** -len(shown[0])
        half = 2.14 * kept.std(ddof=1) / np.sqrt(len(kept))  # Student's t, 13 to 15 degrees
        assert rounding < half / 5
        want = kept.mean() + half * np.array([0, -1, 1])
        estimates = [float(x) for x in re.findall(r"[\d.]+", row[4])]
        np.testing.assert_allclose(estimates, want, atol=rounding + 0.02 * half)
        assert row[6] == "1.2"


def test_figures_lie_beside_the_page_and_come_out_the_same_again(flow_run):
    files = {p.name: p.read_bytes() for p in (flow_run / "figures").iterdir()}
    names = ("fluctuation", "loss", "order", "paths")
    assert sorted(files) == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    page = (flow_run / "report.html").read_bytes()
    write_report(flow_run)
    assert {p.name: p.read_bytes() for p in (flow_run / "figures").iterdir()} == files
    assert (flow_run / "report.html").read_bytes() == page


def test_an_unfinished_run_says_so_and_judges_nothing(tmp_path):
    run = make_run(tmp_path / "run", FLOW, cells=2, summary={"claims": []}, status="interrupted")
    page = Page(write_report(run))
    assert "Not finished (interrupted): 2 of 3 cells have run." in page.text
    assert f"swjax resume {run}" in page.text
    assert "No verdict yet" in page.text
    assert "Claims" not in page.text
    assert page.text.count("not run yet") == 1


@pytest.mark.parametrize(("status", "said"), [("running", "stopped"), ("done", "incomplete")])
def test_an_unfinished_run_says_what_became_of_it(tmp_path, status, said):
    run = make_run(tmp_path / "run", FLOW, cells=2, summary={"claims": []}, status=status)
    assert f"Not finished ({said}): 2 of 3 cells" in Page(write_report(run)).text


def test_a_run_of_which_nothing_stayed_finite_has_a_report_too(tmp_path):
    run = make_run(tmp_path / "run", FLOW, diverged=16, everywhere=True)
    page = Page(write_report(run))
    assert page.tags.count("svg") == 4
    assert "could not be drawn" not in page.text
    assert page.text.count(" 16 16 – –") == 3  # repetitions, diverged, nothing measured


def test_a_figure_that_fails_costs_neither_the_others_nor_the_report(tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise ValueError("no <such> axis")

    monkeypatch.setattr(plot, "order_plot", fails)
    run = make_run(tmp_path / "run", FLOW)
    page = Page(write_report(run))
    assert "This figure could not be drawn: no &lt;such&gt; axis" in page.html
    assert {path.stem for path in (run / "figures").iterdir()} == {"paths", "fluctuation", "loss"}
    monkeypatch.setattr(report_flow, "closed_form_claims", fails)
    page = Page(write_report(run))
    assert page.text.count("This figure could not be drawn: no <such> axis") == 2
    assert page.tags.count("svg") == 1  # the distance; what follows the fluctuation is not made


def test_the_fluctuation_is_drawn_as_it_is_judged(flow_run):
    folder = RunFolder(flow_run)
    study, dataset = folder.study(), combine(folder, folder.study())
    rows = closed_form_claims(study, dataset)[1]
    rows = [row for row in rows if row["measurement"] == report_flow.SQUARES]
    ax = draw_figure(study, dataset, "fluctuation")
    assert ax.get_ylabel().endswith(f"at $s$ = {rows[0]['time']:.3g}")
    points, _, (sticks,) = ax.containers[0].lines
    places, heights = points.get_data(orig=False)
    np.testing.assert_allclose(places, [row["step_size"] for row in rows])
    np.testing.assert_allclose(heights, [row["estimate"] for row in rows])
    ends = [segment[:, 1] for segment in sticks.get_segments()]
    np.testing.assert_allclose(ends, [[row["low"], row["high"]] for row in rows])


def test_a_loss_above_its_minimum_is_called_so_wherever_it_is_shown(tmp_path):
    run = make_run(tmp_path / "run", FLOW | {"record": FLOW["record"] | EXCESS})
    page = Page(write_report(run))
    assert "Shown: F(u) - min F, the expected loss above its minimum." in page.text
    assert "mean final F(u) - min F" in page.text
    folder = RunFolder(run)
    dataset = combine(folder, folder.study())
    assert dataset["loss"].attrs["long_name"].startswith("F(u) - min F")
    ax = draw_figure(folder.study(), dataset, "loss")
    assert ax.get_ylabel() == r"loss  $F(u_\alpha(s)) - \min F$"


def test_figures_are_drawn_by_name_as_in_the_report(flow_run):
    folder = RunFolder(flow_run)
    study, dataset = folder.study(), combine(folder, folder.study())
    order = judged_order(study, run_distances(study, dataset).values.sel(arm="sgd"))
    for name in (None, "order", "order_plot"):
        shown = [text.get_text() for text in draw_figure(study, dataset, name).get_legend().texts]
        assert any(text.startswith(f"fitted order {order.slope:.3f}, 95 %") for text in shown)
        assert "order 0.5, for comparison" in shown
    ax = plt.subplots()[1]
    assert draw_figure(study, dataset, "order", ax=ax, expected=None) is ax
    assert not any("comparison" in text.get_text() for text in ax.get_legend().texts)
    assert draw_figure(study, dataset, "norms_in_ball").get_ylim()[0] == 0  # not in the report
    with pytest.raises(ValueError, match="no figure 'nope'; this study has order, paths") as caught:
        draw_figure(study, dataset, "nope")
    assert "loss_against_time" in str(caught.value)
    assert "as_results" not in str(caught.value)
    with pytest.raises(ValueError, match="no arm 'x' in the study; there are sgd"):
        draw_figure(study, dataset, arm="x")


def test_figures_of_one_arm_are_of_the_first_by_default(tmp_path):
    arms = {"still": {"kind": "sgd"}, "noised": {"kind": "noised_sgd", "noise_std": 0.5}}
    data = {k: v for k, v in FLOW.items() if k != "scheme"} | {"arms": arms}
    folder = RunFolder(make_run(tmp_path / "run", data, diverged=3))
    study, dataset = folder.study(), combine(folder, folder.study())
    dataset["distance"][1] = 2 * dataset["distance"][0]
    lines = lambda ax: [line.get_ydata() for line in ax.get_lines() if len(line.get_ydata()) == 10]
    first, second = (
        lines(draw_figure(study, dataset, "paths", arm=arm)) for arm in (None, "noised")
    )
    np.testing.assert_allclose(2 * np.array(first), second)
    np.testing.assert_allclose(first, lines(draw_figure(study, dataset, "paths_against_flow")))
    assert len(first) == 3


def test_nothing_is_drawn_of_a_run_without_results(tmp_path):
    folder = RunFolder(make_run(tmp_path / "run", FLOW, cells=0))
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_figure(folder.study(), combine(folder, folder.study()))


def test_a_run_without_any_result_has_a_report_too(tmp_path):
    run = make_run(tmp_path / "run", FLOW, cells=0, summary={"claims": []}, status="running")
    page = Page(write_report(run))
    assert "0 of 3 cells" in page.text
    assert "svg" not in page.tags


def test_a_training_study_shows_norms_losses_and_differences(tmp_path):
    measured = {"measurement": "time to half", "arm": "large", "step_size": 0.1}
    measured |= {"estimate": 0.123, "low": 0.1, "high": 0.146, "num": 16, "num_left_out": 0}
    assumptions = [{"assumption": "A2", "holds": "yes", "why": "ReLU is Lipschitz"}]
    summary = {"measurements": [measured], "assumptions": assumptions}
    run = make_run(tmp_path / "run", TRAINING, summary=summary)

    class Sweep:
        folder = run

    page = Page(write_report(Sweep()))
    names = {path.stem for path in (run / "figures").iterdir()}
    assert names == {"norms", "loss", "paired"}
    for words in ("Norms against the radius.", "Differences of the final loss.", "mean largest"):
        assert words in page.text
    assert "time to half large 0.1 0.123 [0.100, 0.146] 16" in page.text
    assert "A2 yes ReLU is Lipschitz" in page.text
    assert page.text.count(" 1.2") >= 6


@pytest.mark.slow
def test_digits_made_by_the_end_of_the_flow_are_shown_beside_real_ones(tmp_path):
    study = json.loads(json.dumps(FLOW)) | {
        "source": {"kind": "ball", "dim": 2, "num_atoms": 8},
        "target": {"kind": "digits"},
        "generator": {"kind": "mlp", "features": [2]},
        "initial": {"kind": "network", "shared": True},
        "loss": {"batch_size": 8, "directions": {"kind": "fixed", "num": 4}},
        "reference": {"kind": "population"},
    }
    num_parameters = 2 * 2 + 2 + 2 * 64 + 64
    flow = np.random.default_rng(0).normal(size=(11, num_parameters))
    page = Page(write_report(make_run(tmp_path / "run", study, flow=flow)))
    assert "with the last parameters u of the gradient flow, beside real images." in page.text
    assert "image" in page.tags
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)


def test_diverged_runs_are_counted_with_a_remedy(flow_run):
    folder = RunFolder(flow_run)
    (found,) = diagnoses(combine(folder, folder.study()))
    assert (found.arm, found.step_size, found.signature) == ("sgd", 0.2, "diverged")
    assert (found.num_runs, found.first_step) == (2, 7)
    assert "Halve the step size" in found.remedy


def test_stalled_runs_are_found_from_the_recorded_losses():
    rng = np.random.default_rng(0)
    times = np.linspace(0, 10, 201)
    losses = 1 + 0.1 * rng.normal(size=(1, 2, 3, 201))
    losses[0, 1] *= np.exp(-times)
    losses[..., 0] = np.nan
    losses[0, 0, :, 1::2] = np.nan  # the coarse step size makes a step at every second time
    dims = ("arm", "step_size", "repetition", "time")
    coords = {"arm": ["sgd"], "step_size": [0.1, 0.05], "time": times}
    data = {"sample_loss": (dims, losses), "diverged_at": (dims[:3], np.full((1, 2, 3), -1))}
    (found,) = diagnoses(xr.Dataset(data, coords=coords))
    assert (found.step_size, found.signature, found.num_runs) == (0.1, "stalled", 3)


def claim(verdict, low, high, **more):
    return (
        CLAIM | {"estimate": (low + high) / 2, "low": low, "high": high, "verdict": verdict} | more
    )


def words_of(html):
    return re.sub(r"<[^>]*>", "", html)


def test_claims_with_one_edge_say_at_most():
    share = claim("holds", 0.01, 0.03, expected=0.0, tolerance=0.05)
    wide = claim("undecided", 0.01, 0.07, expected=0.0, tolerance=0.05)
    norm = claim("holds", 2.08, 2.08, expected=10.0, tolerance=4.768e-06)
    summary = {"kind": "flow", "claims": [share, wide, norm, CLAIM]}
    said = [words_of(sentence(each)) for each in claims_of(summary)]
    assert "0.020, 95 % interval [0.010, 0.030]; allowed is at most 0.05." in said[0]
    assert "at most 0.05; about 9 times as many repetitions would decide it" in said[1]
    assert "Measured 2.080000; allowed is at most 10 up to rounding." in said[2]
    assert "inside 0.5 ± 0.2" in said[3]
    (difference,) = claims_of({"kind": "training", "claims": [share]})
    assert "inside 0 ± 0.05" in sentence(difference)


def test_a_verdict_says_why_in_words():
    assert "0.360, 95 % interval [0.330, 0.390], inside 0.5 ± 0.2" in sentence(
        claim("holds", 0.33, 0.39)
    )
    assert "outside 0.5 ± 0.2" in sentence(claim("fails", 0.8, 0.9))
    open_ = sentence(claim("undecided", 0.32, 0.72))
    # Half width 0.20 against room 0.2 - 0.02: (0.20 / 0.18)^2 = 1.23, rounded up.
    assert "across an edge of 0.5 ± 0.2; about 1.3 times as many repetitions" in open_
    beyond = sentence(claim("undecided", 0.6, 0.9))
    assert "the estimate itself lies outside, yet the interval reaches in" in beyond
    (bound,) = claims_of({"claims": [claim("holds", 0.9, 0.9, expected=2.0, tolerance=1e-6)]})
    assert "Measured 0.900000; allowed is at most 2 up to rounding." in sentence(bound)
    nothing = CLAIM | {"estimate": None, "low": None, "high": None, "verdict": "undecided"}
    assert words_of(sentence(nothing | {"note": "No run stayed finite."})).endswith(
        "the power 0.5. No run stayed finite."
    )


def test_an_estimate_on_an_edge_of_its_band_is_said_to_lie_neither_in_nor_out():
    across = claim("undecided", -0.04, 0.04, expected=0.5, tolerance=0.5)
    assert words_of(sentence(across)).endswith(
        "interval [-0.040, 0.040], across an edge of 0 to 1."
    )
    share = {"estimate": 0.05, "expected": 0.0, "tolerance": 0.05}
    (bound,) = claims_of({"claims": [claim("undecided", 0.02, 0.11, **share)]})
    assert words_of(sentence(bound)).endswith("[0.020, 0.110]; allowed is at most 0.05.")


def test_a_claim_that_fails_by_its_note_is_not_held_against_the_band():
    fails = claim("fails", 0.36, 0.60, expected=0.5, tolerance=0.5, note="0.9 is above 0.5.")
    assert words_of(sentence(fails)).endswith("interval [0.36, 0.60]. 0.9 is above 0.5.")


def test_nothing_is_said_of_how_many_runs_would_decide_about_a_share():
    few = exceedance(np.zeros(20), 0.5)  # 72 runs would decide, not 20 (0.168 / 0.05)^2 = 227
    (rare,) = claims_of({"claims": [rare_claim("rare", few, 0.05, "")]})
    assert "allowed is at most 0.05. Clopper" in words_of(sentence(rare))
    shares = [exceedance(np.arange(20) < count, 0.5) for count in (4, 0)]
    falls = sentence(decreasing_claim("falls", [0.1, 0.05], shares, ""))
    assert "across an edge of 0 to 1. The fall" in words_of(falls)


@pytest.mark.parametrize(
    ("verdicts", "word", "kind"),
    [
        (["holds"], "It holds", "holds"),
        (["holds"] * 3, "All 3 claims hold", "holds"),
        (["fails"], "It fails", "fails"),
        (["holds", "fails", "undecided"], "Of 3 claims 1 fails, 1 holds, 1 is undecided", "fails"),
        (["holds", "holds", "undecided"], "Of 3 claims 1 is undecided, 2 hold", "undecided"),
        (["undecided"], "Undecided", "undecided"),
        ([], "No claim was made", ""),
    ],
)
def test_the_worst_verdict_speaks_for_all(verdicts, word, kind):
    claims = [CLAIM | {"verdict": verdict} for verdict in verdicts]
    block = verdict_block({"claims": claims}, is_complete=True)
    assert f'<p class="word">{word}</p>' in block
    assert block.startswith(f'<div class="{f"verdict {kind}".strip()}">')


def test_numbers_show_as_many_digits_as_they_deserve():
    assert interval(-0.00123, 0.00456) == "[-0.0012, 0.0046]"
    assert interval(100.0, 300.0) == "[100, 300]"
    assert with_interval(3.14159, 3.1, 3.18) == "3.142 [3.100, 3.180]"
    assert with_interval(None, None, None) == "–"
    assert number(float("inf")) == "∞"
    assert decimals_of(0.0) == 3
    assert tag("a", "x & y", class_='"') == '<a class="&quot;">x &amp; y</a>'
