from __future__ import annotations

import pytest

from tests.worker.factories import agents

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
        ("tv", f"Mozilla/5.0 (Linux; Android 6.0.1; NEXBOX-A5) {WEBKIT} Chrome/67.0.3396.87 Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Linux; Android 9; MXQ-4K Build/PTT1.190222.001) {WEBKIT} Chrome/69 Mobile Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Linux; Android 11; 43LU1204) {WEBKIT} Chrome/102.0.5005.167 Mobile Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Linux; Android 9; 32LEX-7162/TS2C) {WEBKIT} Chrome/69.0.3497.91 Safari/537.36"),
        ("tv", f"Mozilla/5.0 (Linux; Android 9; Smart Box B1) {WEBKIT} Chrome/107.0.0.0 Safari/537.36"),
        ("tv", "Opera/9.80 (Linux mips; U; xx) Presto/2.10.287 Version/12.00 DuneHD/1.0 CE-HTML/1.0 NETRANGEMMH"),
        ("tv", "OPR/22.0.1481.0 OMI/4.2.12.29, KreaTV/0.0.0.0 (ARRIS, IPC1100, wired)"),
        ("tv", f"Mozilla/5.0 (Linux; WHALEOS) {WEBKIT} Chrome/94.0 Safari/537.36"),
        ("tablet", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} CriOS/138 Mobile/15E148 Safari/604.1"),
        ("tablet", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} FxiOS/138.0 Safari/605.1.15"),
        ("tablet", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/17.0 EdgiOS/138.0 Safari/604.1"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 10; Lenovo TB-X606F) {WEBKIT} Chrome/88.0 Mobile Safari/537.36"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 10; BQ-1025L) {WEBKIT} Chrome/84.0.4147.135 Mobile Safari/537.36"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 4.2.2; MID1035) {WEBKIT} Chrome/32.0 Mobile Safari/537.36"),
        ("mobile", f"Mozilla/5.0 (Linux; Android 8.1.0; Pixel 2 XL Build/OPM1) {WEBKIT} Chrome/63.0 Safari/537.36"),
        ("mobile", f"Mozilla/5.0 (Windows NT 10.0; ARM; Lumia 950 XL) {WEBKIT} Chrome/46.0.2486.0 Safari/537.36 Edge"),
        ("desktop", f"Mozilla/5.0 (PC; OpenHarmony 5.0) {WEBKIT} Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1"),
        ("mobile", f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {WEBKIT} Chrome/114.0.0.0 Mobile Safari/537.36 ArkWeb/4.1"),
        ("desktop", f"Mozilla/5.0 (Linux; Android 9; HP Chromebook 13 G1) {WEBKIT} Chrome/80.0.3987.162 Safari/537.36"),
        ("desktop", f"Mozilla/5.0 (Linux; Android 7.1.1; Inspiron 5468) {WEBKIT} Chrome/72.0.3626.121 Safari/537.36"),
        ("other", f"Mozilla/5.0 (X11; Linux) {WEBKIT} QtCarBrowser Safari/534.34"),
        ("other", f"Mozilla/5.0 (X11; GNU/Linux) {WEBKIT} Chrome/109.0 Safari/537.36 Tesla/2023.20.4"),
        ("other", f"Mozilla/5.0 (Linux; Android 9; AEOBC) {WEBKIT} Silk/108.4 like Chrome/108.0 Safari/537.36"),
        ("other", f"Mozilla/5.0 (Linux; Android 11; SM-R890) {WEBKIT} Chrome/105.0 Mobile Safari/537.36 Wear OS"),
        ("other", "Mozilla/5.0 (PlayStation; PlayStation 5/3.03/SmartTV) AppleWebKit/605.1.15 (KHTML, like Gecko)"),
        ("bot", f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {WEBKIT} Chrome/138.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),  # noqa: E501
    ],
)  # fmt: skip
def test_tells_the_class_of_a_device(device, user_agent):
    assert agents().find(user_agent).device == device
