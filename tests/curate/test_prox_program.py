"""Programs and their interpreter: any string is a program or names its errors, and execution agrees with a plain reference."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metier.curate.prox.interpreter import MOST_CHANGED, ChunkProgram, Executed, execute, judge
from metier.curate.prox.program import (
    KINDS,
    LONGEST_LINE,
    MOST_CALLS,
    Drop,
    Keep,
    Normalize,
    Program,
    RemoveLines,
    merged,
    parse,
    quoted,
    written,
)

PIECES = [
    "remove_lines(",
    "normalize(",
    "drop_doc()",
    "keep_chunk()",
    "keep_doc(",
    "0",
    "1, 2",
    "-1",
    "10**9",
    '"a b"',
    "'x=1)'",
    ")",
]
PIECES += [
    "line_start=",
    "source_str=",
    ",",
    "#",
    "\n",
    "\r",
    "\\",
    "(",
    "[",
    "*",
    "**",
    "f'{x}'",
    "b'x'",
    "True",
    "1e3",
    "\0",
    "\ud800",
    "```",
    '"""',
]
PIECES += ["__import__('os').system('x')", "lambda: 0", "if", "=", ":=", "é", "\u2028"]
near_programs = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map("".join)
any_text = st.text(st.characters(exclude_categories=[]), max_size=200)


@settings(max_examples=400)
@given(any_text | near_programs, st.sampled_from(["document", "chunk"]))
@example("(" * 5_000, "chunk")
@example("normalize(" + "-" * 7_000 + "1)", "chunk")
@example("normalize(" + "(" * 3_900 + ")" * 3_900 + ")", "chunk")
@example("remove_lines(" + "9" * 6_000 + ", 1)", "chunk")
@example("normalize(" + "[" * 150 + "]" * 150 + ")", "chunk")
@example("normalize(a" + ".b" * 3_000 + ")", "chunk")
@example("normalize('x' " + "'y' " * 1_900 + ")", "chunk")
def test_any_string_is_a_program_or_names_its_errors(text, level):
    program = parse(text, level)
    assert all(problem.kind in KINDS and len(problem.call) <= 120 for problem in program.problems)
    assert len(program.calls) + len(program.problems) <= MOST_CALLS + 1
    kinds = (Drop, Keep) if level == "document" else (RemoveLines, Normalize, Keep)
    assert all(isinstance(call, kinds) for call in program.calls)
    for call in program.calls:
        if isinstance(call, RemoveLines):
            assert 0 <= call.first <= call.last and type(call.first) is int
        if isinstance(call, Normalize):
            call.target.encode()
            assert "\n" not in call.source + call.target and "\0" not in call.source + call.target


@given(
    st.lists(
        st.integers(0, 3_000).flatmap(lambda n: st.builds(RemoveLines, st.just(n), st.integers(n, n + 9)))
        | st.builds(
            Normalize, st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), st.text("\tab\"'\\,=)( é", max_size=8)
        ),
        max_size=8,
    )
)
def test_what_is_written_is_read_back(calls):
    program = parse(written(calls, "chunk"), "chunk")
    assert program == Program(tuple(calls) or (Keep(),))


def test_a_strings_commas_equals_signs_and_parentheses_are_characters():
    program = parse(
        'normalize("a, b", "c")\nnormalize(source_str="http://x.org/?a=1")\nnormalize("f(x) = 2)", target_str="")', "chunk"
    )
    assert program.calls == (Normalize("a, b", "c"), Normalize("http://x.org/?a=1"), Normalize("f(x) = 2)"))
    assert parse("# why\n```python\nremove_lines(line_end=3, line_start=1)  # menu\n```", "chunk") == Program(
        (RemoveLines(1, 3),)
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("remove_lines(3, 1)", "range"),
        ("remove_lines(-1, 2)", "arguments"),
        ("remove_lines(1)", "arguments"),
        ("remove_lines(1, 2, 3)", "arguments"),
        ("remove_lines(1, line_start=2)", "arguments"),
        ("remove_lines(True, False)", "arguments"),
        ("remove_lines(0.0, 1)", "arguments"),
        ("remove_lines('0', 1)", "arguments"),
        ("remove_lines(*[0, 1])", "arguments"),
        ("remove_lines(**{'line_start': 0, 'line_end': 1})", "arguments"),
        ("remove_lines(0, 1 + 1)", "arguments"),
        ("remove_lines(0, len('ab'))", "arguments"),
        ("remove_lines(003, 4)", "syntax"),
        ("remove_lines(0, 3", "syntax"),
        ("remove_lines(0, 3); normalize('a')", "syntax"),
        ("remove_lines(0, 3) if 1 else 2", "syntax"),
        ("remove_lines(0, 3)(1)", "syntax"),
        ("normalize(f'{1}x')", "arguments"),
        ("normalize(b'ab')", "arguments"),
        ("normalize('ab', None)", "arguments"),
        ("normalize('a\\nb')", "characters"),
        ("normalize('ab', '\\ud800')", "characters"),
        ("normalize('ab', '\\x00')", "characters"),
        ("normalize('ab', '\\u2028')", "characters"),
        ("normalize('ab\0')", "syntax"),
        ("drop_doc()", "wrong level"),
        ("keep_chunk(1)", "arguments"),
        ("exec('1')", "unknown name"),
        ("x" * LONGEST_LINE + "()", "syntax"),
    ],
)
def test_a_refused_call_says_why_and_the_others_stand(line, kind):
    program = parse(f"remove_lines(5, 5)\n{line}\nkeep_chunk()", "chunk")
    assert program.calls == (RemoveLines(5, 5), Keep())
    assert [problem.kind for problem in program.problems] == [kind]
    assert str(program.problems[0]).startswith(f"{kind}: {line[:20]}")


