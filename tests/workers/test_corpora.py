"""Corpora: split, order, cache, formats, and the entropy of the synthetic language."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse.errors import RecordError
from isoflop.workers.corpora import BytesSpec, MarkovCorpus, MarkovSpec, ShardsSpec
from isoflop.workers.corpora.cache import cached
from isoflop.workers.corpora.markov import alias_tables, stationary_law
from isoflop.workers.corpora.windows import Windows


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOFLOP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 3,000 bytes that say where they are, and one hidden."""
    root = tmp_path / "text"
    (root / "inner").mkdir(parents=True)
    for name, byte in (("b.txt", 2), ("a.txt", 1), ("inner/c.txt", 3)):
        (root / name).write_bytes(bytes([byte]) * 3000)
    (root / ".hidden").write_bytes(b"\xff" * 100)
    return root


def test_bytes_are_every_visible_file_in_sorted_order(folder: Path) -> None:
    corpus = BytesSpec(source=str(folder), validation_fraction=0).open()
    train = np.asarray(corpus.train_tokens)
    assert train.tolist() == [1] * 3000 + [0] + [2] * 3000 + [0] + [3] * 3000
    assert len(corpus.validation_tokens) == 0
    assert corpus.validation(num_sequences=4, sequence_length=8).shape == (0, 9)


def test_held_out_blocks_come_from_all_over_the_corpus_and_leave_the_rest(folder: Path) -> None:
    corpus = BytesSpec(source=str(folder), validation_fraction=0.1).open()
    train, held_out = np.asarray(corpus.train_tokens), np.asarray(corpus.validation_tokens)
    assert len(train) + len(held_out) == 9002
    assert len(held_out) == pytest.approx(900, rel=0.06)
    assert {1, 2, 3} <= set(held_out.tolist())


def test_a_corpus_is_written_once_and_again_when_its_files_change(folder: Path, tmp_path: Path) -> None:
    first = BytesSpec(source=str(folder), validation_fraction=0.25).open()
    caches = list((tmp_path / "cache" / "corpora").iterdir())
    assert len(caches) == 1
    again = BytesSpec(source=str(folder), validation_fraction=0.25).open()
    assert again is first
    (folder / "a.txt").write_bytes(b"\x09" * 3100)
    changed = BytesSpec(source=str(folder), validation_fraction=0.2500001).open()
    assert changed.content_hash != first.content_hash
    assert len(list((tmp_path / "cache" / "corpora").iterdir())) == 2


def test_the_hash_names_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    moved = BytesSpec(source=str(tmp_path / "elsewhere")).open()
    (tmp_path / "copy").mkdir()
    for name in ("a.txt", "b.txt", "inner/c.txt"):
        target = tmp_path / "copy" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((tmp_path / "elsewhere" / name).read_bytes())
    assert BytesSpec(source=str(tmp_path / "copy")).open().content_hash == moved.content_hash


def test_a_half_made_cache_entry_is_never_seen(tmp_path: Path) -> None:
    def fail(making: Path) -> None:
        (making / "part").write_text("half")
        raise RecordError("broken off")

    with pytest.raises(RecordError):
        cached("corpora/x", fail)
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []
    assert (
        cached("corpora/x", lambda making: (making / "part").write_text("whole") and None) / "part"
    ).read_text() == "whole"


def test_the_builtin_corpus_is_the_standard_library() -> None:
    corpus = BytesSpec().open()
    assert corpus.vocabulary == 256
    assert len(corpus.content_hash) == 64
    assert len(corpus.train_tokens) > 4_000_000
    assert len(corpus.validation_tokens) == pytest.approx(0.05 * len(corpus.train_tokens), rel=0.1)
    text = np.asarray(corpus.train_tokens[:2_000_000]).tobytes()
    assert b"def __init__(self" in text and b"import unittest\nclass Test" not in text


@pytest.mark.parametrize(
    ("source", "message"),
    [("/no/such/folder", "does not exist; expected a folder, a file or 'builtin'"), ("{empty}", "holds no files")],
)
def test_a_corpus_of_nothing_is_refused(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=message):
        BytesSpec(source=source.format(empty=tmp_path / "empty")).open()


def test_an_epoch_visits_every_window_once_and_the_next_in_another_order() -> None:
    windows = Windows([np.arange(101)], 10, "numbers")
    assert len(windows) == 10
    batches = list(islice(windows.batches(batch_size=4, seed=0), 5))  # two epochs
    starts = np.concatenate([batch[:, 0] for batch in batches])
    assert sorted(starts[:10]) == sorted(starts[10:]) == list(range(0, 100, 10))
    assert starts[:10].tolist() != starts[10:].tolist()
    assert all((batch[:, 1:] == batch[:, :-1] + 1).all() for batch in batches)


