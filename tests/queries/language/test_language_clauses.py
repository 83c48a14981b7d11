import pytest

from isoflop.queries.language.syntax.clauses import find_clauses, split_statements, visible_queries
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.verbs import words


def clauses(text):
    """The outermost verb clauses of each statement of a text."""
    tokens = tokenize(text)
    found = []
    for first, last in split_statements(tokens):
        for clause in find_clauses(words(), tokens, first, last, is_statement=True):
            found.append(text[tokens[clause.first].start : tokens[clause.last - 1].end])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FIT loss ~ power(x) FROM runs", ["FIT loss ~ power(x) FROM runs"]),
        ("fit loss ~ power(x) from runs;", ["fit loss ~ power(x) from runs"]),
        ("SELECT 1; SHOW LAWS; SELECT 2", ["SHOW LAWS"]),
        ("SELECT * FROM (EXTRAPOLATE chin TO n = 1) WHERE n < 2", ["EXTRAPOLATE chin TO n = 1"]),
        ("FROM runs r JOIN (PREDICT chin FROM runs) x USING (run_id)", ["PREDICT chin FROM runs"]),
        ("FROM runs, (SHOW LAWS) s", ["SHOW LAWS"]),
        ("WITH a AS (FIT loss ~ power(x) FROM r) FROM a", ["FIT loss ~ power(x) FROM r"]),
        ("WITH a AS MATERIALIZED (SHOW LAWS) FROM a", ["SHOW LAWS"]),
        ("WITH a AS (SELECT 1) FIT loss ~ power(x) FROM a", ["FIT loss ~ power(x) FROM a"]),
        ("CREATE TABLE t AS EXTRAPOLATE chin TO n = 1", ["EXTRAPOLATE chin TO n = 1"]),
        ("CREATE OR REPLACE TEMP TABLE t AS FIT loss ~ power(x) FROM r", ["FIT loss ~ power(x) FROM r"]),
        ("CREATE TABLE t AS (SHOW LAW FORMS)", ["SHOW LAW FORMS"]),
        ("COPY (DESCRIBE LAW chin) TO 'p.csv'", ["DESCRIBE LAW chin"]),
        (
            "(FIT a ~ power(x) FROM r) UNION ALL (FIT b ~ power(x) FROM r)",
            ["FIT a ~ power(x) FROM r", "FIT b ~ power(x) FROM r"],
        ),
        ("SELECT (EXTRAPOLATE chin TO n = 1) + 1", ["EXTRAPOLATE chin TO n = 1"]),
        ("FROM (((SHOW LAWS)))", ["SHOW LAWS"]),
        ("FROM (FIT loss ~ power(x) FROM (PREDICT chin FROM r))", ["FIT loss ~ power(x) FROM (PREDICT chin FROM r)"]),
        ("EXTRAPOLATE (FIT loss ~ power(x) FROM r) TO x = 1", ["EXTRAPOLATE (FIT loss ~ power(x) FROM r) TO x = 1"]),
        ("FROM (FIT (loss - 1) ~ power(x) FROM r)", ["FIT (loss - 1) ~ power(x) FROM r"]),
        ("FROM (CROSS VALIDATE chin FROM r KFOLD 5)", ["CROSS VALIDATE chin FROM r KFOLD 5"]),
        (
            "CREATE OR REPLACE LAW a AS FIT loss ~ power(x) FROM r",
            ["CREATE OR REPLACE LAW a AS FIT loss ~ power(x) FROM r"],
        ),
        ("DROP LAW IF EXISTS a", ["DROP LAW IF EXISTS a"]),
    ],
)
def test_a_verb_is_found_where_a_query_may_stand(text, expected):
    assert clauses(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "SELECT fit FROM runs",
        "SELECT fit, law, predict FROM runs WHERE (fit > 1) AND (predict IS NULL) ORDER BY fit DESC",
        "SELECT (fit + 1), (fit), (fit ~ 'a'), (fit.x), f(fit, 2), (fit) FROM t",
        "CREATE TABLE t (fit DOUBLE, law VARCHAR, predict INTEGER)",
        "CREATE TABLE fit AS SELECT 1 AS law",
        "INSERT INTO t (fit, law) VALUES (1, 2)",
        "FROM fit JOIN laws USING (law)",
        "FROM (fit JOIN runs USING (id))",
        "FROM (predict p JOIN runs r USING (id))",
        "FROM (fit f CROSS JOIN laws l)",
        "SELECT 'FIT loss ~ power(x)' AS text",
        'SELECT "FIT" FROM t',
        "SELECT 1 -- FIT loss",
        "SELECT /* (FIT loss ~ power(x)) */ 1",
        "SELECT x IN (fit, predict) FROM t",
        "SELECT * FROM t WHERE a IN (SELECT fit FROM u)",
        "SELECT compare(1, 2), sum(residuals), (compare(1, 2) + 1)",
        "SELECT CASE WHEN fit THEN law ELSE predict END FROM t",
        "FROM a CROSS JOIN validate",
        "DESCRIBE law",
        "SHOW TABLES",
        "DROP TABLE law",
        "COMMENT ON TABLE laws IS 'x'",
        "SELECT (fit BETWEEN 1 AND 2), (law = 'x'), (extrapolate IN (1, 2))",
        "PIVOT fit ON law",
        "SELECT (optimize), (forecast + 1), optimize.x FROM forecast",
    ],
)
def test_columns_and_tables_called_like_verbs_keep_working(text):
    assert clauses(text) == []


@pytest.mark.parametrize("text", ["SELECT 1", "FROM runs CROSS JOIN x", "SELECT fitness, lawful FROM predictions"])
def test_plain_sql_is_let_through_without_a_look(text):
    assert not words().may_be_in(text)


def names_seen(text, verb="FIT"):
    tokens = tokenize(text)
    position = next(index for index, token in enumerate(tokens) if token.upper == verb)
    return [query.name for query in visible_queries(tokens, 0, position)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM (FIT y ~ power(x) FROM a)", ["a", "b"]),
        ("WITH a AS (SELECT 1), b AS (FIT y ~ power(x) FROM a), c AS (SELECT 2) FROM b", ["a"]),
        ("WITH a AS (WITH i AS (SELECT 1) FROM i) FROM (FIT y ~ power(x) FROM a)", ["a"]),
        ("FROM (WITH i AS (SELECT 1) FROM (FIT y ~ power(x) FROM i))", ["i"]),
        ("FROM (WITH i AS (SELECT 1) FROM i), (FIT y ~ power(x) FROM r)", []),
        ("WITH RECURSIVE a(n) AS (SELECT 1) FIT y ~ power(x) FROM a", ["a"]),
        ("WITH a AS NOT MATERIALIZED (SELECT 1) FIT y ~ power(x) FROM a", ["a"]),
        ("FROM unnest([1]) WITH ORDINALITY, (FIT y ~ power(x) FROM a)", []),
    ],
)
def test_a_clause_sees_the_with_queries_around_it(text, expected):
    assert names_seen(text) == expected


def test_the_inner_of_two_with_queries_of_one_name_counts():
    text = "WITH a AS (SELECT 1) FROM (WITH a AS (SELECT 2) FROM (FIT y ~ power(x) FROM a))"
    tokens = tokenize(text)
    position = next(index for index, token in enumerate(tokens) if token.upper == "FIT")
    (query,) = visible_queries(tokens, 0, position)
    assert tokens[query.first].start == text.index("a AS (SELECT 2)")
