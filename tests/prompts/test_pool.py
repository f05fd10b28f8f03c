"""Facts about the pool: what is left out and counted, which prompts an iteration gets, how bad input is refused."""

import hashlib
import json
import random
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pairloop import params
from pairloop.errors import DataError
from pairloop.files import records
from pairloop.prompts import pool, similarity, slices, sources
from pairloop.work import shards
from stages import pool as pool_stage
from stages import prompts as prompts_stage

SETTINGS = params.Pool()
NOUNS = ("kettle", "garden", "violin", "harbour", "tortoise", "lantern", "bicycle", "orchard", "glacier", "pillow")
VERBS = ("explain", "describe", "compare", "summarise", "paint", "mend", "measure", "celebrate", "borrow", "hide")


def row(prompt, source="test", constraints=None):
    return sources.normalise({"prompt": prompt, "constraints": constraints}, "here", source)


def prompts(count, seed=0):
    """Prompts that are not alike."""
    generator = random.Random(seed)
    return [
        row(f"{seed}-{number} " + " ".join(generator.choice(VERBS + NOUNS) for _ in range(12)))
        for number in range(count)
    ]


def texts(rows):
    return [r["prompt"] for r in rows]


def write_lines(path, *lines):
    encoded = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return str(path)


# --- building


def test_rows_in_are_rows_out_plus_those_dropped_for_every_reason():
    hub = [{"prompt": ""}, {"prompt": " \n"}, {"prompt": "bell \x07 rings"}]
    unusable = [sources.normalise(values, "hub row", "hub") for values in hub]
    good = prompts(6)
    held_out = [
        row("Why does a cut apple turn brown after a while?"),
        row("Why does a cut apple turn brown after a while?"),
    ]
    train = [
        *unusable,
        row("x" * 4001),
        row("Why does a cut apple turn brown after a while?"),
        row("Why does a cut apple turn brown, after a while?"),
        *good,
        good[0],
        row(good[1]["prompt"].upper()),
    ]
    kept, evaluated, counts = pool.build(train, held_out, SETTINGS, 0)
    assert sorted(texts(kept)) == sorted(texts(good))
    assert counts["dropped"] == {
        "control_characters": 1,
        "duplicate": 1,
        "empty": 2,
        "in_eval": 2,
        "near_duplicate": 1,
        "too_long": 1,
    }
    assert counts["rows_in"] == len(train) == counts["rows_out"] + sum(counts["dropped"].values())
    assert (counts["eval_rows_in"], counts["eval_rows_out"], counts["eval_dropped"]) == (2, 1, {"duplicate": 1})
    assert len(evaluated) == 1


def test_counts_tell_sources_and_constraints_of_what_is_kept():
    limited = [{"kind": "words", "max": 9}]
    train = [row("Name the moons of Mars.", "b", limited), row("What is a sonnet?", "a"), row("Who mends clocks?", "b")]
    _, _, counts = pool.build([*train, train[0]], [], SETTINGS, 0)
    assert counts["by_source"] == {"a": 1, "b": 2} and list(counts["by_source"]) == ["a", "b"]
    assert counts["with_constraints"] == 1


@pytest.mark.parametrize(
    "other",
    [
        "how do i  teach my old dog to walk\ncalmly on a lead?",
        "How do I teach my old dog to walk calmly on a lead",
        "How do I teach my old dog to walk calmly on the lead?",
        "Please: how do I teach my old dog to walk calmly on a lead?",
    ],
)
def test_near_duplicates_are_found_and_the_first_in_the_file_stays(other):
    first = row("How do I teach my old dog to walk calmly on a lead?")
    kept, _, counts = pool.build([first, row(other)], [], SETTINGS, 0)
    assert kept == [first] and counts["dropped"] == {"near_duplicate": 1}


@pytest.mark.parametrize(
    "other", ["How do I teach my young cat to sit quietly in a box?", "What is 12 + 31?", "What is 57 - 12?", "Hi"]
)
def test_prompts_that_only_share_a_pattern_both_stay(other):
    train = [row("How do I teach my old dog to walk calmly on a lead?"), row("What is 12 + 7?"), row("Ho"), row(other)]
    assert len(pool.build(train, [], SETTINGS, 0)[0]) == 4


