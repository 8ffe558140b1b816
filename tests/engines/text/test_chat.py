import pytest
from tokenizers.processors import TemplateProcessing

from metier.engines.text.chat import tokenize_example, tokenize_examples
from metier.engines.text.sequences import IGNORED
from metier.models.source import open_model

TALK = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "second answer"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return open_model("tiny").tokenizer()


def learnt(sequence, tokenizer):
    return tokenizer.decode([label for label in sequence.labels if label != IGNORED])


def test_each_assistant_turn_with_its_end_is_learnt_and_nothing_else(tokenizer):
    sequence = tokenize_example({"messages": TALK}, tokenizer)
    assert learnt(sequence, tokenizer) == "first answer<|im_end|>\nsecond answer<|im_end|>\n"
    for place, label in enumerate(sequence.labels):
        if label != IGNORED:
            assert label == sequence.input_ids[place + 1]


def test_of_prompt_and_completion_only_the_completion_is_learnt(tokenizer):
    both = {"prompt": TALK[:3], "completion": TALK[3:]}
    assert learnt(tokenize_example(both, tokenizer), tokenizer) == "second answer<|im_end|>\n"
    texts = {"prompt": "2 + 2 =", "completion": " 4"}
    assert learnt(tokenize_example(texts, tokenizer), tokenizer) == " 4<|im_end|>"
    assert learnt(tokenize_example({"prompt": "", "completion": "x"}, tokenizer), tokenizer) == "x<|im_end|>"


@pytest.mark.parametrize("source", ["tiny", "smollm2"])  # the second one's template opens with a system prompt of its own
def test_a_first_turn_of_the_assistant_is_learnt_without_what_the_template_puts_before_it(source):
    tokenizer = open_model(source).tokenizer()
    talk = [{"role": "assistant", "content": "Hello"}, *TALK[:2]]
    assert learnt(tokenize_example({"messages": talk}, tokenizer), tokenizer) == "Hello<|im_end|>\nfirst answer<|im_end|>\n"


def test_a_tokenizer_that_ends_texts_with_eos_itself_ends_them_once():
    tokenizer = open_model("tiny").tokenizer()
    end = (tokenizer.eos_token, tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    sequence = tokenize_example({"prompt": "2 + 2 =", "completion": " 4"}, tokenizer)
    assert learnt(sequence, tokenizer) == " 4<|im_end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "has neither messages nor prompt and completion; its columns are"),
        ({"prompt": "x", "completion": ""}, "empty completion"),
        ({"prompt": "x", "completion": TALK}, "must both be texts, or both lists"),
        ({"messages": TALK[:1]}, "no answer of the assistant"),
    ],
)
def test_an_example_without_an_answer_is_named(row, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        tokenize_example(row, tokenizer, name="example 7")


def test_messages_need_a_chat_template(tokenizer):
    bare = open_model("tiny").tokenizer()
    bare.chat_template = None
    with pytest.raises(ValueError, match=r"example 7 holds messages, and the tokenizer .* has no chat template"):
        tokenize_example({"messages": TALK}, bare, name="example 7")


def test_examples_too_long_are_counted_not_cut(tokenizer):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b" * 500}]
    kept, too_long = tokenize_examples(iter(rows), tokenizer, longest=50)
    assert (len(kept), too_long) == (1, 1)
