"""Questions are answered a page at a time, by what was asked for, and only of what may be seen."""

from __future__ import annotations

import pytest

from exporter.alerts.questions import Questions
from exporter.alerts.records import Receipt
from exporter.errors import BadRequestError, NotFoundError
from tests.alerts.bridging import NOW, Rig, an_alert


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "data", aggregation_window="0s")
    yield made
    made.close()


@pytest.fixture
def ask(rig):
    return Questions(rig.store)


def names(answer):
    return [alert["labels"].get("number", alert["name"]) for alert in answer["alerts"]]


def test_alert_is_shown_with_all_that_is_known(rig, ask):
    """Identity, labels, state and times; while it fires it has no end."""
    rig.take(an_alert(starts_at=NOW - 5, column="age"))
    (alert,) = ask.alerts()["alerts"]
    assert alert["name"] == "MLColumnDrift"
    assert (alert["model"], alert["severity"], alert["state"]) == ("fraud", "warning", "firing")
    assert alert["labels"]["column"] == "age"
    assert alert["annotations"] == {"summary": "MLColumnDrift of fraud"}
    assert alert["starts_at"] == "2026-11-24T03:59:55.000Z"
    assert alert["resolved_at"] is None
    assert alert["source"] == "alertmanager"


def test_pages_are_whole_whatever_comes_meanwhile(rig, ask):
    """Following `next` gives each entry once, newest first, also when new ones arrive in between."""
    for number in range(7):
        rig.take(an_alert(starts_at=NOW, number=str(number)))
        rig.clock.advance(number % 2)
    first = ask.alerts(limit=3)
    rig.take(an_alert(starts_at=NOW, number="new"))
    second = ask.alerts(limit=3, cursor=first["next"])
    third = ask.alerts(limit=3, cursor=second["next"])
    assert names(first) + names(second) + names(third) == list("6543210")
    assert third["next"] is None
    with pytest.raises(BadRequestError, match="next: expected the `next` of an answer"):
        ask.alerts(cursor="1; DROP TABLE alerts")


def test_alerts_are_found_by_what_was_asked_for(rig, ask):
    """Model, severity, state, name and time, alone and together."""
    rig.take(an_alert("MLA", starts_at=NOW - 100, number="1"))
    rig.take(an_alert("MLB", starts_at=NOW - 100, ends_at=NOW - 50, number="2"))
    rig.take(an_alert("MLA", starts_at=NOW - 10, number="3", severity="critical", model="churn"))
    assert names(ask.alerts(model="churn")) == ["3"]
    assert names(ask.alerts(severity="warning")) == ["2", "1"]
    assert names(ask.alerts(state="resolved")) == ["2"]
    assert names(ask.alerts(state="firing")) == ["3", "1"]
    assert names(ask.alerts(name="MLA", model="fraud")) == ["1"]
    assert names(ask.alerts(start=NOW - 40)) == ["3", "1"]
    assert names(ask.alerts(end=NOW - 20)) == ["2", "1"]
    assert names(ask.alerts(models=["churn", "none"])) == ["3"]
    assert names(ask.alerts(models=[])) == []
    with pytest.raises(BadRequestError, match="state: expected firing, resolved, silenced or inhibited"):
        ask.alerts(state="burning")
    with pytest.raises(BadRequestError, match="severity: expected info, warning or critical"):
        ask.alerts(severity="page")


def test_silenced_alert_says_so(rig, ask):
    """What fires but is muted is no longer among those that fire."""
    rig.take(an_alert())
    with rig.store.write() as connection:
        connection.execute("""UPDATE alerts SET suppressed = 'silenced', suppressed_by = '{"by": "ada"}'""")
    (alert,) = ask.alerts(state="silenced")["alerts"]
    assert alert["state"] == "silenced"
    assert alert["suppressed_by"] == {"by": "ada"}
    assert ask.alerts(state="firing")["alerts"] == []
    assert ask.summary()["by_state"] == {"silenced": 1}


