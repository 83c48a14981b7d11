"""Statements made at random from the grammar that the reference is drawn from."""

from __future__ import annotations

import random
from collections.abc import Sequence as Many

from isoflop.queries.language import verbs
from isoflop.queries.language.syntax.grammar import (
    SLICES,
    Alternatives,
    Listed,
    Mark,
    Maybe,
    Node,
    Reference,
    Sequence,
    Word,
)
from isoflop.queries.language.verbs import VERBS, grammar

# What may stand for a slice: what fits the tables of the fuzz tests, and now and then what does not.
SAMPLES: dict[str, Many[str]] = {
    "name": ("fresh", "E", "A", "a", '"two words"', "é", "budget", "fit"),
    "saved_law": ("chin", "CHIN", '"chin"', "brief"),
    "theory": ("volterra_plrf", "VOLTERRA_PLRF"),
    "published_law": ("besiroglu_2024", "Hoffmann_2022", "llama_2024_tokens"),
    "coefficient": ("E", "A", "alpha"),
    "law_form": ("power", "chinchilla"),
    "column": ("params", "tokens"),
    "text": ("'c%'", "'it''s'", "$$x$$", "''"),
    "number": ("1", "2", "3", "20", "$1"),
    "version": ("1", "2"),
    "target": ("loss", "loss", "(loss - 1)", "ln(loss)", "CASE WHEN id > 3 THEN loss END"),
    "condition": ("id < 9", "corpus = 'web'", "loss IS NOT NULL", "id IN (FROM range(8))", "true"),
    "expression": ("params", "tokens", "6 * params * tokens", "id + 1", "corpus", "sqrt(params)"),
    "value": ("1", "0.5", "1e9", "2e10", "[1e9, 1e10]", "$1", "(SELECT 2)"),
    "list": ("[1e20, 1e21]", "range(3)", "[1e18]"),
    "formula": ("loss", "6 * params * tokens", "params", "1e21", "tokens / params", "E + A / params ^ a"),
    "relation": (
        "points", "points p", "holes", "(FROM points)", "points JOIN (SELECT id FROM points) q USING (id)",
        "(PREDICT chin FROM points)", "(SELECT *, id AS budget FROM points)",
    ),
    "query": (
        "SELECT 1e9 AS params, 1e10 AS tokens", "FROM points LIMIT 3", "VALUES (1e19)", "SELECT 1e20",
        "SELECT params, tokens FROM (RESIDUALS chin)",
    ),
    "explained": ("SHOW LAWS",),
    "option": (
        "level", "seed", "objective", "delta", "interval", "forward", "cluster", "bootstrap", "intervals", "weighing",
        "tolerance", "budgets", "curves", "flops", "per", "time_law", "residual_scale",
    ),
}  # fmt: skip
ODD: dict[str, Many[str]] = {
    "saved_law": ("nobody", "power"), "theory": ("nobody", "chin"), "law_form": ("nonsense", "E", "sqrt"),
    "published_law": ("nobody", "chin"), "coefficient": ("B", "nope", "e"),
    "column": ("budget", "loss", '"params"', "nope"), "number": ("0", "1000000", "1.5"),
    "version": ("0", "7"), "target": ("nope", "p.loss", "corpus", "NULL", "count(*)"),
    "condition": ("false", "nope = 1", "id", "corpus", "NULL", "sum(id) > 1"),
    "expression": ("nope", "NULL", "count(*)", "(1)", "[1]", "DATE '2024-01-01'", "'x'", "params / 0"),
    "value": ("-1", "NULL", "'x'", "20 * params", "nope", "1e400", "0", "[]"),
    "list": ("[]", "[NULL]", "$1", "nope", "'x'", "[[1]]"), "formula": ("nope", "budget", "1 / 0", "sin(loss)", "''"),
    "relation": ("nowhere", "(VALUES (1.0, 2.0)) v(params, loss)", "(SHOW LAWS)", "'nofile.csv'", "range(3)", "1"),
    "query": ("SHOW LAWS", "PREDICT chin FROM points", "SELECT nope", "FROM range(2)", "SELECT 1 WHERE false"),
    "option": ("nonsense", "resamples"),
}  # fmt: skip
OPTION_VALUES = {
    "resamples": ("0", "0", "0", "2"), "level": ("0.9", "0.5"), "seed": ("0", "7"), "forward": ("true", "false"),
    "objective": ("'huber_log'", "'mse'", "log_mse"), "delta": ("1e-3", "0.1"), "cluster": ("corpus", "id"),
    "interval": ("'confidence'", "'prediction'"), "nonsense": ("1",), "bootstrap": ("auto", "'case'", "'wild'"),
    "intervals": ("'percentile'", "jackknife"), "weighing": ("'resamples'", "aicc"), "tolerance": ("0.1", "0.5"),
    "within": ("0.05", "0.5"),
    "budgets": ("[1e16, 1e17]", "[6e18]"), "curves": ("id", "corpus"), "flops": ("6 * params * tokens", "id + 1"),
    "residual_scale": ("0.01", "0", "'x'"), "per": ("'flops'", "params", "'seconds'"), "time_law": ("brief", "'chin'"),
}  # fmt: skip
# Texts of a rule that fit together, so that some of what is made gets past the first look.
SENSIBLE: dict[str, Many[str]] = {
    "form": ("power(params)", "chinchilla(params, tokens)", "power(tokens)"),
    "given": (
        "power(params) WITH COEFFICIENTS (E = 1.7, A = 30, alpha = 0.3)",
        "loss ~ E + A / params ^ a WITH COEFFICIENTS (E = 1.7, A = 30, a = 0.3) STANDARD ERRORS (E = 0.01)",
        "power(flops) WITH COEFFICIENTS (E = 1, A = 2, alpha = 0.1) WITH (residual_scale = 0.01)",
    ),
    "targets": ("TO params = 1e9, tokens = 2e10", "TO params = [1e9, 1e10], tokens = 20 * params",
                "TO (SELECT 1e9 AS params, 1e10 AS tokens)"),
    "chosen": ("params IN [1e6, 1e9] LOG", "tokens IN [1e8, 1e11] LOG", "tokens = 20 * params"),
    "planned": ("params IN [1e6, 1e9] LOG", "tokens IN (1e8, 1e9, 1e10)", "tokens = 20 * params"),
    "comparison": ("6 * params * tokens <= 1e19", "tokens <= 2000 * params", "params >= 1e7"),
    "limit": ("SUM(6 * params * tokens) <= 1e20", "SUM(params) <= 1e9", "tokens <= 2000 * params"),
}  # fmt: skip
# Keys of WITH that suit a verb, and what it takes so that it does not take long.
FIT_OPTIONS = ("level", "seed", "objective", "delta", "cluster")
APPROACH_OPTIONS = ("level", "seed", "objective", "delta", "tolerance", "budgets", "curves", "flops")
INTERVAL_OPTIONS = ("level", "interval")
OPTIONS = {
    "fit": (*FIT_OPTIONS, "forward", "bootstrap", "intervals"), "cross_validate": FIT_OPTIONS,
    "create_law": ("level", "seed", "residual_scale"),
    "compare": (*FIT_OPTIONS, "weighing"), "compare_approaches": APPROACH_OPTIONS,
    "extrapolate_average": (*FIT_OPTIONS, "weighing", "interval"),
    "extrapolate_best": (*FIT_OPTIONS, "interval"), "optimize": (*INTERVAL_OPTIONS, "time_law"),
    "design": (*INTERVAL_OPTIONS, "seed", "time_law", "per"), "optimum": ("tolerance", "within", "level", "seed"),
    "compare_gain": ("level", "seed"),
}  # fmt: skip
FITTING = (
    "fit",
    "cross_validate",
    "compare",
    "compare_approaches",
    "extrapolate_average",
    "extrapolate_best",
    "refit_law",
)
CALM = {
    **dict.fromkeys(("cross_validate", "compare", "compare_approaches"), "resamples = 0"),
    "extrapolate_average": "resamples = 2, forward = false",
    "extrapolate_best": "resamples = 2, forward = false", "optimize": "resamples = 0",
}  # fmt: skip
NAMED = (Reference("chosen"), Reference("planned"), Reference("parameter"))
OVER = "OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG SUBJECT TO 6 * params * tokens <= 1e21"
# Verb -> a statement with it, and what of it may be a parameter.
RELATIONS: dict[str, tuple[str, str | None]] = {
    "fit": ("FIT loss ~ power(params) FROM points WHERE id < 30 GROUP BY corpus WITH (resamples = 0)", "30"),
    "explain": ("EXPLAIN FIT loss ~ power(params) FROM points WHERE id < 30", "30"),
    "cross_validate": ("CROSS VALIDATE chin FROM points HOLDOUT LARGEST 2 BY params WITH (resamples = 0)", "2"),
    "compare": ("COMPARE chin, (loss ~ power(params)) FROM points WHERE id < 40 WITH (resamples = 0)", "40"),
    "extrapolate": ("EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params WITH (level = 0.5)", "0.5"),
    "forecast": ("FORECAST chin TO params = 1e9, tokens = 2e10", "1e9"),
    "predict": ("PREDICT chin FROM points WHERE id < 9 WITH (level = 0.9)", "9"),
    "residuals": ("RESIDUALS chin FROM points WHERE id < 9", "9"),
    "optimize": (f"OPTIMIZE chin MINIMIZE loss {OVER}", "1e21"),
    "compare_gain": (
        "COMPARE GAIN OF chin OVER (FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)) "
        "AT flops = 1e20", "1e20",
    ),
    "compare_approaches": ("COMPARE APPROACHES FROM points WHERE id < 60 WITH (resamples = 0, tolerance = 0.5)", "0.5"),
    "optimum": ("OPTIMUM OF params BY flops FROM points WHERE id < 60 WITH (resamples = 9, tolerance = 0.5)", "0.5"),
    "extrapolate_average": (
        "EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM points TO params = 1e9, tokens = 2e10 "
        "WITH (resamples = 0, weighing = 'aicc')", "1e9",
    ),
    "extrapolate_best": (
        "EXTRAPOLATE BEST OF chin, (loss ~ chinchilla_tied(params, tokens)) FROM points "
        "TO params = 1e9, tokens = 2e10 WITH (resamples = 0)", "1e9",
    ),
    "design": (
        "DESIGN 2 RUNS FOR chin TO params = 1e11, tokens = 2e12 "
        "OVER params IN (1e9, 1e10), tokens = 20 * params", "1e11",
    ),
    "show_laws": ("SHOW LAWS LIKE 'chin'", None),
    "show_law_forms": ("SHOW LAW FORMS LIKE 'chin%'", None),
    "show_forecasts": ("SHOW FORECASTS", None),
    "describe_law": ("DESCRIBE LAW chin", None),
}  # fmt: skip
CHANGED = {
    "create_law": "CREATE OR REPLACE LAW made AS FIT loss ~ power(params) FROM points WITH (resamples = 0)",
    "refit_law": "REFIT LAW chin",
    "drop_law": "DROP LAW chin",
    "alter_law": "ALTER LAW chin RENAME TO gone",
    "comment_on_law": "COMMENT ON LAW chin IS 'changed'",
}
# A verb that needs no table of its own is tried as the shell shows it.
RELATIONS |= {
    verb.key: (verb.briefs[0].example, None) for verb in VERBS if not verb.is_statement and verb.key not in RELATIONS
}
CHANGED |= {verb.key: verb.briefs[0].example for verb in VERBS if verb.is_statement and verb.key not in CHANGED}
RARELY = 0.03
DEEPEST = 6  # rules in rules; beyond it what may be left out is


