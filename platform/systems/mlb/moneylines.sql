-- Every line with a moneyline and the probabilities that it implies, margin included. Lines of the archive and of the
-- live stream are one series; a line that stands in both counts once. A line without a moneyline is a market that is
-- suspended: the one before holds.
WITH entered AS (
  SELECT lines.game_id, lines.entered_ts, lines.seq, lines.ml_home, lines.ml_away, lines.total
  FROM lines
  UNION
  SELECT
    live_lines.game_id, live_lines.entered_ts, live_lines.seq, live_lines.ml_home, live_lines.ml_away, live_lines.total
  FROM live_lines
)
SELECT
  entered.game_id,
  entered.entered_ts,
  entered.seq,
  entered.ml_home,
  entered.ml_away,
  entered.total,
  CASE
    WHEN entered.ml_home > 0 THEN 100.0 / (100.0 + entered.ml_home)
    ELSE -entered.ml_home / (100.0 - entered.ml_home)
  END AS implied_home,
  CASE
    WHEN entered.ml_away > 0 THEN 100.0 / (100.0 + entered.ml_away)
    ELSE -entered.ml_away / (100.0 - entered.ml_away)
  END AS implied_away
FROM entered
WHERE entered.ml_home IS NOT NULL AND entered.ml_away IS NOT NULL
