"""Studies: every one has a sweep that is planned, a page, and that page with answers among the documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from isoflop.cli.studies.page import Study, studies
from isoflop.workers.sweep import load_sweeps

WRITTEN = Path(__file__).resolve().parents[2] / "docs" / "studies"
STUDIES = studies()
BLOCK = re.compile(r"^```sql\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^!\[.+\]\((.+\.svg)\)$", re.MULTILINE)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=STUDIES.values(), ids=STUDIES)
def study(request: pytest.FixtureRequest) -> Study:
    found: Study = request.param
    return found


def test_a_study_trains_asks_and_draws(study: Study) -> None:
    assert all(len(sweep.expand()) for sweep in load_sweeps(str(study.sweep)))
    blocks = list(study.blocks())
    kinds = [block.kind for block in blocks]
    assert kinds[0] == "prose" and kinds.count("sql") >= 2 and kinds.count("plot") >= 1, kinds
    assert all(block.title for block in blocks if block.kind == "plot")
    assert "**What it is good for:**" in study.text and "arxiv.org/abs/" in study.text


def test_a_study_stands_among_the_documents_with_its_answers(study: Study) -> None:
    written = (WRITTEN / f"{study.name}.md").read_text(encoding="utf-8")
    asked = [block.text for block in study.blocks() if block.kind != "prose"]
    assert BLOCK.findall(written) == asked, f"isoflop study {study.name} --out docs/studies"
    assert study.sweep.read_text(encoding="utf-8").strip() in written
    pictures = PICTURE.findall(written)
    assert len(pictures) == sum(block.kind == "plot" for block in study.blocks())
    assert all((WRITTEN / name).read_text(encoding="utf-8").lstrip().startswith("<?xml") for name in pictures)


def test_studies_are_listed_and_a_wrong_name_has_a_nearest_one(command_line: Run) -> None:
    code, out, _ = command_line("study", "--json")
    rows = json.loads(out)
    assert code == 0 and [row["study"] for row in rows] == list(STUDIES)
    assert all(row["runs"] >= 4 and row["what"] for row in rows)
    code, out, err = command_line("study", "phasis")
    assert code == 2 and "there is no study 'phasis'" in err and "did you mean 'phases'" in err


@pytest.mark.slow
@pytest.mark.cluster
def test_a_study_is_run_and_written(command_line: Run, tmp_path: Path) -> None:
    lake, pages = str(tmp_path / "lake.duckdb"), tmp_path / "pages"
    code, _, err = command_line("study", "kernel_features", "--lake", lake, "--out", str(pages))
    assert code == 0, err
    text = (pages / "kernel_features.md").read_text(encoding="utf-8")
    assert BLOCK.findall(text) == [block.text for block in STUDIES["kernel_features"].blocks() if block.kind != "prose"]
    optimal = re.findall(
        r"^\| \d \| (?:cosine|positive) \| optimal \| (\d\.\d+) \| [\d.]+ \| [\d.]+ \|$", text, re.MULTILINE
    )
    assert len(optimal) == 4 and all(0.8 < float(ratio) < 1.25 for ratio in optimal), optimal
    assert (pages / PICTURE.findall(text)[0]).exists()
    code, out, err = command_line("study", "kernel_features", "--lake", lake)  # nothing is trained again
    assert code == 0 and "All random-feature representations" in out and "0 s" in err, err
