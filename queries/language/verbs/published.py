"""The laws of papers: SHOW PUBLISHED LAWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.listing import Listing
from isoflop.queries.language.syntax.nodes import Show
from isoflop.queries.language.syntax.parts import read_pattern
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

_PUBLISHED = "FROM _published WHERE $pattern IS NULL OR law ILIKE $pattern ORDER BY law"


def _plan(question: Question, node: Show) -> Plan:
    import pyarrow as pa

    from isoflop.queries.laws.atlas import ATLAS

    text, number = pa.string(), pa.float64()
    named = {"name": text, "unit": text}
    schema = pa.schema(
        {
            "law": text,
            "form": text,
            "target": text,
            "unit": text,
            "inputs": pa.list_(pa.struct(named)),
            "coefficients": pa.list_(pa.struct({"name": text, "value": number, "std_error": number})),
            "source": text,
            "about": text,
        }
    )
    rows = [
        {
            "law": entry.name,
            "form": entry.form,
            "target": entry.law.target,
            "unit": entry.law.unit,
            "inputs": [{"name": input_.name, "unit": input_.unit} for input_ in entry.law.inputs],
            "coefficients": [
                {"name": coefficient.name, "value": value, "std_error": entry.std_errors.get(coefficient.name)}
                for coefficient, value in zip(entry.law.coefficients, entry.values.tolist(), strict=True)
            ],
            "source": entry.source,
            "about": entry.about,
        }
        for entry in ATLAS
    ]
    relations = {"_published": pa.Table.from_pylist(rows, schema=schema)}
    return Listing(question, node, "the laws of papers that come with isoflop", _PUBLISHED, relations)


SHOW_PUBLISHED_LAWS = Verb(
    words="SHOW PUBLISHED LAWS",
    is_of_program=True,
    rule="SHOW PUBLISHED LAWS [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW PUBLISHED LAWS"),
    plan=_plan,
    page=Page(
        purpose=(
            "Lists the laws of papers that come with isoflop, [each in full](atlas.md). `published:` and a name stand "
            "wherever that of a saved law does, `EXTRAPOLATE published:besiroglu_2024 TO …`; "
            "`CREATE LAW paper AS published:besiroglu_2024` keeps one in the lake, as an SQL function too."
        ),
        sample="SHOW PUBLISHED LAWS",
        columns={
            "law": "its name, without `published:`",
            "form": "the law form, or a formula",
            "target": "what it predicts",
            "unit": "of what it predicts",
            "inputs": "list of structs: name and unit of each input, in order",
            "coefficients": "list of structs: name, value and, where the paper states it, standard error of each",
            "source": "paper, table or equation",
            "about": "what was trained, how far, and what the inputs count",
        },
        examples=(
            "SELECT law, form, source FROM (SHOW PUBLISHED LAWS LIKE '%2024') ORDER BY law",
            "SELECT round(predicted_loss, 4) AS loss, ratio FROM\n"
            "(EXTRAPOLATE published:hoffmann_2022 TO params = 7e10, tokens = 1.4e12)",
        ),
        mistakes=("EXTRAPOLATE published:hofmann_2022 TO params = 7e10, tokens = 1.4e12",),
    ),
    briefs=(Brief("list the laws of papers", "SHOW PUBLISHED LAWS"),),
)
