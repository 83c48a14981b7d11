import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.queries.language.syntax.tokens import Kind, matching, quote_name, tokenize


def pieces(text):
    return [(token.kind, token.text) for token in tokenize(text)[:-1]]


def test_verbs_and_operators_come_out_as_they_were_typed():
    text = "FIT loss ~ E + A / params ^ alpha -- by size"
    assert [token.text for token in tokenize(text)[:-1]] == [
        "FIT",
        "loss",
        "~",
        "E",
        "+",
        "A",
        "/",
        "params",
        "^",
        "alpha",
    ]


@pytest.mark.parametrize(
    "text",
    ["'it''s'", "E'a\\'b'", "$$FIT x$$", "$tag$ a $$ b $tag$", "''", "'two\nlines'"],
)
def test_a_string_is_one_token_whatever_it_holds(text):
    assert pieces(f"SELECT {text}") == [(Kind.WORD, "SELECT"), (Kind.STRING, text)]


@pytest.mark.parametrize(("text", "value"), [("'it''s'", "it's"), ("$$a'b$$", "a'b"), ("$x$a$$b$x$", "a$$b")])
def test_a_string_token_gives_its_value(text, value):
    assert tokenize(text)[0].value == value


def test_comments_nest_and_vanish():
    assert pieces("a /* b /* c */ ; ' */ d -- ' e\n f") == [(Kind.WORD, "a"), (Kind.WORD, "d"), (Kind.WORD, "f")]


@pytest.mark.parametrize("text", ["'open", '"open', "/* open /* closed */", "$$open", "'it''s", "$tag$ a $$"])
def test_what_nothing_closes_is_unfinished_to_the_end(text):
    last = tokenize(f"SELECT {text}")[-2]
    assert (last.kind, last.text) == (Kind.UNFINISHED, text)


@pytest.mark.parametrize("text", ["1", "1_000", "1.5", ".5", "1e-3", "2.5E+10", "1."])
def test_numbers(text):
    assert pieces(text) == [(Kind.NUMBER, text)]


@pytest.mark.parametrize("text", ["?", "?2", "$1", "$budget"])
def test_parameters(text):
    assert pieces(f"a < {text}")[-1] == (Kind.PARAMETER, text)


def test_quoted_names_lose_their_quotes():
    token = tokenize('"final ""loss"""')[0]
    assert (token.kind, token.name) == (Kind.QUOTED, 'final "loss"')


def test_unicode_names_are_words():
    assert pieces("verlust_ä ~ größe") == [(Kind.WORD, "verlust_ä"), (Kind.OPERATOR, "~"), (Kind.WORD, "größe")]


def test_a_bracket_finds_its_partner():
    tokens = tokenize("f(a, (b), [c)")
    assert matching(tokens, 4) == 6
    assert tokens[matching(tokens, 1)].kind is Kind.END


@given(st.text(max_size=60))
def test_tokens_cover_every_character_that_is_not_a_gap(text):
    tokens = tokenize(text)
    position = 0
    for token in tokens[:-1]:
        assert token.start >= position and text[token.start : token.end] == token.text and token.text
        position = token.end
    assert tokens[-1].kind is Kind.END


@given(st.text(min_size=1, max_size=20))
def test_quoting_a_name_gives_one_token_that_means_it(text):
    name = tokenize(quote_name(text))[0]
    assert (name.kind, name.name) == (Kind.QUOTED, text)
