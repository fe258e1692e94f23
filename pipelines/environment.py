"""Reading variables of the environment: each is checked where it is read, and a wrong one is named.

Belongs here: one function a kind of value. Does not belong here: which variables there are (each process's
``settings.py``).
"""

from __future__ import annotations

from collections.abc import Mapping


class SettingInvalid(ValueError):  # noqa: N818 - reads as what it is
    """An environment variable is missing or unusable; the message names it."""


def required(environ: Mapping[str, str], name: str) -> str:
    """The variable's value; raises ``SettingInvalid`` where it is absent or empty."""
    value = environ.get(name, "").strip()
    if not value:
        raise SettingInvalid(f"{name} must be set")
    return value


def number(environ: Mapping[str, str], name: str, least: float, most: float, default: float) -> float:
    """The variable as a number within [least, most]; raises ``SettingInvalid``."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingInvalid(f"{name} must be a number, not {text!r}") from None
    if not least <= value <= most:
        raise SettingInvalid(f"{name} must be between {least:g} and {most:g}, not {text}")
    return value


def whole_number(environ: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    """The variable as a whole number within [least, most]; raises ``SettingInvalid``."""
    value = number(environ, name, least, most, default)
    if value != int(value):
        raise SettingInvalid(f"{name} must be a whole number, not {value}")
    return int(value)


def flag(environ: Mapping[str, str], name: str) -> bool:
    """The variable as 0 (also where it is absent) or 1; raises ``SettingInvalid``."""
    text = environ.get(name, "").strip()
    if text not in ("", "0", "1"):
        raise SettingInvalid(f"{name} must be 0 or 1, not {text!r}")
    return text == "1"


def origins(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The variable as web origins, comma separated (RFC 6454); raises ``SettingInvalid``."""
    found = tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())
    for origin in found:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            raise SettingInvalid(f"{name}: {origin!r} is not an origin such as https://portal.example")
    return found
