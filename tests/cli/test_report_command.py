"""`isoflop report`: one file, every number of which is in an answer, and nothing that asks the network."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import isoflop
from isoflop.cli.cells import table_cells
from isoflop.cli.plot.figure import Axis, Band, Figure, Floor, Line, PointMarks, floats
from isoflop.cli.report.advice import ADVICE, STATUS
from isoflop.cli.report.asking import parts_of
from isoflop.cli.report.command import chosen_form, replace_file
from isoflop.cli.report.content import Asked, Code, Drawn, Health, Missing, Quoted, Report, Section, Sentence
from isoflop.cli.report.drawing import drawing
from isoflop.cli.report.gather import gather
from isoflop.cli.report.html import html_of
from isoflop.cli.report.markdown import markdown_of
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.answers import values_of
from isoflop.lakehouse.errors import EmptySelection, StoreError, UsageError
from tests.lakes import open_here

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
EVIL = '<script>alert("run")</script>'
VOID = {"meta", "input", "br", "img", "link", "hr"}
SIZES = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@pytest.fixture(scope="module")
def lake_file(laws_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Planted runs and a law of each kind: two inputs, one, given, of optima, an average; forecasts, evil names."""
    path = Path(shutil.copy(laws_file, tmp_path_factory.mktemp("report") / "mine.duckdb"))
    with isoflop.open(path) as lake, lake.hold():
        for width in (16, 512):
            name = EVIL if width == 16 else "net"
            with lake.run("my <b>net</b>", {"width": width}, name=name, params=1e4 * width, tokens=1e6) as run:
                for step in range(1, 31):
                    run.log(step=step, loss=1.7 + 3 * step**-0.4 + 10 / width)
        seen = "FROM runs WHERE family = 'planted' AND params < 1.2e10"
        lake.sql("CREATE LAW paper AS published:besiroglu_2024")
        lake.sql(
            "CREATE LAW numbers AS chinchilla(params, tokens) "
            "WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28)"
        )
        lake.sql(f"CREATE LAW best AS OPTIMUM OF params BY flops {seen} WITH (resamples = 30, tolerance = 0.01)")
        lake.sql(f"CREATE LAW mixed AS FIT loss ~ auto(params, tokens) {seen} WITH (resamples = 30)")
        lake.sql(f'CREATE LAW "a ""<i>" AS FIT loss ~ power(flops) {seen} WITH (resamples = 30)')
        lake.sql("FORECAST chin TO params = [1e10, 1e12], tokens = 1e11")
        with lake.run("planted", {}, name="late", params=1e10, tokens=1e11) as run:
            run.log(step=1, loss=9.0)
    return path