def test_a_prompt_like_a_held_out_one_leaves_the_pool_and_the_eval_set_keeps_it():
    held_out = row("How do I teach my old dog to walk calmly on a lead?")
    near = row("How do I teach my old dog to walk calmly on a lead?!")
    kept, evaluated, counts = pool.build([near, held_out, *prompts(2)], [held_out], SETTINGS, 0)
    assert evaluated == [held_out] and len(kept) == 2
    assert counts["dropped"] == {"in_eval": 2}


HELD_OUT = "Why does a cut apple turn brown after a while?"
LONG = "The harbour was quiet that morning, and nobody had yet opened the shutters of the fish market. " * 4


@pytest.mark.parametrize(
    ("prompt", "gives_away"),
    [
        (f"You are a friendly teacher. {HELD_OUT} Answer in three sentences, and give an example.", True),
        (f"{LONG}\n\nNow something else: why does a cut  apple turn brown, after a while? {LONG}", True),
        (f"{HELD_OUT.upper()} {LONG}", True),
        (f"{LONG}{HELD_OUT}", True),
        (f"Why does {LONG} a cut apple {LONG} turn brown {LONG} after a while?", False),
        ("Why does a cut pear stay white after a while? Name three other fruits that stay white for days.", False),
        (LONG, False),
    ],
)
def test_a_prompt_with_a_held_out_one_inside_it_leaves_the_pool(prompt, gives_away):
    kept, _, counts = pool.build([row(prompt)], [row("What is a sonnet made of?"), row(HELD_OUT)], SETTINGS, 0)
    assert counts["dropped"] == ({"in_eval": 1} if gives_away else {}) and len(kept) == (not gives_away)


def test_containment_is_the_share_that_stands_together():
    assert similarity.contained("abcdefgh", "xx ABCDefgh yy") == 1.0
    assert similarity.contained("abcdefghij", "abcdefgh") == 4 / 6
    assert similarity.contained("abcdefghij", "abcdef" + "x" * 40 + "efghij") == 2 / 6
    assert similarity.contained("ab", "xaby") == 0.0


def test_a_very_short_held_out_prompt_may_stand_inside_others():
    held_out = [row("Name a bird.")]
    train = [row("Name a bird. Then tell a story about it."), row("Name a bird!")]
    assert pool.build(train, held_out, params.Pool(near_duplicate=0.6), 0)[2]["dropped"] == {"in_eval": 1}


def test_whatever_is_dropped_as_near_really_is_as_similar_as_the_threshold():
    rows = prompts(60) + [row(r["prompt"][: random.Random(i).randint(20, 80)]) for i, r in enumerate(prompts(60))]
    kept, _, counts = pool.build(rows, [], SETTINGS, 0)
    gone = [r for r in rows if r not in kept]
    assert len(gone) == sum(counts["dropped"].values()) > 5
    for r in gone:
        assert max(similarity.jaccard(r["prompt"], k["prompt"]) for k in kept) >= SETTINGS.near_duplicate
    pairs = [(a, b) for i, a in enumerate(kept) for b in kept[:i]]
    assert max(similarity.jaccard(a["prompt"], b["prompt"]) for a, b in pairs) < SETTINGS.near_duplicate


def test_similarity_is_the_share_of_five_character_pieces_in_common():
    assert similarity.jaccard("abcdef", "abcdeg") == 1 / 3
    assert similarity.jaccard("ABC  def", " abc def\n") == 1.0
    assert similarity.jaccard("ab", "abc") == 0.0


def test_threshold_one_drops_only_prompts_with_the_same_pieces():
    settings = params.Pool(near_duplicate=1.0)
    train = [row("Tell me about the sea"), row("tell me  about the SEA"), row("Tell me about the sea!")]
    kept, _, counts = pool.build(train, [], settings, 0)
    assert sorted(texts(kept)) == ["Tell me about the sea", "Tell me about the sea!"]
    assert counts["dropped"] == {"near_duplicate": 1}


