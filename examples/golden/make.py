"""Writes the scenarios of this folder: the same bytes every time. Only Python itself is needed.

    python examples/golden/make.py
"""

import json
import pathlib
import random

START = 1_767_225_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Stream:
    """Events and labels of one scenario, and what is expected of its accounts."""

    def __init__(self, name):
        self.name = name
        self.chance = random.Random(name)
        self.events, self.labels, self.expected = [], [], []

    def person(self, account, country="NL", client="ios-18.1", network="fixed", device=None, ip=None):
        n = self.chance.getrandbits(40)
        ip = ip or f"{20 + n % 60}.{n >> 8 & 255}.{n >> 16 & 255}.{n >> 24 & 255}"
        return {"account": account, "device": device or f"d{n:012x}", "ip": ip, "country": country, "client": client, "network": network}

    def event(self, at, who, what, target=None, entities=None, **attributes):
        event = {"ts": START + int(at), "type": what, "account": who["account"]}
        if target:
            event["target"] = target
        event["entities"] = {"device": who["device"], "ip": who["ip"]} | (entities or {})
        event["attributes"] = {key: who[key] for key in ("country", "client", "network")} | attributes
        self.events.append(event)

    def label(self, at, account, bad, source="moderator"):
        self.labels.append({"account": account, "label": bad, "ts": START + int(at), "source": source, "confidence": 1.0})

    def message(self, at, who, target, url=False, length=None, content=None, contact=False):
        length = length or self.chance.randint(8, 90)
        entities = {"content": content} if content else None
        self.event(at, who, "message", target, entities, text_length=length, has_url=url, has_contact=contact)

    def signup(self, at, who, phone=None):
        self.event(at, who, "signup", None, {"phone": phone} if phone else None, verified=bool(phone))

    def visit(self, at, who, others, busy=6):
        """An ordinary visit: a login, looks, likes, a short conversation."""
        self.event(at, who, "login", verified=True)
        for _ in range(self.chance.randint(2, busy)):
            at += self.chance.randint(15_000, 4 * MINUTE)
            other = self.chance.choice(others)
            what = self.chance.choices(["view", "like", "message", "reply", "follow"], [6, 2, 2, 3, 0.4])[0]
            if what in ("message", "reply"):
                self.event(at, who, what, other, None, text_length=self.chance.randint(5, 80), has_url=False, has_contact=False)
            else:
                self.event(at, who, what, other)

    def crowd(self, count, days, name="h"):
        """Honest accounts that were there before, each with a device of its own."""
        people = [self.person(f"{name}{i:03}", self.chance.choice(["NL", "DE", "FR", "US"])) for i in range(count)]
        names = [p["account"] for p in people]
        for person in people:
            at = self.chance.uniform(0, DAY)
            while at < days * DAY:
                self.visit(at, person, [n for n in names if n != person["account"]])
                at += self.chance.uniform(0.6, 3) * DAY
        return people

    def expect(self, account, **what):
        self.expected.append({"account": account} | what)

    def write(self):
        folder = pathlib.Path(__file__).parent / self.name
        folder.mkdir(exist_ok=True)
        self.events.sort(key=lambda e: e["ts"])
        events = [{"event_id": f"{self.name}-{i}"} | e for i, e in enumerate(self.events)]
        files = {"events": events, "expected": self.expected, "labels": sorted(self.labels, key=lambda e: e["ts"])}
        for name, lines in files.items():
            if lines:
                text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
                (folder / f"{name}.ndjson").write_text(text)


def spam_ring():
    s = Stream("spam_ring")
    honest = [p["account"] for p in s.crowd(9, 6)]
    devices = ["d0000ringa", "d0000ringb"]
    for i in range(10):
        who = s.person(f"ring{i}", "PH", "android-13", "hosting", devices[i % 2], "185.7.7.7")
        at = 4 * DAY + i * 4 * MINUTE
        s.signup(at, who)
        for j in range(22):
            at += s.chance.randint(20_000, 70_000)
            s.message(at, who, s.chance.choice(honest), True, 140, f"t{j % 3}copy", True)
    s.expect("ring*", at_least="challenge", share=0.8)
    s.expect("h*", at_most="none", share=0.9)
    return s


