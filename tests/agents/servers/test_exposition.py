"""Tests of the exact reader of sample lines."""

import contextlib

import prometheus_client.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill_agent.servers.exposition import (
    PageError,
    exact_integer,
    exact_microseconds,
    exact_seconds,
    wanted_samples,
)

WANTED = {"vllm:tokens_total": "vllm:tokens_total", "vllm_tokens_total": "vllm:tokens_total"}


class TestWantedSamples:
    """Which lines become samples."""

    def test_reads_only_wanted_names(self) -> None:
        """A line of another name is not looked at, even where it begins the same or cannot be read."""
        page = 'vllm:tokens_total{a="1"} 5\nvllm:tokens_total_sum{broken 7\nvllm:tokens_created 1.7e9\n'

        found = wanted_samples(page, WANTED)

        assert [((("a", "1"),), "5")] == [(sample.labels, sample.value) for sample in found]

    def test_takes_both_spellings_as_one_name(self) -> None:
        """A name whose colon became an underscore is the same sample."""
        found = wanted_samples("vllm:tokens_total 1\nvllm_tokens_total 2\n", WANTED)

        assert ["vllm:tokens_total"] * 2 == [sample.name for sample in found]

    def test_sorts_and_unescapes_labels(self) -> None:
        """The order of labels does not matter; quotes, newlines and backslashes in them come out as they were."""
        (sample,) = wanted_samples('vllm:tokens_total{z="a\\"b\\nc\\\\d",m="}"} 5\n', WANTED)

        assert (("m", "}"), ("z", 'a"b\nc\\d')) == sample.labels

    def test_leaves_timestamp_and_exemplar_out_of_the_value(self) -> None:
        """What follows the value is not part of it."""
        page = 'vllm:tokens_total 5 1795493030\nvllm:tokens_total{a="1"} 6 # {trace="x"} 1\nvllm:tokens_total\t7\r\n'

        assert ["5", "6", "7"] == [sample.value for sample in wanted_samples(page, WANTED)]

    @pytest.mark.parametrize(
        "line",
        [
            "vllm:tokens_total",
            'vllm:tokens_total{a="1" 5',
            'vllm:tokens_total{a="1',
            "vllm:tokens_total{a=1} 5",
            'vllm:tokens_total{a="1",a="2"} 5',
            'vllm:tokens_total{a="1"}',
            'vllm:tokens_total{a="' + "x" * 70_000 + '"} 5',
        ],
    )
    def test_refuses_a_wanted_line_that_cannot_be_read(self, line: str) -> None:
        """A counter that cannot be read makes the page fail: leaving it out would count too little in silence."""
        with pytest.raises(PageError, match="vllm:tokens_total"):
            wanted_samples(f"{line}\n", WANTED)

    @settings(max_examples=200)
    @given(st.binary(max_size=400), st.sampled_from(["", "vllm:tokens_total", 'vllm:tokens_total{a="1"', "# HELP "]))
    def test_never_fails_otherwise_than_by_name(self, noise: bytes, begin: str) -> None:
        """Arbitrary bytes give samples or a PageError, nothing else."""
        page = begin + noise.decode("utf-8", "replace")

        with contextlib.suppress(PageError):
            assert all(sample.value for sample in wanted_samples(page, WANTED))

    @settings(max_examples=100)
    @given(
        st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(max_size=8), max_size=4),
        st.integers(min_value=0, max_value=2**53),
    )
    def test_reads_what_the_reference_parser_reads(self, labels: dict[str, str], value: int) -> None:
        """Labels and value equal those of the Prometheus client's own parser."""
        escaped = {
            name: text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') for name, text in labels.items()
        }
        line = "vllm:tokens_total{" + ",".join(f'{name}="{text}"' for name, text in escaped.items()) + f"}} {value}.0\n"
        if any(character in "".join(labels.values()) for character in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
            return  # the reference parser splits lines at these, the format does not

        (sample,) = wanted_samples(line, WANTED)
        (family,) = prometheus_client.parser.text_string_to_metric_families(line)

        assert family.samples[0].labels == dict(sample.labels)
        assert value == exact_integer(sample.value)


class TestValues:
    """What a value writes."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0", 0),
            ("4915.0", 4915),
            ("1.23457e+08", 123_457_000),
            ("1.204511e+06", 1_204_511),
            ("-0.0", 0),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", 2**63 - 1),
            ("9223372036854775808", None),
            ("1e19", None),
            ("1e999999", None),
            ("1e9999999999999999999", None),
            ("12.5", None),
            ("-1", None),
            ("NaN", None),
            ("+Inf", None),
            ("1_0", None),
            ("0x10", None),
            ("\u0663", None),
            ("", None),
        ],
    )
    def test_integer_is_exact_or_nothing(self, text: str, expected: int | None) -> None:
        """A whole number in any notation comes out exactly; what is no count comes out as nothing."""
        assert expected == exact_integer(text)

    @pytest.mark.parametrize(("text", "expected"), [("0.25", 0.25), ("1e-09", 1e-9), ("NaN", None), ("-1", None)])
    def test_seconds(self, text: str, expected: float | None) -> None:
        """Seconds are a float, and nothing where they are none."""
        assert expected == exact_seconds(text)

    @pytest.mark.parametrize(
        ("text", "expected"), [("1.79549310188e+09", 1_795_493_101_880_000), ("0", None), ("1e300", None)]
    )
    def test_microseconds(self, text: str, expected: int | None) -> None:
        """A start time comes out to the microsecond, and nothing where it is no time."""
        assert expected == exact_microseconds(text)

    @settings(max_examples=200)
    @given(st.text(max_size=80))
    def test_any_text_is_a_number_or_nothing(self, text: str) -> None:
        """No text makes a value crash or grow."""
        assert exact_integer(text) is None or 0 <= int(exact_integer(text) or 0) < 2**63
        assert exact_seconds(text) is None or (exact_seconds(text) or 0) >= 0
