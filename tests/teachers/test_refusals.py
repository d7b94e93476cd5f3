"""What counts as a refusal, and what only sounds like one."""

import pytest

from harness.teachers.refusals import is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist.",
        "Sorry, I cannot do this.",
        "I apologize, but as an AI I have no body.",
        "Unfortunately, I am unable to browse the web.",
        "As an AI language model, I cannot have opinions.",
        "  \n*I cannot provide* instructions for that.",
        "I will not write this.",
    ],
)
def test_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Here is how: say sorry, but mean it.",
        "I can help. I cannot stress this enough: wear gloves.",
        "As an example, I do not need milk.",
        "I am not alone in thinking so.",
        "Sorrento is a town in Italy.",
        "As an air pilot, I cannot fly.",
    ],
)
def test_no_refusal(text: str) -> None:
    assert not is_refusal(text)
