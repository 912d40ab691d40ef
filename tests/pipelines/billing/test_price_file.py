"""Reading a price file: each entry with its date and source, and a value that cannot be right refused by name."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.billing import price_file

CARD = """
[[rate_card]]
provider = "nebius"
gpu_sku = "H200"
currency = "USD"
per_gpu_hour = {rate}
valid_from = 2026-01-01
source = "contract 2026-17"
"""

DATED = "valid_from = 2026-01-01\nsource = 'x'\n"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_table_of_a_price_file_is_read(tmp_path: Path) -> None:
    """One of each; `from` and `to` are the keys of an exchange rate."""
    text = (
        CARD.format(rate=2.3)
        + """
[[tariff]]
site = "fra1"
currency = "EUR"
per_kilowatt_hour = 0.21
valid_from = 2026-01-01T06:00:00Z
source = "supplier"

[[pue]]
region = "eu-north1"
pue = 1.2
valid_from = 2026-01-01
source = "audit 2025"

[[exchange_rate]]
from = "EUR"
to = "USD"
rate = 1.08
valid_from = 2026-01-01
source = "ECB"

[[resource_link]]
provider = "aws"
resource_id = "cr-1"
node = "node-a"
share = 0.5
valid_from = 2026-01-01

[[resource_link]]
provider = "aws"
resource_id = "cr-1"
node = "node-b"
share = 0.5
valid_from = 2026-01-01

[[gpu_sku]]
gpu_sku = "X1"
name_pattern = '\\bX1\\b'
gpu_generation = "X"
generation_order = 203001
valid_from = 2026-01-01
source = "maker"

[[instance_type]]
provider = "lambda"
instance_type = "gpu_8x_h100_sxm5"
gpu_sku = "H100"
gpu_count = 8
valid_from = 2026-01-01
source = "page"

