-- One row per moneyline entered until 20 minutes before the start: the line itself and how it came there.
WITH margin_free AS (
  SELECT
    moneylines.game_id,
    moneylines.entered_ts,
    moneylines.seq,
    moneylines.ml_home,
    moneylines.ml_away,
    moneylines.total,
    games.start_ts,
    GREATEST(moneylines.entered_ts, games.known_at) AS known_at,
    moneylines.implied_home / (moneylines.implied_home + moneylines.implied_away) AS probability
  FROM moneylines
  INNER JOIN games
    ON games.game_id = moneylines.game_id
    AND moneylines.entered_ts <= games.start_ts - INTERVAL 20 MINUTE
),
series AS (
  SELECT
    margin_free.game_id,
    margin_free.entered_ts,
    margin_free.seq,
    margin_free.ml_home,
    margin_free.ml_away,
    margin_free.total,
    margin_free.start_ts,
    margin_free.known_at,
    margin_free.probability,
    FIRST_VALUE(margin_free.probability) OVER (
      PARTITION BY margin_free.game_id ORDER BY margin_free.entered_ts, margin_free.seq
    ) AS open_probability,
    LAST_VALUE(margin_free.probability) OVER (
      PARTITION BY margin_free.game_id ORDER BY margin_free.entered_ts
      RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 HOUR PRECEDING
    ) AS probability_1h_before,
    margin_free.probability - LAG(margin_free.probability) OVER (
      PARTITION BY margin_free.game_id ORDER BY margin_free.entered_ts, margin_free.seq
    ) AS step
  FROM margin_free
),
moves AS (
  SELECT
    series.game_id,
    series.entered_ts,
    COUNT(CASE WHEN series.step > 0 THEN 1 END) OVER (
      PARTITION BY series.game_id ORDER BY series.entered_ts
      RANGE BETWEEN INTERVAL 30 MINUTE PRECEDING AND CURRENT ROW
    ) AS ups_30m,
    COUNT(CASE WHEN series.step < 0 THEN 1 END) OVER (
      PARTITION BY series.game_id ORDER BY series.entered_ts
      RANGE BETWEEN INTERVAL 30 MINUTE PRECEDING AND CURRENT ROW
    ) AS downs_30m,
    series.seq,
    MAX(series.seq) OVER (PARTITION BY series.game_id, series.entered_ts) AS last_seq
  FROM series
)
SELECT
  series.game_id AS game_id,
  series.entered_ts AS event_at,
  series.known_at AS known_at,
  series.probability AS market_probability,
  series.open_probability AS open_probability,
  CAST(series.ml_home AS BIGINT) AS ml_home,
  CAST(series.ml_away AS BIGINT) AS ml_away,
  series.total AS total_runs,
  series.probability - series.open_probability AS line_move,
  series.probability - COALESCE(series.probability_1h_before, series.open_probability) AS line_velocity_1h,
  -- Steam: at least three moves within half an hour, all to one side; counted for home, negative against.
  CASE
    WHEN moves.downs_30m = 0 AND moves.ups_30m >= 3 THEN moves.ups_30m
    WHEN moves.ups_30m = 0 AND moves.downs_30m >= 3 THEN -moves.downs_30m
    ELSE 0
  END AS steam_moves,
  -- Reverse line movement: away from the side that the opening favours, which is where the public bets.
  (series.open_probability - series.probability)
  * CASE WHEN series.open_probability >= 0.5 THEN 1.0 ELSE -1.0 END AS reverse_line_move,
  EPOCH(series.start_ts) AS starts_at_seconds
FROM series
INNER JOIN moves
  ON moves.game_id = series.game_id AND moves.entered_ts = series.entered_ts AND moves.seq = series.seq
  -- Of lines entered at the same instant the last one holds.
  AND moves.last_seq = series.seq