def test_a_batch_depends_on_its_step_alone() -> None:
    windows = Windows([np.arange(1001)], 10, "numbers")
    from_start = list(islice(windows.batches(batch_size=7, seed=5), 40))
    for step in (0, 1, 13, 14, 39):
        np.testing.assert_array_equal(next(windows.batches(batch_size=7, seed=5, first_step=step)), from_start[step])
    assert not np.array_equal(next(windows.batches(batch_size=7, seed=6)), from_start[0])


def test_windows_never_cross_from_one_array_to_the_next() -> None:
    windows = Windows([np.arange(25), np.arange(100, 121), np.arange(3)], 10, "numbers")
    assert len(windows) == 2 + 2
    taken = windows.take(np.arange(4))
    assert taken[:, 0].tolist() == [0, 10, 100, 110]
    assert (np.diff(taken, axis=1) == 1).all()


def test_a_corpus_shorter_than_a_sequence_is_refused() -> None:
    with pytest.raises(RecordError, match="numbers has 10 training tokens, which is less than one sequence of 10"):
        next(Windows([np.arange(10)], 10, "numbers").batches(batch_size=1, seed=0))


def test_held_out_windows_are_spread_evenly() -> None:
    windows = Windows([np.arange(1001)], 10, "numbers")
    assert windows.spread(4)[:, 0].tolist() == [0, 250, 500, 750]
    assert len(windows.spread(1000)) == 100


@pytest.mark.parametrize(
    ("suffix", "dtype"), [("bin", "uint16"), ("bin", "uint32"), ("npy", "uint16"), ("npy", "int64")]
)
def test_shards_of_every_format_give_the_same_tokens(tmp_path: Path, suffix: str, dtype: str) -> None:
    tokens = np.random.default_rng(0).integers(0, 1000, 3000)
    for number, part in enumerate(np.split(tokens, 3)):
        path = tmp_path / f"part{number}.{suffix}"
        if suffix == "npy":
            np.save(path, part.astype(dtype))
        else:
            part.astype(dtype).tofile(path)
    described = "uint32" if dtype == "uint32" else "uint16"
    for source in (str(tmp_path), f"{tmp_path}/part*.{suffix}"):
        corpus = ShardsSpec(kind="shards", source=source, dtype=described, vocabulary=1000).open()
        windows = np.sort(
            np.concatenate(list(islice(corpus.batches(batch_size=11, sequence_length=99, seed=0), 2)))[:20, 0]
        )
        expected = np.sort(np.concatenate([tokens[:1000][: 10 * 99 : 99], tokens[1000:2000][: 10 * 99 : 99]]))
        np.testing.assert_array_equal(windows, expected)
        held_out = corpus.validation(num_sequences=100, sequence_length=99)
        np.testing.assert_array_equal(held_out[0], tokens[2000:2100])
        assert len(held_out) == 10


def test_one_shard_gives_up_its_end(tmp_path: Path) -> None:
    np.arange(2000, dtype=np.uint16).tofile(tmp_path / "only.bin")
    corpus = ShardsSpec(source=str(tmp_path / "only.bin"), vocabulary=2000).open()
    assert corpus.validation(num_sequences=99, sequence_length=9)[0, 0] == 1900
    larger = ShardsSpec(source=str(tmp_path / "only.bin"), vocabulary=2000, validation_fraction=0.5).open()
    assert larger.validation(num_sequences=999, sequence_length=9)[0, 0] == 1000


def test_ids_outside_the_vocabulary_are_refused_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = np.full(2000, 5, np.uint16)
    tokens[1500] = 70
    tokens.tofile(tmp_path / "bad.bin")
    spec = ShardsSpec(source=str(tmp_path / "bad.bin"), vocabulary=50)
    with pytest.raises(
        RecordError, match=r"bad.bin' holds the id 70, but its vocabulary is 50; expected ids from 0 to 49"
    ):
        spec.open()
    monkeypatch.setattr("isoflop.workers.corpora.shards.SCANNED_TOKENS", 100)
    corpus = spec.open()
    with pytest.raises(RecordError, match="holds the id 70"):
        list(islice(corpus.batches(batch_size=10, sequence_length=100, seed=0), 2))


def test_files_that_are_no_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no token files at"):
        ShardsSpec(source=str(tmp_path), vocabulary=5).open()
    (tmp_path / "odd.bin").write_bytes(b"123")
    with pytest.raises(RecordError, match="has 3 bytes, which is not a whole number of uint16 ids; check dtype"):
        ShardsSpec(source=str(tmp_path / "odd.bin"), vocabulary=5).open()
    np.save(tmp_path / "float.npy", np.ones((3, 4)))
    with pytest.raises(RecordError, match="is an array of float64 with 2 dimensions; expected integers in one"):
        ShardsSpec(source=str(tmp_path / "float.npy"), vocabulary=5).open()


