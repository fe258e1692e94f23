"""The form by which a clinic asks for consent to the camera: seeded for every organisation.

Tier B: what it is about is data of a special category (GDPR Article 9(2)(a)), so consent has to be explicit, apart from
everything else, and as easy to take back as to give (Article 7). A changed text is a new version; a ledger row names
the form that was answered, and by it the version.
"""

from __future__ import annotations

from typing import Any

NAME = "Consent to movement capture"
VERSION = 1
PURPOSE = "biometric"
QUESTIONS: tuple[dict[str, Any], ...] = (
    {
        "id": "information",
        "type": "text",
        "tier": "B",
        "text": "While you exercise, your camera's picture is turned into the positions of 33 points of your body, on "
        "your own device. The picture never leaves it. The points are sent, stored and measured, so that you and your "
        "specialist see repetitions, form and progress. A recording of the points is kept for 184 days, or 7 years "
        "where your specialist marks it as a clinical record; the figures are kept for 7 years.",
    },
    {
        "id": "voluntary",
        "type": "text",
        "tier": "B",
        "text": "You may say no and still do every exercise. You may take your consent back at any moment, with one "
        "tap, and capture stops at once. What was measured before stays in your record unless you ask for erasure.",
    },
    {
        "id": "agreed",
        "type": "boolean",
        "tier": "B",
        "required": True,
        "text": "I agree that my movement is captured and measured for my treatment.",
    },
)
