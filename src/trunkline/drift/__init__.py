"""Drift: is what a release serves still what it was made from, and does it still answer as it was shown to?

`windows` cuts its time, `observed` counts a window of the log, `features` looks at texts, `watched` names what is
compared with what; `exact` and `comparison` compare a window with its reference, `detector` and `quality` bet on
labels, `judging` bounds the false alarms of all together, and `signals` says it in words.
"""
