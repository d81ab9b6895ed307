"""The notification bridge: what Prometheus decided and Alertmanager grouped is delivered and remembered.

::

    webhook, send_alert        payload      bytes -> alerts, or a reason
        |                      intake       alerts -> store, in one transaction, before anybody is answered
        v                      routing      an alert -> routes -> groups
    store/                     aggregation  groups whose window is over -> notifications -> deliveries
        |                      delivery/    a queue for each channel: lease, send, acknowledge
        v                      composing/   a notification -> a message: facts, charts, links, templates
    channels/                  channels/    a message -> Slack, email, webhook, apprise

Records are in `records`, settings in `config`; `bridge` puts the parts together.
"""
