"""Text that was encoded twice: UTF-8 whose bytes somebody read as cp1252 or latin-1, such as `Ã©` for `é`."""

from __future__ import annotations

import re

__all__ = ["SUSPICIOUS", "is_double_encoded"]

HIGH = "".join(bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0))  # what cp1252 has for 80 to 9F
CONTINUATION = f"[\u0080-\u00bf{HIGH}]"
SUSPICIOUS = f"[\u00c2-\u00f4]{CONTINUATION}|\u00e2\u20ac"
"""What such text has at least once; a pattern for Python and for RE2."""

PAIR = re.compile(SUSPICIOUS)
# No language writes these: a capital A with tilde or circumflex before a sign, the start of a curly quote, an emoji.
CERTAIN = re.compile(
    "\u00c3[\u00a1-\u00ba\u00bc-\u00bf]|\u00c2[\u00a1-\u00ba\u00bc-\u00bf]"
    f"|\u00e2\u20ac{CONTINUATION}|[\u00f0-\u00f4]{CONTINUATION}{{3}}"
)
TO_BYTES = {ord(sign): sign.encode("cp1252")[0] for sign in HIGH}


def is_double_encoded(text: str) -> bool:
    r"""Tell whether a text, or a part of it, is UTF-8 that was read as cp1252 or latin-1.

    The whole text is taken back to bytes: if they are UTF-8 throughout, and more than one sign says so, it was
    encoded twice. Texts that are so only in part are known by pairs that no language writes.

    >>> is_double_encoded("voilÃ\xa0, câ€™est l'Ã©tÃ©"), is_double_encoded("voilà, c’est l'été")
    (True, False)
    """
    if CERTAIN.search(text):
        return True
    if len(PAIR.findall(text)) < 2:
        return False
    try:
        text.translate(TO_BYTES).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return False
    return True
