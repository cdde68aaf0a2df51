"""Looks for violations of the Web Content Accessibility Guidelines by axe-core (https://github.com/dequelabs/axe-core)."""

from __future__ import annotations

from collections.abc import Sequence

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

WCAG_A_AND_AA = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
CONTRAST = ("color-contrast",)
DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)


def find_violations(page: Page, rules: Sequence[str] = WCAG_A_AND_AA) -> list[str]:
    """Returns each violation of WCAG 2.0, 2.1 and 2.2 at the levels A and AA: its rule, and the element.

    rules: other rules or tags of axe-core. The debugger of the browser runs the script, so the Content-Security-Policy
    of the page stays as it is. Transitions are ended first, because a color between two others has too little contrast.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(
        """async runOnly => {
            for (const animation of document.getAnimations()) animation.finish();
            // It is off by default.
            const rules = { "target-size": { enabled: true } };
            const { violations } = await axe.run({ runOnly, rules, resultTypes: ["violations"] });
            return violations.flatMap(({ id, nodes }) =>
                nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
        }""",
        rules,
    )
    return [str(violation) for violation in found]


def find_violations_in_looks(page: Page) -> list[str]:
    """Looks for violations of WCAG on a desktop, in the dark, where the colors are others, and on a phone."""
    page.set_viewport_size(DESKTOP)
    found = {"desktop": find_violations(page)}
    page.emulate_media(color_scheme="dark")
    found["dark"] = find_violations(page, CONTRAST)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    found["phone"] = find_violations(page)
    page.set_viewport_size(DESKTOP)
    return [f"{look}: {violation}" for look, violations in found.items() for violation in violations]
