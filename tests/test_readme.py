"""What the documents name exists: commands, flags, files, make targets, columns."""

import re
from pathlib import Path

import pytest

import tokenmill_sql
from tokenmill_agent import cli as agent_cli
from tokenmill_pipeline import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md")]
    if not path.parts[-2].startswith(".")
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def text_of(document: str) -> str:
    """Return a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def commands(document: str) -> list[list[str]]:
    """Return the words of every `tokenmill ...` command of a document, up to what is not a plain word."""
    found = re.findall(r"(?<![\w/.\"-])tokenmill ((?:[a-z-]+ ?)+)", text_of(document))
    return [line.split() for line in found]


def make_targets() -> set[str]:
    """Return what can be made."""
    return set(re.findall(r"^([a-z]+):.*## ", text_of("Makefile"), re.MULTILINE))


def known_commands() -> dict[str, set[str]]:
    """Return the commands of `tokenmill`, each with the commands of its group."""
    top = next(action for action in cli.parser()._actions if hasattr(action, "choices") and action.choices)
    return {
        name: {word for action in parser._actions if isinstance(action.choices, dict) for word in action.choices}
        for name, parser in dict(top.choices or {}).items()
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_exists(document: str) -> None:
    """A command that a document names is one of the parser's, its group's command too."""
    known = known_commands()
    unknown = [
        " ".join(words)
        for words in commands(document)
        if words[0] in known and known[words[0]] and len(words) > 1 and words[1] not in known[words[0]]
    ]
    named = set(re.findall(r"`tokenmill ([a-z]+)", text_of(document)))

    assert [] == unknown
    assert set() == named - set(known)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_exists(document: str) -> None:
    """`make x` in a document is a target with a line of help."""
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of(document), re.MULTILINE))

    assert set() == named - make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    """A relative link is a file or a folder of the repository."""
    folder = (ROOT / document).parent
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text_of(document)) if "://" not in link]

    assert [] == [link for link in links if not (folder / link.partition("#")[0]).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_is_named_exists(document: str) -> None:
    """A claim that names a test names one that is there."""
    named = re.findall(r"`(tests/[\w/.]+?)`", text_of(document))

    assert [] == [name for name in named if not (ROOT / name).exists()]


def test_the_agents_commands_exist() -> None:
    """`tokenmill-agent x` in the README is a command of the agent."""
    choices = [action.choices for action in agent_cli._parser()._actions if isinstance(action.choices, dict)]
    named = set(re.findall(r"`tokenmill-agent ([a-z]+)", README))

    assert named
    assert set() == named - {name for commands in choices for name in commands}


def test_every_column_of_the_picture_is_in_the_dictionary() -> None:
    """The two tables of the README have columns that exist."""
    block = README.split("```")[1]
    heads = [line for line in block.splitlines() if line.startswith("hour_at")]
    whole = {word for line in heads for word in line.split()} & set(tokenmill_sql.columns())

    assert {"hour_at", "gpu_generation", "model", "currency", "joules_per_token", "energy_method"} <= whole


def test_the_picture_says_that_it_is_simulated() -> None:
    """Nobody takes the example for a measurement."""
    assert 2 == README.split("```")[1].count("SIMULATED")


def test_the_readme_is_short() -> None:
    """It fits into 150 lines."""
    assert len(README.splitlines()) <= 150


def test_every_environment_variable_of_the_documents_is_a_setting() -> None:
    """A variable that a document names sets something."""
    import dataclasses

    from tokenmill_agent.config import AgentSettings
    from tokenmill_agent.host.redfish import PASSWORD_VARIABLE, USERNAME_VARIABLE
    from tokenmill_agent.settings import KafkaSettings
    from tokenmill_pipeline.billing.settings import BillingSettings
    from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
    from tokenmill_pipeline.context import ServeSettings
    from tokenmill_pipeline.ingest_settings import IngestSettings

    tables = {
        "agent": AgentSettings,
        "kafka": KafkaSettings,
        "pipeline": PipelineSettings,
        "ingest": IngestSettings,
        "build": BuildSettings,
        "fleet": FleetSettings,
        "billing": BillingSettings,
        "serve": ServeSettings,
    }
    known = {
        f"TOKENMILL_{table}_{field.name}".upper() for table, cls in tables.items() for field in dataclasses.fields(cls)
    }
    known |= {"TOKENMILL_CONFIG", "TOKENMILL_KAFKA_SASL_PASSWORD", "TOKENMILL_TEST_KAFKA"}
    known |= {USERNAME_VARIABLE, PASSWORD_VARIABLE}
    files = [
        *(ROOT / "infra").glob("*/*.service"),
        *(ROOT / "infra" / "docker").iterdir(),
        *(ROOT / name for name in DOCUMENTS),
    ]
    named = {match for path in files for match in re.findall(r"TOKENMILL_[A-Z_]+[A-Z]", path.read_text("utf-8"))}

    assert set() == named - known