def test_prose_is_no_program_and_no_error():
    program = parse("This text is fine.\n1. remove_lines(0, 2)\nNothing (really) to do", "chunk")
    assert program == Program(num_prose=3) and program.empty
    assert parse("Sure:\nkeep_chunk()", "chunk") == Program((Keep(),), num_prose=1)


def test_a_documents_decision():
    assert [parse(text, "document").decision for text in ("drop_doc()", "keep_doc()", "untouch_doc()", "drop it", "")] == [
        "drop", "keep", "keep", None, None,
    ]  # fmt: skip
    both = parse("drop_doc()\nkeep_doc()", "document")
    assert both.decision is None and [problem.kind for problem in both.problems] == ["contradiction"]
    assert parse("drop_doc()\ndrop_doc()", "document").decision == "drop"


def test_a_program_has_an_end():
    program = parse("remove_lines(0, 0)\n" * 1_000, "chunk")
    assert len(program.calls) == MOST_CALLS and [problem.kind for problem in program.problems] == ["too many calls"]


def test_parsing_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("normalize(open('made', 'w').name)", "open('made', 'w')", "normalize(__import__('os').mkdir('made'))"):
        assert parse(text, "chunk").problems
    assert not list(tmp_path.iterdir())


def test_programs_of_the_same_lines_are_merged():
    some = [parse("remove_lines(0, 2)\nremove_lines(9, 9)", "chunk"), parse('remove_lines(3, 5)\nnormalize("ab")', "chunk")]
    some += [parse('keep_chunk()\nnormalize("ab")\nremove_lines(2, 1)\nwell', "chunk")]
    found = merged(some)
    assert found.calls == (RemoveLines(0, 5), RemoveLines(9, 9), Normalize("ab"))
    assert [problem.kind for problem in found.problems] == ["range"] and found.num_prose == 1
    assert merged([parse("keep_chunk()", "chunk")] * 3) == Program((Keep(),))


LETTERS = "ab c"
texts = st.lists(st.text(LETTERS, max_size=8), min_size=1, max_size=9).map("\n".join)
calls = st.lists(
    st.builds(RemoveLines, st.integers(0, 10), st.integers(0, 10)).filter(lambda call: call.first <= call.last)
    | st.builds(Normalize, st.text(LETTERS, max_size=3), st.text(LETTERS, max_size=4)),
    max_size=5,
)


def reference(text, programs):
    """The rules once more, one line and one call at a time."""
    lines = dict(enumerate(text.split("\n")))
    gone, refused, missed, replaced = set(), 0, 0, 0
    for calls, start, stop in programs:
        budget = int(sum(len(lines[n]) for n in range(start, stop)) * MOST_CHANGED)
        for call in calls:
            if isinstance(call, RemoveLines):
                asked = set(range(call.first, call.last + 1))
                if asked <= set(range(start, stop)):
                    gone |= asked
                else:
                    refused += 1
                continue
            if len(call.source.replace(" ", "")) < 2:
                refused += 1
                continue
            parts = {n: lines[n].split(call.source) for n in range(start, stop)}
            count = sum(len(part) - 1 for part in parts.values())
            cost = count * max(len(call.source), len(call.target))
            if cost > budget:
                refused += 1
                continue
            budget, replaced, missed = budget - cost, replaced + count, missed + (count == 0)
            lines |= {n: call.target.join(part) for n, part in parts.items()}
    return "\n".join(lines[n] for n in lines if n not in gone), gone, replaced, missed, refused


@st.composite
def documents(draw):
    text = draw(texts)
    num_lines = len(text.split("\n"))
    cut = draw(st.integers(0, num_lines))
    spans = [(start, stop) for start, stop in ((0, cut), (cut, num_lines)) if start < stop]
    return text, [(draw(calls), start, stop) for start, stop in spans]


