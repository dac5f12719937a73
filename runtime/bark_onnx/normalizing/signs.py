"""Signs that have names in every language: of currencies, units, fractions and sums."""

import re
from collections.abc import Callable
from typing import TypeAlias

Written: TypeAlias = tuple[str, Callable[[re.Match[str]], str | None]]
"""The pattern of a kind of writing, and what returns the words of a match; None if it is something else."""

ISO_4217 = "USD EUR GBP JPY CHF CAD AUD CNY INR KRW RUB TRY PLN BRL SEK NOK DKK CZK HUF MXN".split()
CURRENCIES = {
    "US$": "USD", "C$": "CAD", "A$": "AUD", "AU$": "AUD", "CA$": "CAD", "HK$": "HKD", "NZ$": "NZD",
    "R$": "BRL", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "￥": "JPY",
    "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "zł": "PLN", "元": "CNY", "円": "JPY",
    "руб.": "RUB", "руб": "RUB", "TL": "TRY", "Rs.": "INR",
    **{code: code for code in ISO_4217},
}  # fmt: skip
UNITS = {  # as they are written -> CLDR's names
    "km/h": "speed-kilometer-per-hour", "kph": "speed-kilometer-per-hour", "m/s": "speed-meter-per-second",
    "mph": "speed-mile-per-hour", "km²": "area-square-kilometer", "km2": "area-square-kilometer",
    "m²": "area-square-meter", "m2": "area-square-meter", "cm²": "area-square-centimeter", "m³": "volume-cubic-meter",
    "m3": "volume-cubic-meter", "ha": "area-hectare", "km": "length-kilometer", "cm": "length-centimeter",
    "mm": "length-millimeter", "µm": "length-micrometer", "nm": "length-nanometer", "m": "length-meter",
    "kg": "mass-kilogram", "mg": "mass-milligram", "g": "mass-gram", "ml": "volume-milliliter",
    "mL": "volume-milliliter", "l": "volume-liter", "L": "volume-liter", "mi": "length-mile", "ft": "length-foot",
    "yd": "length-yard", "lbs": "mass-pound", "lb": "mass-pound", "oz": "mass-ounce", "kHz": "frequency-kilohertz",
    "MHz": "frequency-megahertz", "GHz": "frequency-gigahertz", "Hz": "frequency-hertz", "kWh": "energy-kilowatt-hour",
    "kW": "power-kilowatt", "MW": "power-megawatt", "W": "power-watt", "V": "electric-volt",
    "mA": "electric-milliampere", "kB": "digital-kilobyte", "KB": "digital-kilobyte", "MB": "digital-megabyte",
    "GB": "digital-gigabyte", "TB": "digital-terabyte", "ms": "duration-millisecond", "min": "duration-minute",
    "mins": "duration-minute", "s": "duration-second", "sec": "duration-second", "secs": "duration-second",
    "h": "duration-hour", "hr": "duration-hour", "hrs": "duration-hour", "yr": "duration-year",
    "yrs": "duration-year", "tsp": "volume-teaspoon", "tbsp": "volume-tablespoon",
    "hPa": "pressure-hectopascal", "kPa": "pressure-kilopascal",
    "kcal": "energy-kilocalorie", "kJ": "energy-kilojoule", "px": "graphics-pixel", "°C": "temperature-celsius",
    "℃": "temperature-celsius", "°F": "temperature-fahrenheit", "℉": "temperature-fahrenheit", "°": "angle-degree",
}  # fmt: skip
HALVES = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
# What they are called: keys of `Language.words`.
BEFORE = {"-": "minus", "−": "minus", "+": "plus", "±": "plus_minus", "~": "about", "≈": "about", "#": "number"}
SIGNS = {
    "=": "equals", "÷": "divided", "±": "plus_minus", "+/-": "plus_minus", "§": "section", "&": "and", "&amp;": "and",
    "＆": "and", "+": "plus", "<": "less", ">": "greater", "@": "at", "№": "number", "~": "about", "≈": "about",
}  # fmt: skip