def test_alias_tables_hold_the_probabilities_exactly() -> None:
    generator = np.random.default_rng(0)
    for size in (2, 3, 17, 256):
        wanted = generator.dirichlet(np.full(size, 0.2), 20)
        keep, other = (table.reshape(20, size) for table in alias_tables(wanted))
        found = keep / size
        np.add.at(found, (np.arange(20)[:, None], other), (1 - keep) / size)
        np.testing.assert_allclose(found, wanted, atol=1e-13)
    keep, _ = alias_tables(np.full((1, 8), 1 / 8))
    assert (keep == 1).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_stationary_law_is_left_as_it_is_by_a_step(order: int) -> None:
    corpus = MarkovCorpus(MarkovSpec(order=order, vocabulary=8, contrast=2.0))
    law, size = corpus.stationary, 8
    stepped = np.zeros_like(law)
    for context in range(size**order):
        for token in range(size):
            stepped[(context * size + token) % size**order] += law[context] * corpus.transitions[context, token]
    np.testing.assert_allclose(stepped, law, atol=1e-13)
    assert law.sum() == pytest.approx(1, abs=1e-12)


def test_the_stationary_law_of_two_states_is_known_in_closed_form() -> None:
    transitions = np.array([[0.9, 0.1], [0.4, 0.6]])
    np.testing.assert_allclose(stationary_law(transitions, 2), [0.8, 0.2], atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_the_entropy_is_that_of_the_text(order: int) -> None:
    corpus = MarkovCorpus(MarkovSpec(order=order, vocabulary=12, contrast=1.5))
    text = corpus.sample(4000, 101, np.random.default_rng(1))
    context = np.zeros_like(text[:, order:])
    for place in range(order):
        context = context * 12 + text[:, place : len(text[0]) - order + place]
    surprise = -np.log(corpus.transitions[context, text[:, order:]])
    error = surprise.mean(axis=1).std() / np.sqrt(len(text))
    assert surprise.mean() == pytest.approx(corpus.entropy_rate(), abs=4 * error)
    counted = np.bincount(context.reshape(-1), minlength=12**order) / context.size
    assert 0.5 * np.abs(counted - corpus.stationary).sum() < 0.02


def test_the_first_targets_of_a_window_are_harder_by_what_the_context_lacks() -> None:
    corpus = MarkovCorpus(MarkovSpec(order=2, vocabulary=6, contrast=2.0))
    pairs = corpus.stationary.reshape(6, 6)
    after_one = pairs / pairs.sum(axis=1, keepdims=True)
    hardest = -(pairs * np.log(after_one)).sum()
    assert corpus.irreducible_loss(1) == pytest.approx(hardest, rel=1e-12)
    assert corpus.irreducible_loss(4) == pytest.approx((hardest + 3 * corpus.entropy_rate()) / 4, rel=1e-12)
    assert corpus.irreducible_loss(10**9) == pytest.approx(corpus.entropy_rate(), rel=1e-6)


def test_without_contrast_the_language_is_zipf_and_has_its_entropy() -> None:
    corpus = MarkovCorpus(MarkovSpec(vocabulary=32, contrast=0))
    law = 1 / np.arange(1, 33)
    law /= law.sum()
    np.testing.assert_allclose(corpus.stationary, law, atol=1e-12)
    assert corpus.entropy_rate() == pytest.approx(-(law * np.log(law)).sum(), rel=1e-12)


def test_markov_batches_depend_on_seed_and_step_and_never_repeat() -> None:
    corpus = MarkovSpec(vocabulary=16).open()
    shape = {"batch_size": 64, "sequence_length": 511}
    from_start = list(islice(corpus.batches(**shape, seed=1), 20))  # 8 batches a draw
    for step in (0, 7, 8, 19):
        np.testing.assert_array_equal(next(corpus.batches(**shape, seed=1, first_step=step)), from_start[step])
    assert len({batch.tobytes() for batch in from_start}) == 20
    assert not np.array_equal(next(corpus.batches(**shape, seed=2)), from_start[0])
    held_out = corpus.validation(num_sequences=5, sequence_length=511)
    np.testing.assert_array_equal(held_out, corpus.validation(num_sequences=5, sequence_length=511))
    assert MarkovSpec(vocabulary=16).open() is corpus
    assert MarkovSpec(vocabulary=16, seed=1).open().content_hash != corpus.content_hash