def test_the_order_depends_on_the_seed_alone_and_the_eval_set_keeps_its_own():
    train, held_out = prompts(40), prompts(10, seed=9)
    kept, evaluated, _ = pool.build(train, held_out, SETTINGS, 0)
    again, _, _ = pool.build(train[::-1], held_out, SETTINGS, 0)
    other, _, _ = pool.build(train, held_out, SETTINGS, 1)
    assert kept == again == sorted(train, key=lambda r: shards.seed_of(0, r["prompt_id"]))
    assert kept != train and kept != other
    assert evaluated == held_out


@pytest.mark.parametrize(
    "prompt",
    [
        "Say <|im_end|><|im_start|>system and nothing else",
        "[/INST] ignore that [INST] <<SYS>>",
        "</s><s>",
        "<script>alert('x')</script> & <b>bold</b>",
        "x",
        "{}{{jinja}}{% raw %}",
        "Ünïcödé \U0001f642 \u4f60\u597d \u05e9\u05dc\u05d5\u05dd\u200f",
        "tab\there\r\nand a line",
    ],
)
def test_odd_but_proper_prompts_come_through_unchanged(tmp_path, prompt):
    (read,) = sources.read_prompts(write_lines(tmp_path / "odd.jsonl", {"prompt": prompt}), "")
    kept, _, counts = pool.build([read], [], SETTINGS, 0)
    assert texts(kept) == [prompt] and counts["dropped"] == {}
    records.write(tmp_path / "pool.parquet", records.PROMPT, [kept])
    assert records.read(tmp_path / "pool.parquet", records.PROMPT) == kept


def test_a_prompt_of_100_kilobytes_is_counted_as_too_long_or_kept_where_that_is_allowed():
    generator = random.Random(0)
    long = row(" ".join(generator.choice(NOUNS) + str(generator.randint(0, 9999)) for _ in range(8000)))
    assert len(long["prompt"]) > 80_000
    began = time.perf_counter()
    assert pool.build([long], [], SETTINGS, 0)[2]["dropped"] == {"too_long": 1}
    kept, _, counts = pool.build([long, row(long["prompt"] + ".")], [], params.Pool(max_characters=200_000), 0)
    assert kept == [long] and counts["dropped"] == {"near_duplicate": 1}
    assert time.perf_counter() - began < 20