@pytest.fixture(scope="module")
def lake(lake_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A copy that is open: the file itself is closed, so that tests may copy it."""
    with open_here(shutil.copy(lake_file, tmp_path_factory.mktemp("open") / "mine.duckdb")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(lake: Lakehouse) -> Report:
    return gather(lake, [], num_designed=2)


@pytest.fixture(scope="module")
def text(page: Report) -> str:
    return html_of(page)


@dataclass
class Element:
    """A tag with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, kind: str | None = None) -> list[Element]:
        """Return the elements below with a tag, and a class where one is given."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                is_one = child.tag == tag and (kind is None or kind in child.attributes.get("class", "").split())
                found += ([child] if is_one else []) + child.all(tag, kind)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Tree(HTMLParser):
    """Reads a page strictly: every tag is closed by its own."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(page)
        self.close()
        assert [element.tag for element in self.open] == [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute of {tag} is there twice"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def number(cell: str) -> float:
    """Return a number as tables write it."""
    cell = cell.replace(",", "")
    return float(cell[:-1]) * SIZES[cell[-1]] if cell[-1] in SIZES else float(cell)


def test_every_cell_is_in_the_answer_to_the_statement_beside_it(lake: Lakehouse, text: str) -> None:
    blocks = Tree(text).root.all("div", "answer")
    assert len(blocks) > 30
    num_numbers = 0
    for block in blocks:
        statement = block.all("code")[-1].text
        assert statement.endswith(";")
        answer = lake.sql(statement)
        columns = [values_of(column) for column in answer.arrow().columns]
        on_side = block.all("tbody", "side")
        cells = block.all("td")
        values = (
            [column[0] for column in columns]
            if on_side
            else [column[k] for k in range(len(answer)) for column in columns]
        )
        assert len(cells) == len(values)
        for cell, value in zip(cells, values, strict=True):
            if isinstance(value, bool | str) or not isinstance(value, int | float) or on_side:
                continue
            exact = float(cell.attributes.get("data-value", cell.text.replace(",", "")))
            assert exact == value or (math.isnan(exact) and math.isnan(value))
            assert number(cell.text) == pytest.approx(value, rel=6e-4)
            num_numbers += 1
        if on_side:
            assert [cell.text for cell in cells] == table_cells(answer)[1][0]
        words = [cell.text for cell, value in zip(cells, values, strict=True) if isinstance(value, str)]
        assert words == [value for value in values if isinstance(value, str)]
        assert {note.text for note in block.all("li")} <= set(answer.notes)
    assert num_numbers > 300


def test_every_number_in_words_quotes_a_cell(text: str) -> None:
    root = Tree(text).root
    by_anchor = {block.attributes["id"]: block for block in root.all("div", "answer")}
    quoted = root.all("data")
    assert len(quoted) > 15
    for each in quoted:
        block = by_anchor[each.attributes["data-answer"]]
        heads = [head.children[0].strip() for head in block.all("th")]
        row = block.all("tr")[1 + int(each.attributes["data-row"])]
        cell = row.all("td")[heads.index(each.attributes["data-column"])]
        assert cell.text == each.text
        assert float(each.attributes["value"]) == float(cell.attributes.get("data-value", cell.text.replace(",", "")))
    for sentence in root.all("p", "lead"):
        loose = "".join(child for child in sentence.children if isinstance(child, str))
        assert not re.search(r"\d", loose)


def test_pictures_show_what_their_statements_answer(lake: Lakehouse, text: str) -> None:
    figures = Tree(text).root.all("figure")
    assert len(figures) > 15
    num_dots = 0
    for figure in figures:
        assert figure.all("svg") and figure.all("path", "line") + figure.all("path", "dots")
        data = json.loads(figure.all("script")[0].text)
        assert data["series"] or not figure.all("code")
        if not figure.all("code"):
            continue
        found: set[float] = set()
        for statement in figure.all("code")[0].text.split(";\n"):
            answer = lake.sql(statement.rstrip(";"))
            for column in answer.arrow().columns:
                found |= {float(f"{v:.7g}") for v in values_of(column) if isinstance(v, float | int) and v == v}
        for series in data["series"]:
            shown = {y for y in series["y"] if y is not None}
            assert shown <= found, series["label"]
            num_dots += len(shown) * series["dots"]
    assert num_dots > 100


def test_nothing_is_asked_of_a_network_and_only_the_script_of_the_page_may_run(text: str) -> None:
    root = Tree(text).root
    assert not re.search(r"""(https?:)?//[\w.]+|@import|url\(""", re.sub(r"<pre.*?</pre>", "", text, flags=re.S))
    for tag in ("link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"):
        assert not root.all(tag)
    for element in root.all("a"):
        assert element.attributes["href"].startswith("#")
    policy = next(meta for meta in root.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy.attributes["content"] and "sha256-" in policy.attributes["content"]
    scripts = [script for script in root.all("script") if script.attributes.get("type") != "application/json"]
    assert len(scripts) == 1 and "src" not in scripts[0].attributes
    for element in walk(root):
        assert not [name for name in element.attributes if name.startswith("on") or name == "src"]


def walk(element: Element) -> Iterator[Element]:
    for child in element.children:
        if isinstance(child, Element):
            yield child
            yield from walk(child)


def test_names_of_strangers_are_words(page: Report, text: str) -> None:
    assert EVIL not in text and "<i>" not in text and "<b>net" not in text
    assert escape(EVIL) in text
    labels = [label.text for label in Tree(text).root.all("span", "name")]
    assert EVIL in labels
    assert EVIL in text.replace(r"\u003c", "<").replace(r"\u003e", ">").replace(r"\"", '"')  # and under the pointer
    markdown = markdown_of(page)
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.S | re.M)
    assert not re.search(r"(?<!\\)<", outside)


def test_every_anchor_is_there_once_and_every_link_leads_somewhere(text: str) -> None:
    root = Tree(text).root
    anchors = [element.attributes["id"] for element in walk(root) if "id" in element.attributes]
    assert len(set(anchors)) == len(anchors)
    for link in root.all("a"):
        assert link.attributes["href"][1:] in anchors
    for element in walk(root):
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in anchors


def test_every_statement_can_be_copied_and_stands_in_the_list_of_all(page: Report, text: str) -> None:
    root = Tree(text).root
    for code in root.all("details"):
        assert code.all("button", "copy") and code.all("pre")
    every = root.all("code")[-1].text
    assert every == "\n\n".join(f"{statement};" for statement in page.statements())
    for part in page.parts():
        if isinstance(part, Asked):
            assert f"{part.statement};" in every
        if isinstance(part, Drawn):
            assert part.figure.statement.replace(";\n", ";\n\n") in every or len(part.figure.statements) != 1


def test_each_kind_of_law_has_its_parts_or_says_why_not(page: Report) -> None:
    def parts(law: str) -> dict[str, tuple[object, ...]]:
        first = next(k for k, section in enumerate(page.sections) if section.title == f"Law {law}")
        found: dict[str, tuple[object, ...]] = {"": page.sections[first].parts}
        for section in page.sections[first + 1 :]:
            if not section.is_inner:
                break
            found[section.title] = section.parts
        return found

    def missing(law: str) -> set[str]:
        return {title for title, found in parts(law).items() if any(isinstance(part, Missing) for part in found)}

    assert missing("chin") == set()
    assert missing("size") == missing('a "<i>') == {"Compute frontier"}
    assert missing("numbers") == missing("paper") == {"Forward check", "Residuals", "Next runs"}
    assert missing("best") == {"Compute frontier", "Next runs"}
    assert "Compute frontier" not in missing("mixed")
    for law in ("chin", "size", "numbers", "paper", "best", "mixed"):
        assert any(isinstance(part, Drawn) for part in parts(law)[""])
        assert any(isinstance(part, Health) for part in parts(law)["How far to trust the fit"])
        assert any(isinstance(part, Asked) for part in parts(law)["Beyond the runs"])
        assert any(isinstance(part, Code) for part in parts(law)[""])
    designed = next(part for part in parts("chin")["Next runs"] if isinstance(part, Asked))
    assert len(designed.answer) == 2


def test_a_law_whose_rows_have_changed_says_what_to_do(laws_lake: Lakehouse) -> None:
    laws_lake.sql("UPDATE store.attempts SET loss = loss + 1")
    page = gather(laws_lake, ["size"], num_designed=1)
    said = [part.parts[0] for part in page.parts() if isinstance(part, Sentence)]
    assert "The rows have changed since; REFIT LAW size fits them as they are now." in said


def test_a_fit_that_is_not_to_be_relied_on_says_so_in_the_first_lines(laws_lake: Lakehouse) -> None:
    laws_lake.sql(
        "CREATE LAW flat AS FIT loss ~ chinchilla(params, tokens) FROM (SELECT loss, params, 1e9 AS tokens FROM runs) "
        "WITH (resamples = 20)"
    )
    page = gather(laws_lake, ["flat"], num_designed=1)
    status = laws_lake.query("SELECT status FROM laws WHERE name = 'flat'").to_pylist()[0]["status"]
    (headline,) = (part for part in page.sections[0].parts if isinstance(part, Sentence))
    assert status != "converged" and headline.parts[-1] == f"; the fit is {status.replace('_', ' ')}"
    (health,) = (part for part in page.parts() if isinstance(part, Health))
    assert any(note.startswith("one_value:") for note in health.notes) and f"{ADVICE['one_value']}." in html_of(page)
    designed = next(section for section in page.sections if section.title == "Next runs").parts[0]
    assert not isinstance(designed, Asked) or "tokens = 1e+09" in designed.statement


def test_forecasts_have_hits_and_misses(page: Report) -> None:
    section = next(section for section in page.sections if section.anchor == "forecasts")
    scores = next(part for part in section.parts if isinstance(part, Asked)).answer.records()
    assert [(row["law"], row["made"], row["answered"], row["hits"], row["misses"]) for row in scores] == [
        ("chin", 2, 1, 0, 1)
    ]


def test_every_note_says_what_to_do_as_the_page_on_notes_has_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", (ROOT / "docs" / "notes.md").read_text("utf-8"), re.M)
    assert {kind: re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", todo) for kind, todo in rows} == ADVICE


def test_every_status_of_a_fit_is_said_in_words() -> None:
    page = (ROOT / "docs" / "language.md").read_text("utf-8")
    (listed,) = set(re.findall(r"^\| `status` \| (`converged`, .*?) \|$", page, re.M))
    assert {*re.findall(r"`(\w+)`", listed), "given"} == set(STATUS)


def test_health_says_the_status_and_what_to_do() -> None:
    health = Health("at_bound", ("dead_term: A is zero in the best fit", "sharing: <b> in common"))
    root = Tree(html_of(Report("t", (), (Section("s", "S", (health,)),)))).root
    assert root.all("p", "unsound")[0].text.startswith("at bound")
    assert [each.text for each in root.all("ul", "kinds")[0].all("li")] == [
        f"dead_term A is zero in the best fitWhat to do: {ADVICE['dead_term']}.",
        f"sharing <b> in commonWhat to do: {ADVICE['sharing']}.".replace("`", ""),
    ]


def test_drawings_keep_gaps_rings_floors_and_zero() -> None:
    figure = Figure(
        "t", Axis("x <i>"), Axis("y", "u", is_log=False),
        (
            Band(floats([1, 10, 100]), floats([0, math.nan, 1]), floats([1, 2, 3]), "b"),
            Line(floats([1, 10, 50, 100]), floats([1, math.nan, 2, 3]), "</script><l>"),
            PointMarks(floats([1, 100]), floats([1, 3]), "new", is_hollow=True),
            PointMarks(floats([1, 10, 100]), floats([-1, 0, 2]), "by size", tone=floats([0, 0.5, 1])),
            Floor(0.5, "E"),
        ),
        data_end=20.0,
    )  # fmt: skip
    root = Tree(drawing(figure, "p")).root
    solid, beyond = root.all("path", "line")
    assert solid.attributes["d"].count("M") == 1 and "beyond" in beyond.attributes["class"]
    assert len(root.all("path", "band")) == 2
    assert len(root.all("path", "ring")) == len(root.all("path", "hole")) == 1
    assert len(root.all("path", "floor")) == len(root.all("path", "ground")) == 1
    assert {path.attributes["class"] for path in root.all("path", "dots")} >= {"dots t0", "dots t3", "dots t5"}
    data = json.loads(root.all("script")[0].text)
    line = next(each for each in data["series"] if not each["dots"])
    assert line["label"] == "</script><l>" and line["y"] == [1.0, None, 2.0, 3.0]
    assert "x <i>" in root.text


def test_the_command_writes_a_file_prints_and_takes_a_title(
    command_line: Command, lake_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = shutil.copy(lake_file, tmp_path / "mine.duckdb")
    code, out, err = command_line("report", "size", "-l", copy, "-o", "r.html", "--title", "A & <B>")
    assert (code, out, err) == (0, "", "wrote r.html\n")
    root = Tree((tmp_path / "r.html").read_text("utf-8")).root
    assert root.all("title")[0].text == root.all("h1")[0].text == "A & <B>"
    assert [head.text for head in root.all("h2")] == [
        "In short", "Runs", "Law size", "Forecasts", "Where it comes from", "Statements"
    ]  # fmt: skip
    code, out, _ = command_line("report", "size", "-l", copy, "-o", "-", "--format", "md")
    assert code == 0 and out.startswith("# Scaling laws of mine.duckdb\n") and "```sql\n" in out
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".html", ".md")) == ["r.html"]


def test_a_file_is_replaced_whole_and_a_link_stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "r.html", tmp_path / "link.html"
    file.write_text("old")
    link.symlink_to(file)
    replace_file(str(link), "new")
    assert link.is_symlink() and file.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "r.html"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace_file(str(pipe), "read")
    assert os.read(reader, 10) == b"read"
    os.close(reader)
    assert pipe.is_fifo()


def test_it_says_how_many_laws_are_done(laws_lake: Lakehouse) -> None:
    told: list[tuple[str, int, int]] = []
    gather(laws_lake, ["size"], progress=lambda each: told.append((each.part, each.done, each.total)))
    assert told == [("laws", 0, 1)]


def test_a_law_of_a_paper_needs_no_lake(command_line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    code, out, err = command_line("report", "published:besiroglu_2024", "-o", "-")
    assert code == 0, err
    assert "Law published:besiroglu_2024" in Tree(out).root.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chinn",), "error: law 'chinn' does not exist\nHint: did you mean 'chin'? SHOW LAWS lists them\n"),
        (("--format", "htm"), "error: there is no format 'htm' of a report\nHint: did you mean 'html'? html or md\n"),
        (
            ("-o", "r.txt"),
            "error: cannot tell the format of 'r.txt'\nHint: end its name in .html or .md, or give --format\n",
        ),
        (("-o", "no/r.html"), "error: folder 'no' does not exist\nHint: create it first\n"),
        (("--design", "-1"), "error: --design takes 0 to 100 runs, got -1\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_once_and_nothing_is_written(
    command_line: Command, laws_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    copy = shutil.copy(laws_file, tmp_path / "mine.duckdb")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    code, out, err = command_line("report", *arguments, "-l", copy)
    assert (code, out, err) == (UsageError.exit_code, "", said)
    assert not list(work.iterdir())


def test_an_empty_lake_has_nothing_to_report(lakehouse: Lakehouse) -> None:
    with pytest.raises(EmptySelection, match="no runs and no laws"):
        gather(lakehouse, [])


def test_a_lake_without_laws_reports_its_runs(curves_lake: Lakehouse) -> None:
    page = gather(curves_lake, [])
    assert [part.what for part in page.parts() if isinstance(part, Missing)] == [
        "the list of laws", "forecasts", "the record of laws"
    ]  # fmt: skip
    assert [part.figure.title for part in page.parts() if isinstance(part, Drawn)] == ["loss of 4 runs"]


def test_a_reader_without_rights_gets_every_part(lake_file: Path, tmp_path: Path) -> None:
    copy = shutil.copy(lake_file, tmp_path / "mine.duckdb")
    with isoflop.open(copy, read_only=True) as readable:
        page = gather(readable, ["chin"])
    assert not [part for part in page.parts() if isinstance(part, Missing)]
    assert page.sections[-2].anchor == "forecasts"


def test_a_part_that_fails_says_why_and_a_lake_that_fails_stops() -> None:
    def refuse() -> tuple[Asked, ...]:
        raise UsageError("no such thing", hint="another")

    def lose() -> tuple[Asked, ...]:
        raise StoreError("the disk is gone")

    assert parts_of("this", refuse) == (Missing("this", "no such thing; another"),)
    with pytest.raises(StoreError):
        parts_of("this", lose)


def test_markdown_has_every_table_sentence_and_statement(page: Report) -> None:
    markdown = markdown_of(page)
    for part in page.parts():
        match part:
            case Asked():
                assert f"{part.statement};" in markdown
            case Sentence():
                assert all(piece.text in markdown for piece in part.parts if isinstance(piece, Quoted))
            case _:
                pass
    fences = re.findall(r"^(`{3,})", markdown, re.M)
    assert len(fences) % 2 == 0


@pytest.mark.parametrize(
    ("format", "out", "form"), [(None, None, "html"), (None, "a.MD", "md"), ("md", "a.html", "md"), (None, "-", "html")]
)
def test_the_format_is_what_was_said_else_the_ending(format: str | None, out: str | None, form: str) -> None:
    assert chosen_form(format, out) == form


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MEASURE = """<!DOCTYPE html><body><iframe id="f" style="width:{width}px;height:900px;border:0" src="page.html"></iframe>
<pre id="out"></pre><script>
addEventListener("load", () => {{
  const page = f.contentDocument, root = page.querySelector('.plot[aria-label^="chin ·"]');
  root.focus();
  for (const key of ["ArrowRight", "ArrowRight", "+"])
    root.dispatchEvent(new f.contentWindow.KeyboardEvent("keydown", {{ key, bubbles: true }}));
  const read = root.querySelector(".readout").textContent;
  const zoomed = root.querySelector(".marks").getAttribute("transform");
  root.dispatchEvent(new f.contentWindow.KeyboardEvent("keydown", {{ key: "0", bubbles: true }}));
  const plane = root.querySelector(".plane"), box = plane.getBoundingClientRect();
  plane.dispatchEvent(new f.contentWindow.PointerEvent("pointermove",
    {{ clientX: box.right - 1, clientY: box.bottom - 1, bubbles: true }}));
  const color = () => f.contentWindow.getComputedStyle(page.body).backgroundColor, before = color();
  page.getElementById("theme").click();
  out.textContent = JSON.stringify({{
    over: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    read, zoomed, pointed: root.querySelector(".readout").textContent,
    ticks: root.querySelectorAll(".tick").length,
    copy: page.querySelectorAll(".copy:not([hidden])").length,
    colors: [before, color()],
  }});
}});
</script>"""


@pytest.mark.parametrize("width", [400, 1600])
def test_a_browser_shows_it_narrow_and_wide(text: str, tmp_path: Path, width: int) -> None:
    named = os.environ.get("ISOFLOP_BROWSER")
    browser = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium here; ISOFLOP_BROWSER names one")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    (tmp_path / "measure.html").write_text(MEASURE.format(width=width))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "measure.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
    assert said is not None, done.stderr[-2000:]
    found = json.loads(unescape(said[1]))
    assert found["over"] <= 0
    assert re.search(r"loss [\d.]+ .* at training compute [\d.e]+ FLOP", found["read"])
    assert found["zoomed"].startswith("matrix(2 0 0 2 ") and found["ticks"] > 4
    assert found["pointed"] != found["read"] and " from " in found["pointed"].replace(
        "(", " "
    )  # the law, with interval
    assert sorted(found["colors"]) == ["rgb(20, 24, 28)", "rgb(255, 255, 255)"]
    assert found["copy"] == text.count('class="copy"')