def make(name: str, chance: random.Random, depth: int = 0, verb: str = "") -> str:
    """Return a text that a rule or a slice describes.

    Parameters
    ----------
    depth : rules around it
    verb : whose options are meant
    """
    if name == "options":
        return _options(chance, verb)
    if name == "explained":
        usual = ("fit", "extrapolate", "predict")
        others = [verb.key for verb in verbs.VERBS if not verb.is_prefix]
        return make(chance.choice(usual if chance.random() < 0.7 else others), chance, depth)
    if name == "law" and chance.random() < 0.7:  # a fit takes longest
        return make("saved_law", chance)
    if name in SENSIBLE and chance.random() < 0.6:
        return chance.choice(SENSIBLE[name])
    if name in SLICES:
        return chance.choice(ODD[name] if name in ODD and chance.random() < RARELY else SAMPLES[name])
    return _text(grammar().rule(name), chance, depth + 1, name if name in grammar().verbs else verb)


def _options(chance: random.Random, verb: str) -> str:
    """Return a list of options; what fits has no resamples most often, so that nothing takes long."""
    known = OPTIONS.get(verb, INTERVAL_OPTIONS)
    if chance.random() < RARELY:
        known = ("nonsense", *OPTION_VALUES)
    calm = CALM.get(verb, "")
    if verb == "fit":
        calm = f"resamples = {chance.choice((0, 0, 0, 0, 0, 2))}"
    chosen = chance.sample(known, chance.choice((0, 1, 2)))
    pairs = [f"{key} = {chance.choice(OPTION_VALUES[key])}" for key in chosen if f"{key} =" not in calm]
    pairs = [calm, *pairs] if calm else pairs
    return f"WITH ({', '.join(pairs)})" if pairs else ""


