"""An LLM as a judge of what was answered: `prompt` asks and reads, `calibration` says whether people agree with it,
`found` says what the monitor shows.

Its verdicts in a window are compared with the same judge's verdicts in the release's first windows, by the test that
all comparisons with first windows have. Its errors are the same in both, so they cost power but no false alarms: where
nothing changed, a window's verdicts are exchangeable with the first ones, whatever the judge is worth.

Prediction-powered inference (Angelopoulos et al., Science 382, 2023) would take the errors out of the estimate, but
needs labels of predictions that were drawn at random. Feedback is not, and calibration asks less of it: how often the
judge agrees with people where they call an answer right, and where they call one wrong, is the same though people look
at wrong answers more often.
"""
