"""The reference knows every verb, and what it says of columns, options and errors is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import UnknownName
from isoflop.lakehouse.exchange.formats import import_path
from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.language.options import describe_option
from isoflop.queries.language.verb import Verb
from isoflop.queries.language.verbs import VERBS, grammar
from tests.lakes import open_here

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = (DOCS / "language.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([A-Z ]+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the published runs and the laws that the pages name."""
    with open_here(tmp_path_factory.mktemp("lake") / "published.duckdb") as lake:
        import_path(lake, find_published("chinchilla_epoch"))
        lake.sql(
            "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier WITH (resamples = 20)"
        )
        lake.sql("CREATE LAW brief AS FIT loss ~ power(flops) FROM runs WITH (resamples = 0)")
        yield lake


def test_every_verb_has_one_page_with_an_example() -> None:
    assert list(SECTIONS) == [verb.words for verb in VERBS]
    for verb in VERBS:
        assert verb.page.examples and f"figures/grammar/{verb.key}.svg" in SECTIONS[verb.words]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.key)
def test_the_columns_are_those_of_the_answer(published: Lakehouse, verb: Verb[Any]) -> None:
    page = verb.page
    if not page.columns:
        assert not page.sample
        return
    columns = published.sql(page.sample).columns
    named = [name.replace("<target>", "loss") for name in page.columns if " " not in name]
    described = any(" " in name for name in page.columns)
    assert [name for name in columns if name in named] == named
    assert described or columns == named, columns


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.page.options], ids=lambda verb: verb.key)
def test_the_options_are_those_that_the_verb_takes(published: Lakehouse, verb: Verb[Any]) -> None:
    page = verb.page
    text = re.sub(r"\sWITH \(.*\)$", "", page.sample) + " WITH (nonsense_at_all = 1)"
    with pytest.raises(UnknownName) as caught:
        published.sql(text)
    assert str(caught.value).endswith(f"takes {', '.join(page.options)}")
    for key in page.options:
        assert all(describe_option(key)) and set(page.defaults) <= set(page.options)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.key)
def test_examples_are_answered_and_mistakes_are_not(verb: Verb[Any]) -> None:
    page = verb.page
    section = SECTIONS[verb.words]
    shown = re.findall(r"```sql\n(.*?)\n```\n\n```text\n(.*?)\n```", section, re.S)
    assert [statement for statement, _ in shown] == list(page.examples)
    assert not any(" Error: " in answer for _, answer in shown)
    errors = section.partition("Errors, each with its caret")[2]
    assert len(re.findall(r"^[A-Z][A-Za-z ]+ Error: ", errors, re.M)) == len(page.mistakes)
    assert len(re.findall(r"^ *\^+$", errors, re.M)) == len(page.mistakes)


@pytest.mark.parametrize("name", grammar().rules)
def test_every_rule_has_a_drawing_that_names_its_parts(name: str) -> None:
    root = ElementTree.fromstring((DOCS / "figures" / "grammar" / f"{name}.svg").read_text(encoding="utf-8"))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in re.findall(r"[A-Za-z_]+", grammar().rules[name]):
        assert word in texts
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert width < 900 and height < 500