def card_tester():
    s = Stream("card_tester")
    honest = [p["account"] for p in s.crowd(8, 5)]
    for i in range(4):
        who = s.person(f"tester{i}", "BR", "web-3.5", "hosting", "d0000tester", f"185.9.9.{i}")
        at = 3 * DAY + i * 20 * MINUTE
        s.signup(at, who)
        for j in range(24):
            at += s.chance.randint(8_000, 40_000)
            what = "payment" if j % 6 == 5 else "payment_declined"
            s.event(at, who, what, s.chance.choice(honest[:3]), {"card": f"c{i:02}{j:04}"}, amount=round(s.chance.uniform(0.5, 4), 2))
    s.expect("tester*", at_least="challenge", share=0.75)
    s.expect("h*", at_most="none", share=0.9)
    return s


def farm_found_out():
    s = Stream("farm_found_out")
    honest = [p["account"] for p in s.crowd(7, 16)]
    farm = [s.person(f"farm{i:02}", "IN", "android-14", "mobile", f"d0000farm{i % 3}", f"49.3.{i % 2}.1") for i in range(12)]
    for i, who in enumerate(farm):
        s.signup(i * 20 * HOUR, who)
        s.visit(i * 20 * HOUR + HOUR, who, honest, 3)
    for i, who in enumerate(farm[:6]):
        at = 12 * DAY + i * HOUR
        for j in range(14):
            at += s.chance.randint(30_000, 120_000)
            s.message(at, who, s.chance.choice(honest), True, 120, f"t{j % 2}farm")
        s.label(13 * DAY + i * HOUR, who["account"], 1)
    # The others wake up when the first are known.
    for i, who in enumerate(farm[6:]):
        at = 15 * DAY + i * 30 * MINUTE
        for j in range(14):
            at += s.chance.randint(30_000, 120_000)
            s.message(at, who, s.chance.choice(honest), True, 120, f"t{j % 2}farm")
    for who in farm[6:]:
        s.expect(who["account"], at_least="review")
    s.expect("h*", at_most="none", share=0.9)
    return s


def cleared():
    s = Stream("cleared")
    honest = [p["account"] for p in s.crowd(7, 10)]
    ring = [s.person(f"ring{i}", "BR", "android-13", "mobile", "d0000same", "49.8.8.8") for i in range(8)]
    for i, who in enumerate(ring):
        s.signup(5 * DAY + i * 10 * MINUTE, who)
        for j in range(12):
            s.message(5 * DAY + i * 10 * MINUTE + (j + 1) * 40_000, who, s.chance.choice(honest), True, 130, "t0same", True)
        if i < 6:
            s.label(6 * DAY + i * MINUTE, who["account"], 1, "report")
    # One of them was put to it by others: acted on, then cleared by a moderator.
    victim = ring[7]
    for j in range(10):
        s.message(7 * DAY + j * 5 * MINUTE, victim, s.chance.choice(honest), True, 130, "t0same", True)
    s.label(9 * DAY, victim["account"], 0, "appeal")
    s.visit(10 * DAY, victim, honest, 4)
    s.expect("ring7", at_least="challenge", reversed=True)
    s.expect("h*", at_most="none", share=0.9)
    return s


def takeover():
    s = Stream("takeover")
    people = s.crowd(5, 19)
    names = [p["account"] for p in people]
    owner = s.person("owner", "DE", "ios-18.3")
    at = 3 * HOUR
    while at < 18 * DAY:
        s.visit(at, owner, names)
        at += s.chance.uniform(0.5, 1.5) * DAY
    thief = s.person("owner", "NG", "web-3.4", "hosting")
    at = 18.5 * DAY
    for _ in range(5):
        s.event(at, thief, "login_failed")
        at += 12_000
    s.event(at, thief, "login", verified=False)
    for field in ("password", "email"):
        at += 50_000
        s.event(at, thief, "profile_edit", None, None, field=field)
    s.event(at + 60_000, thief, "payout_edit", None, {"payout": "b0000thief"})
    s.event(at + 120_000, thief, "withdraw", None, {"payout": "b0000thief"}, amount=480.0)
    for j in range(20):
        at += s.chance.randint(15_000, 50_000)
        s.message(at + 3 * MINUTE, thief, s.chance.choice(names), True, 90, "t0thief", True)
    s.expect("owner", at_least="challenge")
    s.expect("h*", at_most="none", share=0.9)
    return s


def campus():
    s = Stream("campus")
    s.crowd(5, 5)
    students = [s.person(f"student{i:02}", "NL", ip="145.1.1.1") for i in range(40)]
    names = [p["account"] for p in students]
    for i, who in enumerate(students):
        s.signup(s.chance.uniform(0, 2) * DAY, who, f"p{i:08}")
        for _ in range(2):
            s.visit(s.chance.uniform(2, 5) * DAY, who, names, 4)
    s.expect("student*", at_most="none", share=0.97)
    s.expect("h*", at_most="none", share=0.9)
    return s


