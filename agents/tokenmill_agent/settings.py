"""Reads `tokenmill.toml` into frozen dataclasses, environment over file, flags over both, unknown keys refused.

Both sides share this reader and `[kafka]`; each owns its other tables. A field of a settings class is one of `str`,
`int`, `float`, `bool`, `Path`, those or None, a tuple of them, a nested settings class or a tuple of settings classes.
The environment variable of `[agent] sample_interval_seconds` is `TOKENMILL_AGENT_SAMPLE_INTERVAL_SECONDS`; lists there
are separated by commas.
"""

import dataclasses
import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from tokenmill_agent.errors import UsageError

T = TypeVar("T")

TOP_TABLES: Final = ("kafka", "agent", "pipeline", "ingest", "fleet", "billing", "build", "serve")
"""Every table that a `tokenmill.toml` may hold, of either side."""

_OTHER_VARIABLES: Final = frozenset({"TOKENMILL_KAFKA_SASL_PASSWORD"})
# What Kubernetes sets in every pod beside a service whose name begins as a table's variables do.
_SERVICE_LINK: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://.*")

DEFAULT_PATHS: Final = (Path("tokenmill.toml"), Path("/etc/tokenmill/tokenmill.toml"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """`[kafka]`: how to reach the brokers. The password comes from the environment or from `sasl_password_file`."""

    bootstrap_servers: tuple[str, ...] = ("127.0.0.1:9092",)
    gpu_power_topic: str = "tokenmill.gpu-power"
    token_counters_topic: str = "tokenmill.token-counters"  # noqa: S105 - a topic, not a secret
    security_protocol: str = "PLAINTEXT"
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password_file: Path | None = None

    def client_options(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Return the keyword arguments that every kafka-python client of this fleet takes.

        Raises:
            UsageError: the password file cannot be read.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
        }
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if (path := getattr(self, name)) is not None:
                options[name] = str(path)
        if self.sasl_mechanism is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self._password(environ)
        return options

    def _password(self, environ: Mapping[str, str]) -> str | None:
        if self.sasl_password_file is None:
            return environ.get("TOKENMILL_KAFKA_SASL_PASSWORD")
        try:
            return self.sasl_password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(
                f"[kafka] sasl_password_file: cannot read {self.sasl_password_file}: {error.strerror}"
            ) from error


def read_file(path: Path | None, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the tables of the configuration file, or none where no file was named and no default one exists.

    `path` wins over `TOKENMILL_CONFIG`, which wins over `./tokenmill.toml` and `/etc/tokenmill/tokenmill.toml`.

    Raises:
        UsageError: the named file is missing, is no TOML, or holds a table that neither side knows.
    """
    named = path or (Path(environ["TOKENMILL_CONFIG"]) if environ.get("TOKENMILL_CONFIG") else None)
    found = named or next((candidate for candidate in DEFAULT_PATHS if candidate.is_file()), None)
    if found is None:
        return {}
    try:
        tables = tomllib.loads(found.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {found}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {found} is not TOML: {error}") from error
    for name in tables:
        if name not in TOP_TABLES:
            raise UsageError(f"{found}: unknown table [{name}]{nearest(name, TOP_TABLES)}")
    return tables


def section(
    cls: type[T],
    name: str,
    tables: Mapping[str, Any],
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> T:
    """Return settings `cls` from the table `[name]`, the environment over it, `flags` that are not None over both.

    Raises:
        UsageError: an unknown key or variable, with the nearest known one, or a value of the wrong type.
    """
    values = dict(table(tables, name))
    hints = typing.get_type_hints(cls)
    if name in TOP_TABLES:
        _refuse_unknown_variables(name, hints, environ)
    for key, hint in hints.items():
        variable = f"TOKENMILL_{name}_{key}".upper()
        if variable in environ:
            values[key] = _from_text(environ[variable], hint, variable)
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    return _build(cls, values, f"[{name}]")


def table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the table `[name]`, empty where there is none.

    Raises:
        UsageError: a value stands in its place.
    """
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"[{name}]: expected a table, got {found!r}")
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean "x"?` for the known name that is nearest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f', did you mean "{close[0]}"?' if close else ""


def _refuse_unknown_variables(name: str, keys: Iterable[str], environ: Mapping[str, str]) -> None:
    prefix = f"TOKENMILL_{name}_".upper()
    known = {f"{prefix}{key}".upper() for key in keys} | _OTHER_VARIABLES
    for variable, value in environ.items():
        if not variable.startswith(prefix) or variable in known or _is_service_link(variable, value):
            continue
        raise UsageError(f"{variable}: [{name}] has no such key for a variable{nearest(variable, known)}")


def _is_service_link(variable: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _SERVICE_URL.fullmatch(value) is not None


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise UsageError(f'{where}: unknown key "{key}"{nearest(key, hints)}')
    try:
        return cls(**{key: _convert(value, hints[key], f"{where} {key}") for key, value in values.items()})
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).rpartition('() ')[2]}") from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(value))
    if (origin is dict or dataclasses.is_dataclass(hint)) and not isinstance(value, (Mapping, origin or hint)):
        raise UsageError(f"{where}: expected a table, got {value!r}")
    if origin is dict:
        return {str(key): _convert(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _build(typing.cast("type[Any]", hint), value, where)
    return _scalar(value, hint, where)


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def _from_text(text: str, hint: Any, variable: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _from_text(text, next(a for a in arguments if a is not type(None)), variable)
    if origin is tuple:
        return [_from_text(part.strip(), arguments[0], variable) for part in text.split(",") if part.strip()]
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise UsageError(f"{variable}: expected true or false, got {text!r}")
        return text.lower() in ("true", "1")
    try:
        return hint(text)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{variable}: expected {hint.__name__}, got {text!r}") from error