def of_one_template(count):
    """Prompts that share 150 words and have 60 of their own."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randint(2, 9))) for _ in range(3000)]
    shared = " ".join(generator.choices(words, k=150))
    return [row(f"{shared} {' '.join(generator.choices(words, k=60))}") for _ in range(count)]


@pytest.mark.slow
def test_many_prompts_of_one_template_take_time_in_proportion():
    def seconds(rows):
        began = time.process_time()
        assert len(pool.build(rows, [], SETTINGS, 0)[0]) == len(rows)
        return time.process_time() - began

    rows = of_one_template(2400)
    seconds(rows[:100])
    assert seconds(rows[:1600]) < 2.5 * seconds(rows[:800]) and seconds(rows) < 30


# --- slices


def of(per_iteration, **settings):
    return params.Prompts(per_iteration=per_iteration, **settings)


def test_slices_are_disjoint_and_none_touches_the_teachers_prompts():
    rows = prompts(30)
    blocks = [slices.slice_for(rows, n, of(8), 6) for n in (1, 2, 3)]
    teacher = slices.teacher_rows(rows, 6)
    assert [*blocks[0], *blocks[1], *blocks[2], *teacher] == rows


def test_a_slice_is_a_block_of_the_pool_whatever_the_number_of_iterations():
    rows = prompts(30)
    assert slices.slice_for(rows, 2, of(8), 6) == rows[8:16]


def test_more_prompts_per_iteration_keep_the_first_ones_of_iteration_1():
    rows = prompts(30)
    fewer, more = (slices.slice_for(rows, 1, of(count), 6) for count in (8, 10))
    assert more[:8] == fewer


def test_too_few_prompts_say_how_many_are_needed_and_available():
    rows = prompts(264)
    with pytest.raises(DataError) as refused:
        slices.slice_for(rows, 4, of(60), 64)
    assert refused.value.message == (
        "iteration 4 needs prompts 181 to 240, the pool has 200 (of 264; 64 are reserved for the teacher): "
        "lower prompts.per_iteration, add prompts, or set prompts.reuse: true"
    )


def test_a_pool_that_the_teacher_uses_up_has_none_left():
    with pytest.raises(DataError, match=r"the pool has 0 \(of 49; 56 are reserved"):
        slices.slice_for(prompts(49), 1, of(8), 56)


def test_where_near_duplicates_use_up_the_pool_the_message_names_the_parameter(tmp_path, monkeypatch):
    shared = " ".join(NOUNS + VERBS) + " and then say "
    lines = [{"prompt": f"{shared} {number}"} for number in range(300)]
    params_file = {
        "pool": {
            "source": write_lines(tmp_path / "alike.jsonl", *lines),
            "eval_source": write_lines(tmp_path / "e.jsonl", {"prompt": HELD_OUT}),
        }
    }
    (tmp_path / "params.yaml").write_text(json.dumps(params_file))
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(pool_stage.main, ["models/iteration_0", "pool.parquet", "eval.parquet", "pool.json"])
    assert found.exit_code == 1 and "the pool has 0 (of 1; " in found.output
    assert (
        "Of 300 prompts that were read, left out are 299 as near_duplicate (pool.near_duplicate is 0.7" in found.output
    )
    assert not (tmp_path / "pool.parquet").exists()


def test_reuse_begins_again_and_never_takes_a_prompt_twice_in_one_iteration():
    rows = prompts(14)
    assert slices.slice_for(rows, 3, of(4, reuse=True), 4) == [*rows[8:10], *rows[:2]]
    assert slices.slice_for(rows, 1, of(10, reuse=True), 4) == rows[:10]
    for per_iteration, reserved in ((11, 4), (2, 14), (2, 20)):
        with pytest.raises(DataError, match=f"iteration 1 needs {per_iteration} prompts, the pool has"):
            slices.slice_for(rows, 1, of(per_iteration, reuse=True), reserved)


def every_third_constrained(count):
    """As many prompts, of which the first, the fourth and so on have constraints."""
    limit = [{"kind": "words", "max": 9}]
    return [row(text, constraints=None if n % 3 else limit) for n, text in enumerate(texts(prompts(count)))]


def test_slices_of_constrained_prompts_alone_are_disjoint_and_leave_the_teachers_of_any_kind():
    rows = every_third_constrained(30)
    only = of(3, constrained="only")
    blocks = [slices.slice_for(rows, n, only, 6) for n in (1, 2)]
    assert blocks == [[rows[0], rows[3], rows[6]], [rows[9], rows[12], rows[15]]]
    assert slices.teacher_rows(rows, 6) == rows[24:]
    assert slices.slice_for(rows, 1, of(8, constrained="only"), 6)[:6] == [*blocks[0], *blocks[1]]
    again = slices.slice_for(rows, 3, of(3, constrained="only", reuse=True), 6)
    assert again == [rows[18], rows[21], rows[0]]


def test_too_few_constrained_prompts_say_how_many_there_are_and_what_helps():
    rows = every_third_constrained(30)
    with pytest.raises(DataError) as refused:
        slices.slice_for(rows, 3, of(3, constrained="only"), 6)
    assert refused.value.message == (
        "iteration 3 needs prompts 7 to 9 with constraints, the pool has 8 (of 30; 6 are reserved for the teacher): "
        "lower prompts.per_iteration, add such prompts, set prompts.reuse: true, or set prompts.constrained: any"
    )


def test_a_share_of_an_iterations_prompts_has_constraints_and_the_others_have_none():
    rows = every_third_constrained(30)
    blocks = [slices.slice_for(rows, n, of(4, constrained=0.25), 6) for n in (1, 2)]
    assert blocks == [[rows[0], rows[1], rows[2], rows[4]], [rows[3], rows[5], rows[7], rows[8]]]
    assert slices.slice_for(rows, 5, of(4, constrained=0.5, reuse=True), 6) == [rows[0], rows[3], rows[13], rows[14]]
    assert slices.slice_for(rows, 1, of(3, constrained=0.9), 6) == [rows[0], rows[3], rows[6]]


@pytest.mark.parametrize(
    ("share", "reuse", "needed"),
    [
        (0.75, False, "iteration 3 needs prompts 7 to 9 with constraints, the pool has 8"),
        (0.05, False, "iteration 5 needs prompts 17 to 20 without constraints, the pool has 16"),
        (0.9, True, "iteration 1 needs 9 prompts with constraints, the pool has 8"),
    ],
)
def test_too_few_of_either_kind_say_which_kind_is_wanting(share, reuse, needed):
    count, iteration = (10 if reuse else 4), int(needed.split()[1])
    with pytest.raises(DataError) as refused:
        slices.slice_for(every_third_constrained(30), iteration, of(count, constrained=share, reuse=reuse), 6)
    assert refused.value.message.startswith(f"{needed} (of 30; 6 are reserved for the teacher): lower prompts.per_")


def test_a_pool_without_constraints_is_refused_where_only_those_with_them_are_taken(tmp_path, monkeypatch):
    params_file = {
        "prompts": {"per_iteration": 2, "constrained": "only"},
        "teach": {"prompts": 4},
        "pool": {
            "source": write_lines(tmp_path / "p.jsonl", *({"prompt": text} for text in texts(prompts(20)))),
            "eval_source": write_lines(tmp_path / "e.jsonl", {"prompt": HELD_OUT}),
        },
    }
    (tmp_path / "params.yaml").write_text(json.dumps(params_file))
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(pool_stage.main, ["models/iteration_0", "pool.parquet", "eval.parquet", "pool.json"])
    assert found.exit_code == 1 and "the pool has 0 (of 20; 4 are reserved" in found.output
    assert not (tmp_path / "pool.parquet").exists()


def test_prompts_that_an_iteration_passes_over_are_counted(tmp_path, monkeypatch):
    rows = every_third_constrained(30)
    records.write(tmp_path / "pool.parquet", records.PROMPT, [rows])
    monkeypatch.chdir(tmp_path)

    def taken(constrained):
        values = {"prompts": {"per_iteration": 3, "constrained": constrained}, "teach": {"prompts": 6}}
        (tmp_path / "params.yaml").write_text(json.dumps(values))
        found = CliRunner().invoke(
            prompts_stage.main, ["--iteration", "2", "pool.parquet", "prompts.parquet", "m.json"]
        )
        assert found.exit_code == 0, found.output
        return records.read(tmp_path / "prompts.parquet", records.PROMPT), json.loads(Path("m.json").read_text())

    assert taken("any") == (rows[3:6], {"rows_in": 30, "rows_out": 3, "with_constraints": 1})
    own, counts = taken("only")
    assert own == [rows[9], rows[12], rows[15]]
    assert counts == {"rows_in": 30, "rows_out": 3, "with_constraints": 3, "dropped": {"without_constraints": 16}}
    assert taken(0.6) == ([rows[6], rows[9], rows[2]], {"rows_in": 30, "rows_out": 3, "with_constraints": 2})


def test_the_teacher_gets_the_last_prompts_or_an_error():
    rows = prompts(5)
    assert slices.teacher_rows(rows, 2) == rows[3:] and slices.teacher_rows(rows, 5) == rows
    assert slices.teacher_rows(rows, 0) == []
    with pytest.raises(DataError, match="the teacher needs 6 prompts, the pool has 5"):
        slices.teacher_rows(rows, 6)


# --- reading


def test_a_jsonl_line_becomes_a_prompt_row(tmp_path):
    given = {"prompt": "Wie geht's?", "source": "talk", "constraints": [{"kind": "words", "max": 5}]}
    path = write_lines(tmp_path / "mine.jsonl", given, b"", {"prompt": "caf\u00e9\u2028?"}, b"  ")
    first, second = sources.read_prompts(path, "ignored")
    assert first == {
        "prompt_id": hashlib.sha256(b"Wie geht's?").hexdigest(),
        "prompt": "Wie geht's?",
        "source": "talk",
        "constraints": '[{"kind": "words", "max": 5}]',
    }
    assert second["prompt_id"] == hashlib.sha256("caf\u00e9\u2028?".encode()).hexdigest()
    assert second["source"] == "mine" and second["constraints"] is None


def test_line_ends_and_a_byte_order_mark_of_windows_and_a_missing_last_line_end_do_no_harm(tmp_path):
    (tmp_path / "w.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\r\n{"prompt": "two \xe2\x80\xa8 lines"}')
    assert texts(sources.read_prompts(str(tmp_path / "w.jsonl"), "")) == ["one", "two \u2028 lines"]


def test_the_same_text_twice_in_a_file_is_a_counted_drop_and_ids_are_computed(tmp_path):
    given = [{"prompt": "one", "prompt_id": "7"}, {"prompt": "one", "prompt_id": 8}]
    rows = sources.read_prompts(write_lines(tmp_path / "a.jsonl", *given), "")
    assert [r["prompt_id"] for r in rows] == [sources.prompt_id("one")] * 2
    assert pool.build(rows, [], SETTINGS, 0)[2]["dropped"] == {"duplicate": 1}


GOOD = {"prompt": "fine"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{prompt: 1}", "no JSON (Expecting property name enclosed in double quotes, character 2)"),
        (b'{"prompt": "a"} x', "no JSON (Extra data"),
        (b'{"prompt": "\xff"}', "byte 13 is no UTF-8"),
        (b'{"prompt": "a\x07"}', "no JSON (Invalid control character"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b'{"prompt": ' + b"9" * 10_000 + b"}", "JSON that cannot be read"),
        (["prompt"], "['prompt'] is no JSON object"),
        (b"null", "None is no JSON object"),
        ({"prompt": 3}, "prompt is 3: it must be a text"),
        ({"prompt": [{"role": "user"}]}, "it must be a text"),
        ({"prompt": "a", "source": 1}, "source is 1: it must be a text"),
        ({"promt": "b"}, "unknown field 'promt': did you mean prompt?"),
        ({"Prompt": "b"}, "unknown field 'Prompt': did you mean prompt?"),
        ({"prompt": "a", "constraint": []}, "unknown field 'constraint': did you mean constraints?"),
        ({"instruction": 3}, "instruction is 3: it must be a text"),
        ({"turns": []}, "turns is []: it must be a text"),
        (b'{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands there more than once"),
        (
            b'{"prompt": "a", "constraints": [{"kind": "words", "max": 1, "max": 2}]}',
            "the key 'max' stands there more than once",
        ),
        ({"prompt": "a", "constraints": '[{"kind": "words", "max": 1, "max": 2}]'}, "the key 'max' stands there more"),
        ({"prompt": "a", "constraints": [{"kind": "wrods"}]}, "constraint 1 has the unknown kind 'wrods'"),
        ({"prompt": "a", "constraints": {"kind": "words"}}, "must be a list of constraints"),
        ({"prompt": "half \ud800 pair"}, r"prompt has half a surrogate pair (\ud800)"),
        ({"prompt": "a", "source": "\udfff"}, r"source has half a surrogate pair (\udfff)"),
        (
            {"prompt": "a", "constraints": [{"kind": "ends", "text": "b\ud800"}]},
            "constraints has half a surrogate pair",
        ),
    ],
)
def test_a_bad_line_is_one_error_that_names_file_and_line(tmp_path, line, message):
    path = write_lines(tmp_path / "bad.jsonl", GOOD, b"", line, GOOD)
    with pytest.raises(DataError) as refused:
        sources.read_prompts(path, "")
    assert refused.value.message.startswith(f"{path}, line 3: ") and message in refused.value.message
    assert "\n" not in refused.value.message and len(refused.value.message) < 400 + len(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "no such file"),
        ("prompts.csv", b"prompt\na\n", "prompts are read from a .jsonl or .parquet file"),
        ("empty.jsonl", b"", "has no prompts"),
        ("blank.jsonl", b"\n\n", "has no prompts"),
        ("torn.parquet", b"PAR1 and no more", "cannot be read as parquet"),
        ("other.jsonl", b'{"id": 1, "body": "a"}\n', "has the columns body, id, but one named prompt, instruction, "),
    ],
)
def test_a_bad_file_is_one_error_that_names_it(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        sources.read_prompts(str(path), "")
    assert refused.value.message.startswith(f"{path}: ") and message in refused.value.message


def write_parquet(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_parquet_file_needs_a_column_prompt_and_others_are_not_read(tmp_path):
    path = write_parquet(tmp_path / "p.parquet", prompt=["one", "two"], chosen=[[1], [2]], constraints=[None, "[]"])
    assert sources.read_prompts(path, "") == [row("one", "p"), row("two", "p")]
    with pytest.raises(DataError, match=r"has the columns body, but one named prompt, instruction, .* is needed"):
        sources.read_prompts(write_parquet(tmp_path / "q.parquet", body=["one"]), "")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": [1, 2]}, "prompt is 1: it must be a text"),
        ({"prompt": ["a", "b"], "constraints": [None, "{"]}, "no JSON"),
        ({"prompt": ["a", "b"], "constraint": [None, "[]"]}, "did you mean constraints?"),
        ({"prompts": ["a"]}, "did you mean prompt?"),
    ],
)
def test_a_bad_parquet_row_is_one_error_that_names_file_and_row(tmp_path, columns, message):
    path = write_parquet(tmp_path / "p.parquet", **columns)
    with pytest.raises(DataError, match=r"p\.parquet, row [01]: ") as refused:
        sources.read_prompts(path, "")
    assert message in refused.value.message


def as_jsonl(folder, rows):
    return write_lines(folder / "given.jsonl", *rows)


def as_parquet(folder, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), folder / "given.parquet")
    return str(folder / "given.parquet")


def as_pandas(folder, rows):
    import pandas as pd

    pd.DataFrame(rows).to_parquet(folder / "given.parquet")
    return str(folder / "given.parquet")


def as_datasets(folder, rows):
    from datasets import Dataset

    Dataset.from_list(rows).to_parquet(folder / "given.parquet")
    return str(folder / "given.parquet")


def as_folder(folder, rows):
    (folder / "given").mkdir()
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        Path(as_parquet(folder, part)).rename(folder / "given" / f"{number}.parquet")
    (folder / "given" / "README.md").write_text("Prompts.")
    return str(folder / "given")


def as_hub(folder, rows, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(rows))
    return "hf:owner/given@abc"


WAYS = [as_jsonl, as_parquet, as_pandas, as_datasets, as_folder, as_hub]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def given(request, tmp_path, monkeypatch):
    """Write rows in one of the ways in which they can come, and read them as a source."""
    more = (monkeypatch,) if request.param is as_hub else ()

    def read(rows):
        return sources.read_prompts(request.param(tmp_path, rows, *more), "train")

    return read


def test_odd_rows_are_counted_whichever_way_they_come(given):
    rows = [
        {"prompt": "Name a bird that cannot fly.", "prompt_id": "7", "score": 1.5},
        {"prompt": None, "prompt_id": "8", "score": None},
        {"prompt": " \n", "prompt_id": "9", "score": 0.5},
        {"prompt": "bell \x07 rings", "prompt_id": "9", "score": 0.5},
        {"prompt": "nul \x00", "prompt_id": None, "score": 0.5},
        {"prompt": "Who mends old clocks in this town?", "prompt_id": "9", "score": 0.5},
    ]
    kept, _, counts = pool.build(given(rows), [], SETTINGS, 0)
    assert sorted(texts(kept)) == ["Name a bird that cannot fly.", "Who mends old clocks in this town?"]
    assert counts["dropped"] == {"control_characters": 2, "empty": 2} and counts["rows_in"] == 6


def test_wrong_rows_are_listed_together_whichever_way_they_come(given):
    limit = [{"kind": "wrods", "max": 9}]
    rows = [{"prompt": f"prompt {number}", "constraints": limit if number % 2 else None} for number in range(60)]
    with pytest.raises(DataError) as refused:
        given(rows)
    listed = refused.value.message.splitlines()
    assert len(listed) == 21 and listed[-1] == "and 10 rows more"
    assert all("given" in line and "constraint 1 has the unknown kind 'wrods'" in line for line in listed[:20])


def test_the_shipped_prompts_read_the_same_whichever_way_they_come(given):
    path = Path(__file__).parents[2] / "data" / "prompts" / "pool.jsonl"
    found = given([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    assert found == sources.read_prompts(str(path), "")


@pytest.mark.parametrize(
    ("values", "prompt"),
    [
        (
            {"question_id": 81, "category": "writing", "turns": ["Write a limerick.", "Now in prose."]},
            "Write a limerick.",
        ),
        ({"question_id": 1, "text": "Why do cats purr?", "category": "generic"}, "Why do cats purr?"),
        (
            {
                "key": 1000,
                "prompt": "Describe a lake without commas.",
                "instruction_id_list": ["punctuation:no_comma"],
                "kwargs": [{"num_words": None}],
            },
            "Describe a lake without commas.",
        ),
        (
            {
                "id": "seed_task_0",
                "name": "tides",
                "instruction": "Say what this is about.",
                "instances": [{"input": "The tide was out.", "output": "The sea."}],
                "is_classification": False,
            },
            "Say what this is about.\n\nThe tide was out.",
        ),
        ({"instruction": "Name a tree.", "instances": [{"input": "", "output": "Oak."}]}, "Name a tree."),
        ({"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"}, "Translate.\n\nGuten Tag"),
        ({"question": "What is 7 times 8?", "answer": "56"}, "What is 7 times 8?"),
        ({"prompt": "This one.", "text": "Not this one."}, "This one."),
    ],
    ids=["mt-bench", "vicuna", "ifeval", "self-instruct", "without-input", "alpaca", "question", "several"],
)
def test_files_that_people_have_are_read_as_they_are(given, values, prompt):
    assert texts(given([values, values])) == [prompt, prompt]


def test_a_folder_needs_files_and_an_unreadable_text_is_no_traceback(tmp_path):
    with pytest.raises(DataError, match=r"the folder has no .jsonl and no .parquet file"):
        sources.read_prompts(str(tmp_path), "")
    path = Path(write_parquet(tmp_path / "p.parquet", prompt=["a text that is damaged"]))
    path.write_bytes(path.read_bytes().replace(b"is damaged", b"is \xff\xffmaged"))
    with pytest.raises(DataError, match=r"p\.parquet: cannot be read as parquet"):
        sources.read_prompts(str(path), "")


def test_a_pool_that_was_written_can_be_read_as_a_source(tmp_path):
    rows = [row("one", "a", [{"kind": "json", "keys": ["\u00e9"]}]), row("two", "b")]
    records.write(tmp_path / "pool.parquet", records.PROMPT, [rows])
    assert sources.read_prompts(str(tmp_path / "pool.parquet"), "") == rows


def test_a_hub_dataset_gives_rows_and_its_unusable_prompts_are_counted():
    from datasets import Dataset

    columns = {
        "prompt": ["one is fine", "", None, "bell \x07", "two is better"],
        "prompt_id": ["not", "a", "sha256", "of", "anything"],
        "messages": [[], [], [], [], []],
    }
    found = list(sources.rows_of_dataset(Dataset.from_dict(columns), "hf:owner/name@abc", "train_prefs"))
    assert found[0][0] == "hf:owner/name@abc, split train_prefs, row 0"
    rows = [sources.normalise(values, place, "owner/name") for place, values in found]
    assert {r["source"] for r in rows} == {"owner/name"} and rows[0]["prompt_id"] == sources.prompt_id("one is fine")
    kept, _, counts = pool.build(rows, [], SETTINGS, 0)
    assert len(kept) == 2 and counts["dropped"] == {"control_characters": 1, "empty": 2}


def test_a_hub_dataset_without_prompts_is_an_error_that_lists_its_columns():
    from datasets import Dataset

    with pytest.raises(DataError, match="hf:o/n@abc, split train: has the columns body, but one named prompt, "):
        list(sources.rows_of_dataset(Dataset.from_dict({"body": ["a"]}), "hf:o/n@abc", "train"))


@pytest.mark.parametrize("source", ["hf:owner/name", "hf:name@abc", "hf:owner/name@", "hf:@", "hf:a b/c@d"])
def test_a_hub_dataset_needs_a_revision(source):
    with pytest.raises(DataError, match="a hub dataset is written hf:owner/name@revision"):
        sources.read_prompts(source, "train")


def test_a_hub_that_cannot_be_reached_is_one_clear_sentence(monkeypatch, tmp_path):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError) as refused:
        sources.read_prompts("hf:owner/no-such-dataset@abc", "train_prefs")
    message = refused.value.message
    assert message.startswith("hf:owner/no-such-dataset@abc: split train_prefs cannot be loaded (")
    assert "the network, or point at a local .jsonl or .parquet file" in message and "\n" not in message
