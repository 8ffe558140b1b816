"""F1 of refiners against counts by hand."""

import pytest
from pydantic_core import to_jsonable_python

from metier.artifacts import Examples
from metier.curate.prox.measure import measure
from metier.models.language_model import Completion


class Scripted:
    """Answers each prompt from a table."""

    name = "scripted"

    def __init__(self, answers):
        self.answers = answers

    def generate(self, prompts, *, max_new_tokens=256, temperature=0.0, top_p=1.0, stop=(), seed=0):
        return [
            self.answers[prompt] if isinstance(self.answers[prompt], Completion) else Completion(self.answers[prompt])
            for prompt in prompts
        ]


def example(prompt, completion, level="chunk", text="a\nb\nc\nd\ne [x] and more", start=0):
    return {"prompt": prompt, "completion": completion, "level": level, "text": text, "start": start}


def test_lines_are_counted_over_all_chunks():
    rows = [
        example("1", "remove_lines(0, 2)"),  # TP 2, FP 1, FN 1
        example("2", "keep_chunk()"),  # nothing named
        example("3", 'normalize(" [x]")\nremove_lines(13, 13)', start=10),  # TP 1, and the very text
        example("4", "remove_lines(0, 0)"),  # prose: FN 1
        example("5", "remove_lines(1, 1)"),  # outside: FN 1
    ]
    answers = {
        "1": "remove_lines(1, 3)",
        "2": "keep_chunk()",
        "3": 'remove_lines(13, 13)\nnormalize(" [x]", "")',
        "4": "Well.",
        "5": "remove_lines(1, 9)",
    }
    found = measure(Examples.from_rows(rows), Scripted(answers))
    assert found.document is None and found.model == "scripted"
    chunk = found.chunk
    assert chunk.f1.value == pytest.approx(2 * 3 / (2 * 3 + 1 + 3)) and chunk.f1.low < chunk.f1.value < chunk.f1.high
    assert (chunk.precision, chunk.recall) == (3 / 4, 3 / 6)
    assert (chunk.num_examples, chunk.exact, chunk.no_program) == (5, 2 / 5, 1 / 5)
    assert chunk.problems == {"lines not shown": 1}
    to_jsonable_python(found)


def test_documents_count_by_those_kept():
    says = [("keep_doc()", "keep_doc()"), ("keep_doc()", "drop_doc()"), ("drop_doc()", "hm"), ("drop_doc()", "drop_doc()")]
    rows = [example(str(n), truth, "document") for n, (truth, _) in enumerate(says)]
    document = measure(Examples.from_rows(rows), Scripted({str(n): said for n, (_, said) in enumerate(says)})).document
    # kept by both 1, by the refiner alone 1 (no decision keeps), by the examples alone 1
    assert document.f1.value == 0.5 and (document.precision, document.recall, document.exact) == (0.5, 0.5, 0.5)
    assert document.no_program == 0.25


def test_messages_are_examples_too():
    rows = [example([{"role": "user", "content": "1"}], [{"role": "assistant", "content": "remove_lines(0, 0)"}])]

    class Chat(Scripted):
        def generate(self, prompts, **settings):
            return super().generate([prompt[-1]["content"] for prompt in prompts], **settings)

    assert measure(Examples.from_rows(rows), Chat({"1": "remove_lines(0, 0)"})).chunk.f1.value == 1.0


def test_of_nothing_named_nothing_is_wrong():
    chunk = measure(Examples.from_rows([example("1", "keep_chunk()")]), Scripted({"1": "keep_chunk()"})).chunk
    assert (chunk.f1.value, chunk.precision, chunk.recall) == (1.0, 1.0, 1.0)


def test_other_examples_and_silent_models_are_refused():
    with pytest.raises(ValueError, match=r"the examples lack \['level', 'start', 'text'\]"):
        measure(Examples.from_rows([{"prompt": "a", "completion": "b"}]), Scripted({}))
    with pytest.raises(RuntimeError, match="scripted gave no answer: down"):
        measure(Examples.from_rows([example("1", "keep_chunk()")]), Scripted({"1": Completion("", error="down")}))
