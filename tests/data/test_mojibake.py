import pytest

from ftkit.stages.inspection.mojibake import is_double_encoded

REAL = [
    "Il a dit «café», puis «é»… à la française, Ç’EST ÇA.",
    "Er sagte: „MENÜ“ und „TÜ“ – „Ä“, Straße, 5 °C, ½ l",
    'Sagt "MENÜ“.',
    "A NAÇÃO DISSE «NÃO», “MAÇÔ",
    "Það er £5 — naïve façade, 100 µm ±2",
    "Ünïcödé ÀÁÂÃÄÅ ÈÉÊË ØÙÚ Þß",
    "Привет, мир. 你好 🙂",
    "plain",
]


@pytest.mark.parametrize("text", REAL)
def test_real_languages_are_left_alone(text):
    assert not is_double_encoded(text)


@pytest.mark.parametrize(
    "text", ["voilà, c’est l’été", "„Grüße“ aus Köln", "Привет, мир", "a £5 fee", "你好吗", "nice 🙂 day"]
)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_what_was_encoded_twice_is_found(text, wrong):
    twice = "".join(_misread(byte, wrong) for byte in text.encode())
    assert is_double_encoded(twice)
    assert is_double_encoded(f"mended é, and {twice}") or "£" not in text


def _misread(byte: int, encoding: str) -> str:
    try:
        return bytes([byte]).decode(encoding)
    except UnicodeDecodeError:
        return chr(byte)  # as Windows has it
