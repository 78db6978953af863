"""The measure room: arrays in, numbers and tidy tables out.

Belongs here: statistics (scores, calibration, drift, comparison, fairness, effect, experiment, market) with
sources.
Does not belong here: pictures (`draw/`), rows with time (`store/`), decisions about models (`learn/`),
clocks.
"""