def _text(node: Node, chance: random.Random, depth: int, verb: str) -> str:
    match node:
        case Word(text) | Mark(text):
            return text if chance.random() > 0.03 else text.lower()
        case Reference(name):
            return make(name, chance, depth, verb)
        case Sequence(parts):
            return " ".join(filter(None, (_text(part, chance, depth, verb) for part in parts)))
        case Alternatives(options):
            return _text(chance.choice(options), chance, depth, verb)
        case Listed(part):
            count = 1 if depth > DEEPEST else chance.choice((1, 1, 2, 2, 3))
            texts = [_text(part, chance, depth, verb) for _ in range(count)]
            # A name is given once, but for a slip.
            named = {text.split(" ")[0].lower() if part in NAMED else text: text for text in texts}
            return ", ".join(named.values() if chance.random() > RARELY else texts)
        case Maybe(part):
            # Fits without options take a thousand resamples.
            is_there = part == Reference("options") or (depth <= DEEPEST and chance.random() < 0.5)
            return _text(part, chance, depth, verb) if is_there else ""
    raise AssertionError(node)


def all_names() -> set[str]:
    """Return the names that rules refer to."""
    found: set[str] = set()
    waiting = [grammar().rule(name) for name in grammar().rules]
    while waiting:
        match waiting.pop():
            case Reference(name):
                found.add(name)
            case Sequence(parts) | Alternatives(parts):
                waiting.extend(parts)
            case Maybe(part) | Listed(part):
                waiting.append(part)
    return found
