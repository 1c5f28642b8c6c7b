from __future__ import annotations

import pytest

from tests.worker.factories import agents

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {WEBKIT}"
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/138.0"


@pytest.mark.parametrize(
    ("user_agent", "os", "version"),
    [
        (f"{IPHONE} Version/26.0 Mobile/15E148 Safari/604.1", "iOS", "26.0"),
        (f"{IPHONE.replace('iPhone; CPU iPhone', 'iPad; CPU')} Version/26.1 Mobile/15E148 Safari/604.1", "iOS", "26.1"),
        (f"{IPHONE} Version/18.6 Mobile/15E148 Safari/604.1", "iOS", "18.6"),
        (f"{IPHONE} CriOS/138.0 Mobile/15E148 Safari/604.1", "iOS", "18.6"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} CriOS/138 Safari/604.1", "iOS", ""),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/26.0 Safari/605.1.15", "Mac OS X", "10.15"),
        (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/94.0.4606.128 Safari/537.36", "webOS", ""),
        (f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {WEBKIT} Chrome/114.0 Mobile Safari/537.36", "OpenHarmony", "5.0"),
        (f"Mozilla/5.0 (Linux; Android 10; HarmonyOS; ELS-AN00) {WEBKIT} Chrome/99.0 Mobile", "HarmonyOS", ""),
        (f"Mozilla/5.0 (PlayStation; PlayStation 5/3.03) {WEBKIT}", "PlayStation", "3.03"),
        (f"Mozilla/5.0 (PlayStation 5 3.03/SmartTV) {WEBKIT}", "PlayStation", "3.03"),
        (f"Mozilla/5.0 (Linux; Android 11; SM-R890) {WEBKIT} Chrome/105.0 Mobile Safari/537.36", "Wear OS", ""),
        (f"{ANDROID} Mobile Safari/537.36", "Android", "14"),
    ],
)
def test_tells_the_system(user_agent: str, os: str, version: str) -> None:
    agent = agents().find(user_agent)
    assert (agent.os, agent.os_version) == (os, version)


@pytest.mark.parametrize(
    ("user_agent", "browser", "version"),
    [
        (f"{IPHONE} Mobile/15E148 Instagram 315.0.0.25.114 (iPhone14,5; iOS 18_6)", "Instagram", "315.0"),
        (f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/444.0.0.29.110;FBBV/1]", "Facebook", "444.0"),
        (f"{ANDROID} Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/567.1.0.53.70;]", "Facebook", "567.1"),
        ("[FBAN/FB4A;FBAV/567.1.0.53.70;FBBV/822234861;FBDV/SM-A546B;FBSV/15]", "Facebook", "567.1"),
        (f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI", "WeChat", "8.0"),
        (f"{ANDROID} Mobile Safari/537.36 KAKAOTALK/10.4.3", "KakaoTalk", "10.4"),
        (f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.29.1234", "LinkedIn", "9.29"),
        (f"{ANDROID} Mobile Safari/537.36 musical_ly_2023 BytedanceWebview/d8a21c6", "TikTok", ""),
        (f"{IPHONE} Mobile/15E148 Safari Line/14.9.0", "LINE", "14.9"),
        (f"{ANDROID} Mobile Safari/537.36 Viber/27.4.0.0", "Viber", "27.4"),
        (f"{IPHONE} Mobile/15E148 Snapchat/12.80.0.45", "Snapchat", "12.80"),
        (f"Mozilla/5.0 (PlayStation 5 3.03/SmartTV) {WEBKIT}", "PlayStation", ""),
    ],
)
def test_tells_apps_that_show_pages_in_themselves(user_agent: str, browser: str, version: str) -> None:
    agent = agents().find(user_agent)
    assert (agent.browser, agent.browser_version, agent.is_bot) == (browser, version, False)
