"""The currency codes of ISO 4217: what a bill names beside them is a virtual currency and is kept apart."""

import re
from typing import Final

ISO_4217: Final = frozenset(
    re.findall(
        r"[A-Z]{3}",
        """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
    INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
    MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND
    VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """,
    )
)

NEAR_PARITY: Final = frozenset({"USD", "EUR", "GBP", "CHF", "CAD", "AUD", "SGD"})
"""Currencies whose unit is worth about as much as a dollar: only for them does a range in dollars say anything."""


def is_currency(code: str) -> bool:
    """Return whether `code` is money of ISO 4217 and not a provider's own unit."""
    return code.upper() in ISO_4217