@settings(max_examples=400)
@given(documents())
def test_execution_is_what_the_reference_does(document):
    text, programs = document
    done = execute(text, [ChunkProgram(Program(tuple(calls)), start, stop) for calls, start, stop in programs])
    assert (done.text, done.removed, done.replaced, done.missed, len(done.problems)) == reference(text, programs)


@settings(max_examples=200)
@given(documents())
def test_execution_keeps_its_promises(document):
    text, programs = document
    parsed = [ChunkProgram(Program(tuple(calls)), start, stop) for calls, start, stop in programs]
    done = execute(text, parsed)
    assert len(done.text) <= (1 + MOST_CHANGED) * len(text)
    if not any(isinstance(call, Normalize) and len(call.target) > len(call.source) for calls, *_ in programs for call in calls):
        assert len(done.text) <= len(text)
    only_lines = [
        ChunkProgram(Program(tuple(c for c in p.program.calls if isinstance(c, RemoveLines))), p.start, p.stop) for p in parsed
    ]
    rest = iter(text.split("\n"))
    removed = execute(text, only_lines)
    if len(removed.removed) < len(text.split("\n")):
        assert all(line in rest for line in removed.text.split("\n")), "the lines left are a subsequence"
    twice = [ChunkProgram(Program(p.program.calls * 2), p.start, p.stop) for p in only_lines]
    assert execute(text, twice).text == removed.text


@given(any_text, any_text)
def test_no_answer_to_any_text_raises(text, answer):
    num_lines = len(text.split("\n"))
    done = execute(text, [ChunkProgram(parse(answer, "chunk"), 0, num_lines)])
    judge(text, done, drop_ratio=0.95, min_keep_ratio=0.0, max_errors=2, min_words=10)


def test_replacements_come_before_removals_and_stay_in_their_chunk():
    text = "ad: one\ntwo ad:\nad: three and much more of it"
    first = ChunkProgram(parse('remove_lines(1, 1)\nnormalize("ad: ", "")', "chunk"), 0, 2)
    second = ChunkProgram(parse("keep_chunk()", "chunk"), 2, 3)
    assert execute(text, [first, second]) == Executed("one\nad: three and much more of it", frozenset({1}), 1, 0, ())


def test_the_releases_accidents_can_not_happen():
    text = "the bees fly\nthe end of the page"
    for program, kind in (
        ('normalize(" ")', "source too short"),
        ('normalize("e","")', "source too short"),
        ("remove_lines(1, 2)", "lines not shown"),
    ):
        done = execute(text, [ChunkProgram(parse(program, "chunk"), 0, 2)])
        assert done.text == text and [problem.kind for problem in done.problems] == [kind]
    grown = execute("ab" * 20, [ChunkProgram(parse('normalize("ab", "a hundred times as long")', "chunk"), 0, 1)])
    assert grown.text == "ab" * 20 and [problem.kind for problem in grown.problems] == ["changes too much"]


def test_a_chunk_outside_its_document_is_refused():
    with pytest.raises(ValueError, match=r"lines 1 to 2 is outside a document of 2 lines"):
        execute("a\nb", [ChunkProgram(Program(), 1, 3)])


def test_acceptance_is_the_papers():
    """The five outcomes by hand, on a document of 100 words."""
    before = " ".join(["word"] * 100)

    def verdict(num_words, num_errors, **settings):
        problems = parse("remove_lines(2, 1)\n" * num_errors, "chunk").problems
        done = Executed(" ".join(["word"] * num_words), frozenset(), 0, 0, problems)
        return judge(before, done, **({"drop_ratio": 0.95, "min_keep_ratio": 0.0, "max_errors": 2, "min_words": 10} | settings))

    assert [verdict(5, 1), verdict(6, 1), verdict(10, 0), verdict(11, 1)] == [
        "mostly removed",
        "too few words",
        "too few words",
        "accepted",
    ]
    assert [verdict(5, 2), verdict(11, 2), verdict(100, 2), verdict(100, 0)] == ["too few words", "errors", "errors", "unchanged"]
    assert [verdict(49, 0, min_keep_ratio=0.5), verdict(50, 0, min_keep_ratio=0.5)] == ["errors", "accepted"]
    assert [verdict(11, 2, max_errors=3), verdict(40, 0, drop_ratio=0.6), verdict(9, 0, min_words=8)] == [
        "accepted",
        "mostly removed",
        "accepted",
    ]
    empty = Executed("", frozenset(), 0, 0, ())
    assert judge("", empty, drop_ratio=0.95, min_keep_ratio=0.0, max_errors=2, min_words=10) == "too few words"


def test_quoting_is_on_one_line_and_printable():
    for character in map(chr, range(0x180)):
        assert quoted(character).isprintable() or character in "\x80\x81" or 0x7F < ord(character) < 0xAE
    assert quoted(string.punctuation)[0] == '"'
