"""Patterns of crawler-user-agents that are not believed, since they flag people, each with the reason.

The test beside `bots.py` runs every pattern of the installed package over user agents of real browsers: one that flags
any of them has to be added here, or the update waits.
"""

from __future__ import annotations

from typing import Final

DISTRUSTED: Final = {
    r"AP3A\.240617\.008": "meant for 80legs, and Android 15's build id: in every WebView of many phones",
    r"MetaIAB Facebook": "Facebook's in-app browser, in which people read pages",
    r"Viber": "Viber's in-app browser; its previews are fetched as `Viber` without a browser, which names no system",
    r"Sogou": "a phone browser (SogouMobileBrowser) and the search app; the spider is `Sogou web spider`, in our list",
    r"Sonic": "part of ViewSonic and of phones' names",
    r"Butterfly": "a phone by HTC",
    r"Fever": "a phone by Highscreen; Fever's fetcher names `fever` with a URL",
    r"Expanse": "a phone's name",
    r"coccoc": "a browser that a third of Vietnam uses",
    r"Fluid": "a maker of site-specific browsers for the Mac",
    r"008\/": "meant for 80legs, and the end of models' names (TS1008/1.0)",
    r"Podimo": "an app in which people listen and read",
    r"Code\/1\.": "the browser inside Visual Studio Code, in front of a person",
    r"Trae\/": "the browser inside an editor",
    r"Teoma": "in toolbars of Ask that old browsers carry",
    r"Freespoke\/": "an app with a browser in it",
    r"Blackboard": "an app in which students read",
    r"Notion\/": "the desktop app opens pages in itself",
    r"speedy": "in names of devices and mobile networks",
    r"Chirp|gotosocial": "`Chirp` is in Google's app for phones (GoogleChirp); gotosocial is in our list",
    r"BTWebClient": "a client in which people look pages up",
}
