"""Where instruction data comes from."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

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


class ExpectedData(Settings):
    """What a plan takes data to be while they are not here; a run counts them."""

    rows: int = Field(100_000, ge=1)
    """Conversations."""
    tokens: int = Field(500, ge=1)
    """Of a conversation, prompt and response."""


class FilesSettings(Settings):
    """Where rows are: local files or a dataset of the hub. Their content is pinned, not their names."""

    path: Path | None = execution(None)
    """A file (JSON, JSON lines, Parquet, CSV or Arrow), a glob of such shards, or a folder that `datasets` reads."""
    hf: str | None = execution(None, pattern=r"^[\w.-]+/[\w.-]+$")
    """A dataset of the Hugging Face hub: ORG/NAME."""
    config: str | None = execution(None)
    """The config of a folder or hub dataset; by default its default config."""
    split: str | None = execution(None)
    """The split of a folder or hub dataset; by default `train`, or the only split."""
    revision: str | None = execution(None)
    """For `hf`: a branch, tag or commit; by default the newest commit of the default branch."""
    data_files: list[str] = execution([])
    """For a folder or hub dataset: names or globs of the files to read, in place of a config."""

    @property
    def name(self) -> str:
        """The source's name in messages."""
        return f"hf:{self.hf}" if self.hf is not None else str(self.path)

    @model_validator(mode="after")
    def _hub_only(self) -> Self:
        if self.path is not None and self.hf is not None:
            raise ValueError("rows lie in a 'path' or in a dataset of the hub ('hf'), not in both")
        if self.revision is not None and self.hf is None:
            raise ValueError("'revision' is of a dataset of the hub ('hf')")
        return self


class JoinedPrompts(FilesSettings):
    """Files that hold the prompts of a responses file."""

    on: str = "index"
    """The column that both files share."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.path is None and self.hf is None:
            raise ValueError("prompts lie in a 'path' or in a dataset of the hub ('hf')")
        return self


class DatasetSettings(FilesSettings):
    """An instruction dataset: files or a dataset of the hub in a usual schema (docs/data.md), or the pocket world."""

    pocket: PocketData | None = None
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Keep only rows whose columns have these values, e.g. {generator: gpt4_1106_preview}."""
    prompts: JoinedPrompts | None = None
    """The file of the prompts, if prompts and responses are in two files."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Usual column name -> the file's, e.g. {response: reply}; these columns precede all others."""
    limit: int | None = Field(None, ge=1)
    """Use this many rows, drawn with `data_seed`; all by default."""

    expect: ExpectedData = execution(ExpectedData())

    @property
    def sources(self) -> dict[str, FilesSettings]:
        """Whose files are read, by role: `file` has the rows, `prompts` what they are joined with."""
        named = {"file": self if self.path is not None or self.hf is not None else None, "prompts": self.prompts}
        return {role: files for role, files in named.items() if files is not None}


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
