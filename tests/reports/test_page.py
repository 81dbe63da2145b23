from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from report_tables import prediction_rows
from study_folder import write_study
from vaclip import keys
from vaclip.evaluation.plan import Plan, plan_content
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.files import write_json
from vaclip.reports.page import write_report
from vaclip.reports.typeset import MINUS

FAST = {"n_resamples": 20, "n_permutations": 49}
EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "rect", "input"}


class Page(HTMLParser):
    """Collects elements and checks that each is closed."""

    def __init__(self, path: Path):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.html = path.read_text("utf-8")
        self.feed(self.html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, *tags):
        return [attrs for tag, attrs in self.found if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(
        tmp_path_factory.mktemp("study"),
        classes=("normal", EVIL, "knee"),
        clip_name="{patient}<script>{clip}",
        reason=f"{EVIL} Jane",
        skip=(("B0", 0, 0),),
    )


@pytest.fixture(scope="module")
def path(folder):
    return write_report(folder, **FAST)


@pytest.fixture(scope="module")
def page(path):
    return Page(path)


@pytest.fixture(scope="module")
def named(folder):
    """The page with real ids."""
    return Page(write_report(folder, folder / "named", real_ids=True, **FAST))


def test_all_files_are_there(folder, path):
    assert path == folder / "report" / "report.html"
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"report.html", "tables.md", "tables.tex", "metrics.csv", "checklist.md",
                     "figures"}  # fmt: skip


