"""Do maps that a simulated reader leaves with `vaclip annotate` guide as the cohort's own do?

    python benchmarks/annotate.py FOLDER [--patients 60] [--browser 20] [--seeds 0 1 2] [--quick]

Writes the `locates` cohort, whose sign has a known place, and lets a reader mark all of its clips
on the page with bubbles: the first ``--browser`` clips in Chromium by mouse and keyboard, the
others over HTTP with what the page would send. The reader looks at the sign on four pictures of a
clip, 3 % of the picture beside it (one standard deviation, each way), and with every tenth look
somewhere else; says the diagnosis that the ring shows, but for every fifth clip. Then the same
study is run with the cohort's own raters and with the reader's maps. Prints how far the maps agree,
and each arm's balanced accuracy per patient with its 95 % interval of the training procedure.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from vaclip.annotate.server import annotate_app
from vaclip.annotate.session import keep_session, open_session
from vaclip.audit.agreement import annotator_agreement
from vaclip.cohort.marks import JOINTS
from vaclip.cohort.synthetic_gait import GaitCohort, patient_labels, sign_place
from vaclip.cohort.write_gait import clip_id, write_cohort
from vaclip.commands.annotate import page_texts
from vaclip.data.cache import SampleSettings, clip_cache
from vaclip.evaluation.evaluate import evaluate
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import COCO_17
from vaclip.reports.gather import read_folder
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study

READER = "reader"
ARMS = ("B0", "B3", "K_shuffled", "K_map_only", "P2")
EVERY_S, LOOKS = 0.5, 4
NOISE, LAPSES, WRONG = 0.03, 0.1, 0.2
Look = tuple[int, float, float]  # which step, x and y in shares of the picture


def looks_at(cohort: GaitCohort, clip: Clip, place: str) -> list[Look]:
    """Returns where the reader looks in a clip, in the order of time."""
    random = np.random.default_rng([cohort.seed, zlib.crc32(clip.clip_id.encode())])
    assert clip.keypoints is not None
    joints = load_keypoints(clip.keypoints)[..., :2] / cohort.size
    sign = joints[:, [COCO_17.index(name) for name in JOINTS[place]]].mean(axis=1)
    steps = sorted(random.choice(int(cohort.seconds / EVERY_S) - 1, LOOKS, replace=False))
    found = []
    for step in steps:
        where = sign[int(step * EVERY_S * cohort.fps)] + random.normal(0, NOISE, 2)
        if random.random() < LAPSES:
            where = random.random(2)
        x, y = np.clip(where, 0.02, 0.98)
        found.append((int(step), float(x), float(y)))
    return found


def said_of(cohort: GaitCohort, clip: Clip) -> tuple[str, int]:
    """Returns the reader's diagnosis, and how sure they are."""
    random = np.random.default_rng([cohort.seed, 1, zlib.crc32(clip.clip_id.encode())])
    if random.random() < WRONG:
        return str(random.choice([name for name in cohort.classes if name != clip.label])), 2
    return clip.label, 4


def state_of(looks: list[Look], said: tuple[str, int]) -> dict[str, Any]:
    """Returns what the page sends for these looks."""
    marks = [
        {
            "press": n,
            "x": x,
            "y": y,
            "from": step * EVERY_S,
            "to": (step + 1) * EVERY_S,
            "held": 0.3,
        }
        for n, (step, x, y) in enumerate(looks, start=1)
    ]
    return {"marks": marks, "seconds": 8.0, "diagnosis": said[0], "confidence": said[1]}