[[model_alias]]
model_served = "llama"
model = "meta-llama/Llama-3.3-70B-Instruct"
valid_from = 2026-01-01
"""
    )

    entries = price_file.read(_write(tmp_path, text))

    assert (2.3, date(2026, 1, 1)) == (entries.rate_card[0].per_gpu_hour, entries.rate_card[0].valid_from)
    assert datetime(2026, 1, 1, 6, tzinfo=UTC) == entries.tariff[0].valid_from
    assert ("EUR", "USD", 1.08) == (
        entries.exchange_rate[0].from_currency,
        entries.exchange_rate[0].to_currency,
        entries.exchange_rate[0].rate,
    )
    assert (1, 2, 1, 1, 1) == tuple(
        len(entry)
        for entry in (entries.pue, entries.resource_link, entries.gpu_sku, entries.instance_type, entries.model_alias)
    )


@pytest.mark.parametrize("rate", ["1.30", "2.90", "7.91", "0.5"])
def test_rates_that_are_charged_somewhere_pass(tmp_path: Path, rate: str) -> None:
    """From a long reservation to the list price of a large cloud."""
    assert price_file.read(_write(tmp_path, CARD.format(rate=rate))).rate_card


@pytest.mark.parametrize("rate", ["130", "1679", "63.3", "0.0013", "11.28"])
def test_a_rate_in_cents_per_month_or_per_machine_is_refused(tmp_path: Path, rate: str) -> None:
    """The value, the allowed range and the key that accepts it stand in the sentence."""
    with pytest.raises(UsageError, match=rf"rate_card\[0\]: per_gpu_hour = {rate}.*outside 0\.305 to 10\.2.*checked"):
        price_file.read(_write(tmp_path, CARD.format(rate=rate)))


def test_a_rate_that_someone_checked_passes(tmp_path: Path) -> None:
    """`checked = true` takes the responsibility."""
    entries = price_file.read(_write(tmp_path, CARD.format(rate=12.29) + "checked = true\n"))

    assert [12.29] == [card.per_gpu_hour for card in entries.rate_card]


def test_a_rate_by_machine_type_is_held_to_the_range_of_its_gpu(tmp_path: Path) -> None:
    """What the machine holds is known, so a price per machine shows."""
    text = CARD.format(rate=55.04).replace('gpu_sku = "H200"', 'instance_type = "p5.48xlarge"').replace("nebius", "aws")

    with pytest.raises(UsageError, match=r"published rates of H100 are 1\.17 to 2"):
        price_file.read(_write(tmp_path, text))


def test_another_currency_is_not_held_to_dollars_and_says_so(tmp_path: Path) -> None:
    """400 yen are no mistake."""
    entries = price_file.read(_write(tmp_path, CARD.format(rate=400).replace("USD", "JPY")))

    assert "rate_card[0]: 400 JPY is not held to a range" in price_file.unchecked(entries)[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no price"),
        ("[[rate_crad]]\n", 'unknown key "rate_crad", did you mean "rate_card"'),
        (CARD.format(rate=2).replace("per_gpu_hour", "per_gpu_hours"), 'unknown key "per_gpu_hours", did you mean'),
        (CARD.format(rate='"2"'), "per_gpu_hour: expected float, got '2'"),
        (CARD.format(rate=2).replace("2026-01-01", '"2026-01-01"'), "valid_from: expected date"),
        (CARD.format(rate=2).replace('source = "contract 2026-17"', ""), "source"),
        (CARD.format(rate=0), "must be more than 0"),
        (CARD.format(rate=2).replace('gpu_sku = "H200"', ""), "say gpu_sku or instance_type"),
        ("[[rate_card", "is not TOML"),
        (
            '[[pue]]\nregion = "eu"\npue = 0.9\nvalid_from = 2026-01-01\nsource = "x"\n',
            "pue = 0.9 lies outside 1 to 3",
        ),
        (
            '[[tariff]]\nsite = "a"\ncurrency = "EUR"\nper_kilowatt_hour = 21\nvalid_from = 2026-01-01\nsource = "x"\n',
            "per_kilowatt_hour = 21 lies outside 0.005 to 1.5",
        ),
        (
            '[[tariff]]\ncurrency = "EUR"\nper_kilowatt_hour = 0.21\nvalid_from = 2026-01-01\nsource = "x"\n',
            "say site or region",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "usd"\nrate = 1\nvalid_from = 2026-01-01\nsource = "x"\n',
            "from and to are both usd",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "EUR"\nrate = -1\nvalid_from = 2026-01-01\nsource = "x"\n',
            "rate = -1 must be more than 0",
        ),
        (
            '[[resource_link]]\nprovider = "a"\nresource_id = "r"\nnode = "n"\nshare = 0.5\nvalid_from = 2026-01-01\n',
            "shares of r from 2026-01-01 sum to 0.5, not to 1",
        ),
        (
            '[[resource_link]]\nprovider = "a"\nresource_id = "r"\nnode = "n"\nshare = 1.5\nvalid_from = 2026-01-01\n',
            "share = 1.5 lies outside 0 to 1",
        ),
        (
            "[[gpu_sku]]\ngpu_sku = 'x'\nname_pattern = '('\ngpu_generation = 'X'\ngeneration_order = 1\n" + DATED,
            "is no regular expression",
        ),
        (
            "[[instance_type]]\nprovider = 'x'\ninstance_type = 'y'\ngpu_sku = 'H100'\ngpu_count = 0\n" + DATED,
            "gpu_count = 0 lies outside 1 to 1024",
        ),
    ],
)
def test_what_cannot_be_right_is_one_sentence_that_names_it(tmp_path: Path, text: str, sentence: str) -> None:
    """File, entry, value and remedy."""
    with pytest.raises(UsageError, match=r"rates\.toml") as caught:
        price_file.read(_write(tmp_path, text))

    assert sentence in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """The operating system's word for it is in the sentence."""
    with pytest.raises(UsageError, match="No such file"):
        price_file.read(tmp_path / "missing.toml")


def test_a_gpu_that_nothing_describes_is_remarked_with_the_nearest(tmp_path: Path) -> None:
    """A typing error would price nothing; one that the file itself describes is none."""
    described = "[[gpu_sku]]\ngpu_sku = 'X1'\nname_pattern = 'X1'\ngpu_generation = 'X'\ngeneration_order = 1\n" + DATED
    text = CARD.format(rate=2).replace('"H200"', '"HH200"') + CARD.format(rate=2).replace("H200", "X1") + described
    (note,) = price_file.unchecked(price_file.read(_write(tmp_path, text)))

    assert note.startswith("rate_card[0]: gpu_sku 'HH200' does not ship")
    assert 'did you mean "H200"' in note


def test_a_virtual_currency_needs_an_exchange_rate(tmp_path: Path) -> None:
    """What is no money of ISO 4217 prices nothing until a rate says what it is worth."""
    card = CARD.format(rate=2).replace('"USD"', '"CREDIT"')
    rate = "[[exchange_rate]]\nfrom = 'credit'\nto = 'USD'\nrate = 0.01\n" + DATED

    assert price_file.read(_write(tmp_path, card + rate)).rate_card
    with pytest.raises(UsageError, match=r"rate_card\[0\]: currency 'CREDIT' is no code of ISO 4217"):
        price_file.read(_write(tmp_path, card))
