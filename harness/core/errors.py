"""Faults a user can act on."""


class HarnessError(Exception):
    """What happened, where, and what to do about it; the CLI prints it without a traceback.

    Raise it for what the user can mend (a missing file, a refused key, a full disk). Let everything else be a
    traceback: it is our defect.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        """One line of fault, then one line of remedy; what a file's names would do to a terminal is written out."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{head}\n  {self.fix}" if self.fix else head
        return "\n".join(printable(line) for line in text.split("\n"))

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword arguments survive the trip between processes."""
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(cls: type[HarnessError], what: str, where: str, fix: str) -> HarnessError:
    return cls(what, where=where, fix=fix)


class Incomplete(HarnessError):
    """Work stopped for an outside reason (server gone, budget spent): what is finished is kept, run again."""


def printable(text: str) -> str:
    """The text in one line: what a terminal would obey (escapes, line ends) is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def brief(error: BaseException) -> str:
    """Another library's error in one line of at most 200 characters."""
    lines = str(error).split("\n", 1)[0].split()
    return " ".join(lines)[:200] or type(error).__name__
