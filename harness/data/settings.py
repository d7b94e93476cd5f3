"""Where instruction data comes from."""

from pathlib import Path

from pydantic import Field

from harness.core.settings import Settings, execution


class PocketData(Settings):
    """Data of the pocket world, made by a program from a seed."""

    examples: int = Field(ge=1)
    """Number of conversations."""
    domain_ratio: float = Field(0.0, ge=0, le=1)
    """Share of examples from the shop-catalogue domain; the rest are general."""
    two_turn_share: float = Field(0.5, ge=0, le=1)
    """Share of conversations that have a second turn."""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of wrong answers (another answer of the same category), which plants an effect."""
    seed: int = 0


class JoinedPrompts(Settings):
    """A second file that holds the prompts of a responses file."""

    path: Path = execution()
    on: str = "index"
    """The column that both files share."""


class DatasetSettings(Settings):
    """An instruction dataset: a file (JSON, JSONL or Parquet) in a usual schema, or the pocket world."""

    path: Path | None = execution(None)
    """Conversations in a usual schema (docs/data.md); the content is pinned, not the path."""
    pocket: PocketData | None = None
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Keep only rows whose columns have these values, e.g. {generator: gpt4_1106_preview}."""
    prompts: JoinedPrompts | None = None
    """The file of the prompts, if prompts and responses are in two files."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Usual column name -> the file's, e.g. {response: reply}; these columns precede all others."""
    limit: int | None = Field(None, ge=1)
    """Use this many rows, drawn with `data_seed`; all by default."""


class DataSettings(Settings):
    """The datasets of a recipe."""

    train: DatasetSettings | None = None
    """The default data of `sft` and `kd`."""
    domain: DatasetSettings | None = None
    domains: dict[str, DatasetSettings] = Field(default_factory=dict)
    """Several domains by name, for `data: mix` and the experts of `dae`."""
    prompts: DatasetSettings | None = None
    """The prompts for which a teacher's responses are generated."""

    def role(self, name: str) -> DatasetSettings | None:
        """The dataset of this name: train, domain, prompts, or a name in `domains`."""
        single = {"train": self.train, "domain": self.domain, "prompts": self.prompts}
        return single.get(name) or self.domains.get(name)

    @property
    def domain_names(self) -> list[str]:
        """The domains in the order of the recipe; the name of `data.domain` is `domain`."""
        return ["domain"] if self.domain else list(self.domains)