def test_two_calls_give_the_same_bytes(folder, path, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.rmtree(copy / "report")
    write_report(copy, tmp_path / "again", **FAST)
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        other = tmp_path / "again" / file.relative_to(path.parent)
        assert file.read_bytes() == other.read_bytes(), file.name


def test_the_page_loads_nothing_and_runs_nothing(page):
    links = [value for attrs in page.all("a", "img", "link", "script", "iframe")
             for name, value in attrs.items() if name in ("href", "src")]  # fmt: skip
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not page.all("iframe", "object")
    assert page.all("script") == [{}]
    assert not [a for _, a in page.found if "style" in a or any(n.startswith("on") for n in a)]
    assert set(re.findall(r"url\((.)", page.html)) == {"#"}
    assert "@import" not in page.html


def test_the_policy_allows_our_style_alone(page):
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    css = re.search(r"<style>(.*?)</style>", page.html, re.S)
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    script = re.search(r"<script>(.*?)</script>", page.html, re.S)
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_names_of_other_people_are_text(page, named, path):
    assert EVIL in page.text
    assert "anna_00<script>lost" in named.text
    assert named.all("script") == [{}]
    assert "<script>" not in (path.parent / "tables.md").read_text("utf-8")


def test_ids_and_reasons_are_shown_on_request_alone(folder, page, named, path):
    assert "anna" not in page.html
    assert "Jane" not in " ".join(re.findall(r"Fold/seed.*?</table>", page.html, re.S))
    assert "see jobs.csv" in page.text
    assert "anna_0" in named.text
    assert "Jane" in named.text
    for out in (path.parent, folder / "named"):
        for name in ("tables.md", "tables.tex", "metrics.csv", "checklist.md"):
            text = (out / name).read_text("utf-8")
            assert "anna" not in text
            assert "Jane" not in text


def test_contents_lead_to_every_section_in_order(page):
    contents = re.search(r"<nav.*?</ol>", page.html, re.S)
    targets = re.findall(r'href="#([^"]*)"', contents[0])
    assert targets == [attrs["id"] for attrs in page.all("section")]
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_what_assistive_technology_needs_is_there(page):
    assert all(image["alt"] for image in page.all("img"))
    assert all("scope" in head for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert all("tabindex" in a for a in page.all("div") if "scroll" in a.get("class", ""))
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    named = [attrs["aria-labelledby"] for _, attrs in page.found if "aria-labelledby" in attrs]
    assert set(named) <= {attrs.get("id") for _, attrs in page.found}


def test_no_number_is_nan(page):
    assert not re.search(r"\bnan\b", page.text, re.I)


def test_the_verdict_stands_before_the_numbers(page):
    assert page.text.index("Verdict") < page.text.index("Contrasts")
    for asked in ("At the bedside", "With a clinician's map at hand", "Whose knowledge is it"):
        assert page.text.index(asked) < page.text.index("Contrasts")


def test_the_plan_stands_with_the_verdict_and_its_margin_is_the_verdicts(folder, tmp_path):
    study = shutil.copytree(folder, tmp_path / "study")
    about = json.loads((study / keys.ARMS_FILE).read_text("utf-8"))
    write_json(study / keys.ARMS_FILE, about | {"roles": about["roles"] | {"margin": 0.99}})
    roles = Roles.from_json(about["roles"] | {"margin": 0.99})
    content = plan_content(roles, ["B0", "B3"], [0, 1], [0, 1, 2])
    plan = Plan(content, "2026-11-27T17:50:00+00:00", 0)
    write_json(study / keys.STUDY_PLAN_FILE, {"plans": [plan.to_json()]})
    text = Page(write_report(study, tmp_path / "report", **FAST)).text
    said = f"As planned (plan {plan.digest[:8]} of 2026-11-27, before the first result)."
    assert 0 < text.index("Whose knowledge is it") < text.index(said) < text.index("Contents")
    assert "The two differ by less than 0.99" in text
    other = Page(write_report(study, tmp_path / "other", baseline="B3", method="B0", **FAST))
    assert "This report was asked for otherwise than planned: margin 0.99 -> 0.05" in other.text


def test_what_the_annotators_knew_is_the_first_line_of_the_verdict(folder, page, tmp_path):
    said = "Nobody recorded whether the annotators were blinded to the diagnosis"
    assert f"Verdict {said}" in page.text
    study = shutil.copytree(folder, tmp_path / "study")
    card = json.loads((study / keys.DATA_CARD_FILE).read_text("utf-8"))
    blinding = {"blinded": False, "saw": ["<b>history</b>"], "when": "unknown"}
    write_json(study / keys.DATA_CARD_FILE, card | {"blinding": blinding})
    text = Page(write_report(study, tmp_path / "report", **FAST)).text
    assert "Verdict The annotators knew the diagnosis: their maps may hold it." in text
    assert "They saw <b>history</b>." in text
    assert "Annotators blinded to the diagnosis no; they saw <b>history</b>" in text


def test_a_folder_without_a_plan_says_so(page):
    assert "No plan was recorded." in page.text


def test_a_primary_contrast_has_one_p_on_the_page(folder, tmp_path):
    """Its corrected one, in the verdict and in the table of primary contrasts."""
    write_report(folder, tmp_path / "report", **FAST)
    tables = (tmp_path / "report/tables.md").read_text()
    assert tables.count(f"| B3 {MINUS} B0 |") == 1


def test_a_training_run_has_a_report_that_invents_nothing(tmp_path):
    prediction_rows([0, 1, 2] * 2, arms=["mine"], seeds=1).to_parquet(
        tmp_path / keys.PREDICTIONS_FILE
    )
    page = Page(write_report(tmp_path, **FAST))
    for what in ("Control arms", "Retrieval", "Case gallery", "Data card", "What was planned",
                 "Agreement of annotators", "Settings", "Versions"):  # fmt: skip
        assert f"{what}: not recorded." in page.text
    assert "No verdict" in page.text
    assert "one seed only" in page.text


def test_a_study_with_holes_says_so_first(page, tmp_path):
    assert page.text.index("planned jobs are done. What is missing") < page.text.index("Verdict ")
    whole = Page(write_report(write_study(tmp_path / "study"), **FAST))
    assert "What is missing" not in whole.text


def test_no_excluded_clip_and_no_hole_are_said(tmp_path):
    folder = write_study(tmp_path / "study", arms=("B0", "B3"), variants=False)
    card = (folder / keys.DATA_CARD_FILE).read_text("utf-8")
    bare = re.sub(r'"excluded": \[.*?\]', '"excluded": []', card, flags=re.S)
    (folder / keys.DATA_CARD_FILE).write_text(bare, "utf-8")
    page = Page(write_report(folder, tmp_path / "out", **FAST))
    assert "No clip was excluded." in page.text
    assert "None. 12 of 12 planned jobs are done." in page.text


def test_the_page_stays_small(path):
    assert path.stat().st_size < 3_000_000


def test_without_a_data_card_nothing_is_said_of_patients_who_were_not_tested(tmp_path):
    """A table of one fold knows its validation patients, too, and not those of training."""
    table = prediction_rows([0, 1, 2] * 3, arms=["B3"], seeds=1, folds=3)
    table[table.fold == 0].to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    page = Page(write_report(tmp_path, **FAST))
    assert "3 patients, 3 classes, 1 arm, 1 seed, 1 fold." in page.text


def test_what_a_case_is_is_said_where_it_is_no_patient(tmp_path):
    table = prediction_rows([0, 1, 2, 0, 1, 2], seeds=1)
    first = table.patient_id == "p000"
    table.loc[first & table.clip_id.str.endswith("c1"), "label"] = "knee"
    found = Predictions.of(table)
    page = Page(write_report(found, tmp_path / "report", **FAST))
    assert found.case_note in page.text
    assert "1 of 6 patients has clips of several classes" in page.text


def test_scores_by_site_are_shown_where_there_are_sites(tmp_path, page):
    table = prediction_rows([0, 1, 2] * 4, seeds=1)
    number = table.patient_id.str[1:].astype(int)
    found = Predictions.of(
        table.assign(site=[("north", "south", "west")[n // 3 % 3] for n in number])
    )
    own = Page(write_report(found, tmp_path / "report", baseline="B0", method="B3", **FAST))
    assert "north (6 patients, few)" in own.text
    assert "With fewer than 8 sites it is not to be relied on." in own.text
    assert {"table-sites", "table-site_contrasts"} <= {tag.get("id") for tag in own.all("caption")}
    assert "By site" in (tmp_path / "report" / "tables.md").read_text("utf-8")
    assert "table-sites" not in {tag.get("id") for tag in page.all("caption")}
