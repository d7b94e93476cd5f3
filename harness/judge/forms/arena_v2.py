"""The better of two answers as Arena-Hard v2.0 reads it: `arena`, with another reader of free-text replies."""

from harness.judge.forms import arena
from harness.judge.protocol import Protocol, VerdictForm

FORM = VerdictForm("arena-v2", {**arena.FORM.modes, "text": Protocol("arena-v2", 1, arena.read_last_verdict)})