def read_in_browser(address: str, plans: list[tuple[list[Look], tuple[str, int]]]) -> None:
    """Marks the next clips by mouse and keyboard."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    from chromium import chromium

    ready = "const f = document.getElementById('film');return f && f.readyState >= 2 && !f.seeking"
    with chromium() as driver:
        wait = WebDriverWait(driver, 60)

        def find(selector: str) -> Any:
            return driver.find_element("css selector", selector)

        driver.set_window_size(1024, 768)
        driver.get(address)
        find("[value=no]").click()
        find("#begin button").click()
        for looks, (diagnosis, confidence) in plans:
            wait.until(lambda _: driver.execute_script(ready))
            stage, now = find("#stage"), 0
            box = stage.rect
            for step, x, y in looks:
                ActionChains(driver).send_keys("." * (step - now)).perform()
                now = step
                wait.until(lambda _: driver.execute_script(ready))
                at = round((x - 0.5) * box["width"]), round((y - 0.5) * box["height"])
                press = ActionChains(driver, duration=20)
                press.move_to_element_with_offset(stage, *at).click_and_hold().pause(0.05)
                press.release().perform()
            find("#looked").click()
            find(f"[name=diagnosis][value={diagnosis}]").click()
            find(f"[name=confidence][value='{confidence}']").click()
            before = driver.current_url
            find("#save").click()
            wait.until(lambda _, before=before: driver.current_url != before)


def annotate(root: Path, cohort: GaitCohort, in_browser: int) -> None:
    """Lets the reader mark every clip of a cohort."""
    study = load_study(root, quiet=True)
    wanted = {"uncover": "steps", "every_s": EVERY_S}
    session = open_session(study, READER, wanted)
    keep_session(root, session)
    clips = {clip.clip_id: clip for clip in study.clips}
    places = {}
    for patient, label in enumerate(patient_labels(cohort)):
        for number in range(cohort.clips_per_patient):
            places[clip_id(patient, number)] = sign_place(cohort, patient, label)
    plans = [
        (
            looks_at(cohort, clips[one.clip_id], places[one.clip_id]),
            said_of(cohort, clips[one.clip_id]),
        )
        for one in session.showings
    ]
    token = secrets.token_urlsafe(24)
    app = annotate_app(study, session, token, clip_cache(None), page_texts())
    if in_browser:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from threaded import in_thread

        with in_thread(app) as port:
            read_in_browser(f"http://127.0.0.1:{port}/?token={token}", plans[:in_browser])
    client = TestClient(app, base_url="http://127.0.0.1", cookies={"vaclip_annotate": token})
    for number, plan in enumerate(plans[in_browser:], start=in_browser + 1):
        sent = {"token": token, "state": state_of(*plan)}
        answer = client.post(f"/save/{number}", content=json.dumps(sent))
        answer.raise_for_status()


def score(folder: Path, root: Path, who: str, words: list[str]) -> dict[str, str]:
    """Runs the study with some annotators' maps; returns each arm's score."""
    command = [sys.executable, "-m", "vaclip", "study", "study=quick", "backbone=lite0"]
    command += ["data=folder", f"data.root={root}", f"data.annotators={who}", f"run_dir={folder}"]
    command += [f"study.arms=[{','.join(ARMS)}]", *words]
    print("$", " ".join(["vaclip", *command[3:]]), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    source = read_folder(folder)
    found = evaluate(source.everything, roles=source.roles, arms=source.scored)
    scores = {}
    for arm in ARMS:
        one = found.scores["patient"][arm].scores["acc_macro"]
        ends = f"{one.interval.low:.2f} to {one.interval.high:.2f}"
        scores[arm] = f"{one.mean:.3f} ({ends}; ± {one.sd:.3f})"
    return scores


def agreement(study: Study) -> None:
    """Prints how far the reader's maps agree with those of the cohort's raters."""
    settings = SampleSettings(8.0, (96, 96), study.annotators)
    print("\n| annotators | clips | CC | by chance |\n|---|---|---|---|")
    for pair in annotator_agreement(study, settings, clip_cache(None)):
        cc = f"{np.nanmean(pair.cc):.3f} ± {np.nanstd(pair.cc, ddof=1):.3f}"
        print(f"| {pair.first}, {pair.second} | {len(pair.cc)} | {cc} | {pair.cc_chance:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--browser", type=int, default=20, help="clips that are marked in Chromium")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="two steps of training: does it run?")
    options = parser.parse_args()
    cohort, root = GaitCohort(patients=options.patients), options.folder.resolve() / "study"
    if not (root / "study.yaml").exists():
        write_cohort(cohort, root)
    if not (root / "annotation_log.csv").exists():
        annotate(root, cohort, options.browser)
    agreement(load_study(root, quiet=True))
    words = [f"study.seeds=[{','.join(map(str, options.seeds))}]"]
    words = ["study=smoke", *words] if options.quick else words
    whose = {"the cohort's raters": "[rater1,rater2]", "the simulated reader": f"[{READER}]"}
    scores = {
        name: score(options.folder / f"maps-{n}", root, who, words)
        for n, (name, who) in enumerate(whose.items())
    }
    print(f"\n| arm | {' | '.join(scores)} |\n|---|---|---|")
    for arm in ARMS:
        print(f"| {arm} | {' | '.join(own[arm] for own in scores.values())} |")


if __name__ == "__main__":
    main()