def family():
    s = Stream("family")
    s.crowd(5, 14)
    for home in range(4):
        ip, tablet, card = f"84.2.{home}.9", f"d0000tablet{home}", f"c0000home{home}"
        members = [s.person(f"family{home}{m}", "FR", ip=ip) for m in range(4)]
        names = [m["account"] for m in members]
        for who in members:
            s.signup(s.chance.uniform(0, 3) * DAY, who, f"p{who['account']}")
            for day in range(3, 14, 2):
                at = (day + s.chance.uniform(0.3, 0.9)) * DAY
                # In the evening on the tablet that they share.
                place = who | {"device": tablet} if s.chance.random() < 0.4 else who
                s.visit(at, place, names + ["h001", "h002"], 4)
                if s.chance.random() < 0.2:
                    s.event(at + HOUR, who, "payment", "h003", {"card": card}, amount=round(s.chance.uniform(5, 60), 2))
    s.expect("family*", at_most="challenge")
    s.expect("family*", at_most="none", share=0.9)
    s.expect("h*", at_most="none", share=0.9)
    return s


def popular_creator():
    s = Stream("popular_creator")
    names = [p["account"] for p in s.crowd(24, 8)]
    creator = s.person("creator", "US", "ios-18.3")
    at = HOUR
    while at < 7 * DAY:
        s.visit(at, creator, names)
        at += 8 * HOUR
    # The announcement, to all who follow; they come within the hour.
    for i, name in enumerate(names):
        s.message(7 * DAY + i * 12_000, creator, name, True, 60)
    fans = [s.person(f"fan{i:02}", s.chance.choice(["NL", "US", "DE"])) for i in range(30)]
    for i, fan in enumerate(fans):
        at = 7 * DAY + s.chance.uniform(0, 1) * HOUR
        s.signup(at, fan, f"p{i:06}fan")
        for what in ("view", "follow", "like"):
            at += s.chance.randint(20_000, 90_000)
            s.event(at, fan, what, "creator")
    s.expect("creator", at_most="challenge")
    s.expect("fan*", at_most="none", share=0.95)
    s.expect("h*", at_most="none", share=0.9)
    return s


def joe_job():
    s = Stream("joe_job")
    people = s.crowd(10, 24, "victim")
    names = [p["account"] for p in people]
    # Each has a text that it sends now and then.
    for i, who in enumerate(people):
        at = s.chance.uniform(1, 3) * DAY
        while at < 24 * DAY:
            s.message(at, who, s.chance.choice([n for n in names if n != who["account"]]), False, 60, f"t{i:03}own")
            at += s.chance.uniform(2, 5) * DAY
    # Throw-away accounts come to the device's key of some, and quote the text of the others; each is found out.
    for i, victim in enumerate(people):
        for j in range(8):
            who = s.person(f"new{i:02}{j}", "PH", "android-13", "hosting", victim["device"] if i % 2 else None)
            at = 15 * DAY + i * HOUR + j * 20 * MINUTE
            s.signup(at, who)
            for k in range(3):
                at += s.chance.randint(20_000, 70_000)
                s.message(at, who, s.chance.choice(names), True, 60, f"t{i:03}own")
            s.label(at + HOUR, who["account"], 1)
    # The control: a ring on a device of its own. Half of it is found out, the others go on.
    ring = [s.person(f"ring{i}", "PH", "android-13", "hosting", "d0000ring", f"185.7.7.{i}") for i in range(8)]
    for i, who in enumerate(ring):
        at = 17 * DAY + i * 10 * MINUTE
        s.signup(at, who)
        for j in range(8 if i < 4 else 3):
            at += s.chance.randint(20_000, 70_000)
            s.message(at, who, s.chance.choice(names), True, 140, f"t{j % 2}ring")
        if i < 4:
            s.label(18 * DAY + i * HOUR, who["account"], 1)
    for i, who in enumerate(ring[4:]):
        at = 19 * DAY + i * 20 * MINUTE
        for j in range(10):
            at += s.chance.randint(20_000, 70_000)
            s.message(at, who, s.chance.choice(names), True, 140, f"t{j % 2}ring")
        s.expect(who["account"], at_least="review")
    s.expect("victim*", at_most="none")
    return s


for scenario in (spam_ring, card_tester, farm_found_out, cleared, takeover, campus, family, popular_creator, joe_job):
    scenario().write()
