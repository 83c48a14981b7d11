"""From text to nodes: tokens with their places, verb clauses, and what a clause says."""

from isoflop.queries.language.syntax.clauses import find_clauses, split_statements
from isoflop.queries.language.syntax.tokens import Kind, Token, tokenize

__all__ = ["Kind", "Token", "find_clauses", "split_statements", "tokenize"]
