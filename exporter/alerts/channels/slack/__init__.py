"""Slack, by an incoming webhook or as a bot.

`mrkdwn` is its text format, `blocks` turns a message into posts within Block Kit's limits, `transport` speaks
HTTP, `webhook` and `bot` deliver, `channel` is what the bridge opens.
"""
