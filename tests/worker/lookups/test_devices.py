from __future__ import annotations

import pytest

from worker.lookups.agents import Agents

AGENTS = Agents()
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("device", "user_agent"),
    [
        ("desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15"),  # noqa: E501
        ("desktop", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("desktop", f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/138.0.0.0 Safari/537.36"),
        ("desktop", "Mozilla/5.0 (X11; FreeBSD amd64; rv:26.0) Gecko/20100101 Firefox/26.0"),
        ("desktop", "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)"),
        ("mobile", f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/138.0.0.0 Mobile Safari/537.36"),
        ("mobile", "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0"),
        ("mobile", "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UQ1A)"),
        ("mobile", "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80; U; en) Presto/2.5.25 Version/10.54"),
        ("mobile", "Mozilla/5.0 (Mobile; LYF/F90M; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 14; SM-X910) {WEBKIT} Chrome/138.0.0.0 Safari/537.36"),
        ("tablet", "Mozilla/5.0 (Android 14; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 11; KFTRWI) {WEBKIT} Silk/108.4 like Chrome/108.0 Safari/537.36"),
        ("tv", f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) {WEBKIT} 85.0.4183.93/6.5 TV Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/94.0.4606.128 Safari/537.36 WebAppManager"),
        ("tv", f"Mozilla/5.0 (Linux; Android 9; AFTKA) {WEBKIT} Silk/108.4 like Chrome/108.0 Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Linux; Android 12; Chromecast) {WEBKIT} Chrome/110 Safari/537.36 CrKey/1.56"),
        ("tv", f"Mozilla/5.0 (Linux; Android 9; MIBOX4) {WEBKIT} Chrome/121.0.0.0 Safari/537.36"),
        ("other", f"Mozilla/5.0 (Linux; Android 12; Quest 2) {WEBKIT} OculusBrowser/31.2 Chrome/120.0 VR Safari/537"),
        ("other", "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15"),  # noqa: E501
        ("other", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {WEBKIT} Chrome/44 Edge/18"),
        ("bot", f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {WEBKIT} Chrome/138.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),  # noqa: E501
    ],
)  # fmt: skip
def test_tells_the_class_of_a_device(device, user_agent):
    assert AGENTS.find(user_agent).device == device