def test_life_of_an_alert_names_what_was_told_where(rig, ask):
    """Events in order, and each notification with its deliveries."""
    rig.take(an_alert())
    rig.flush()
    delivery = rig.store.outbox.lease("hook", now=NOW, lease_seconds=60)
    rig.store.outbox.acknowledge(delivery, Receipt("answered 200"), NOW + 1)
    life = ask.alert(1)
    assert [event["kind"] for event in life["events"]] == ["firing", "notified"]
    assert life["events"][1] == {
        "at": "2026-11-24T04:00:01.000Z",
        "kind": "notified",
        "channel": "hook",
        "detail": "answered 200",
    }
    (told,) = life["notifications"]
    assert told["deliveries"][0]["state"] == "delivered"
    assert ask.alert("1", models=["fraud"])["id"] == 1
    for models in (None, ["churn"]):
        with pytest.raises(NotFoundError):
            ask.alert("2" if models is None else 1, models=models)


def test_summary_counts_by_each_property(rig, ask):
    """Totals, and how many of each model, severity, state and name."""
    for number in range(3):
        rig.take(an_alert("MLA", number=str(number)))
    rig.take(an_alert("MLB", model="churn", severity="critical"))
    answer = ask.summary()
    assert answer["total"] == 4
    assert answer["by_model"] == {"fraud": 3, "churn": 1}
    assert answer["by_severity"] == {"warning": 3, "critical": 1}
    assert answer["by_name"] == {"MLA": 3, "MLB": 1}
    assert answer["counts"][0] == {
        "model": "fraud",
        "severity": "warning",
        "state": "firing",
        "name": "MLA",
        "count": 3,
    }
    assert ask.summary(models=["churn"])["total"] == 1


def test_notifications_are_found_by_model_channel_and_state(rig, ask):
    """Each with its group, its alerts and its deliveries; who may see one model sees nothing of others."""
    rig.take(an_alert("MLA"), group_labels={"model": "fraud"})
    rig.flush()
    rig.clock.advance(1)
    rig.take(an_alert("MLB", model="churn"), an_alert("MLB"), group_labels={"alertname": "MLB"})
    rig.flush()
    both, one = ask.notifications()["notifications"]
    assert both["models"] == ["churn", "fraud"]
    assert one["group"]["labels"] == {"model": "fraud"}
    assert one["alerts"] == [{"id": 1, "name": "MLA", "change": "firing"}]
    assert one["deliveries"][0]["channel"] == "hook"
    assert one["deliveries"][0]["next_at"] is not None
    found = {
        "fraud": ask.notifications(model="fraud"),
        "churn": ask.notifications(model="churn"),
        "may see fraud": ask.notifications(models=["fraud"]),
        "may see both": ask.notifications(models=["fraud", "churn"]),
        "queued": ask.notifications(state="queued", channel="hook"),
        "dead": ask.notifications(state="dead"),
        "elsewhere": ask.notifications(channel="mail"),
    }
    assert {asked: len(answer["notifications"]) for asked, answer in found.items()} == {
        "fraud": 2,
        "churn": 1,
        "may see fraud": 1,
        "may see both": 2,
        "queued": 2,
        "dead": 0,
        "elsewhere": 0,
    }
    page = ask.notifications(limit=1)
    assert [told["id"] for told in page["notifications"]] == [both["id"]]
    rest = ask.notifications(limit=1, cursor=page["next"])
    assert [told["id"] for told in rest["notifications"]] == [one["id"]]
    assert rest["next"] is None


def test_damaged_notification_is_still_listed(rig, ask):
    """Content that cannot be read costs its words, not the page."""
    rig.take(an_alert())
    rig.flush()
    with rig.store.write() as connection:
        connection.execute("UPDATE notifications SET content = x'00'")
    (told,) = ask.notifications()["notifications"]
    assert told["alerts"] == []
    assert told["deliveries"][0]["state"] == "queued"


def test_rejected_webhooks_are_shown_with_their_reason(rig, ask):
    """What came and why it was refused, newest first."""
    for body in (b"{", b"[]"):
        with pytest.raises(BadRequestError):
            rig.intake.take(body)
    rejected = ask.rejected()["rejected"]
    assert [one["body"] for one in rejected] == ["[]", "{"]
    assert all(one["reason"] and one["bytes"] == len(one["body"]) for one in rejected)
