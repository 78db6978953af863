-- One row per finished game, asked at the cut-off, 20 minutes before the scheduled start: 1 where the home team won.
-- A tie is no bet and no row. The closing line is known after the prediction only and settles what a bet was worth.
WITH entered AS (
  SELECT lines.game_id, lines.entered_ts, lines.seq, lines.ml_home, lines.ml_away
  FROM lines
  UNION
  SELECT live_lines.game_id, live_lines.entered_ts, live_lines.seq, live_lines.ml_home, live_lines.ml_away
  FROM live_lines
),
closes AS (
  SELECT
    entered.game_id,
    entered.ml_home,
    entered.ml_away,
    ROW_NUMBER() OVER (PARTITION BY entered.game_id ORDER BY entered.entered_ts DESC, entered.seq DESC) AS from_last
  FROM entered
  INNER JOIN games ON games.game_id = entered.game_id AND entered.entered_ts <= games.start_ts
  WHERE entered.ml_home IS NOT NULL AND entered.ml_away IS NOT NULL
),
implied AS (
  SELECT
    closes.game_id,
    CASE
      WHEN closes.ml_home > 0 THEN 100.0 / (100.0 + closes.ml_home)
      ELSE -closes.ml_home / (100.0 - closes.ml_home)
    END AS home,
    CASE
      WHEN closes.ml_away > 0 THEN 100.0 / (100.0 + closes.ml_away)
      ELSE -closes.ml_away / (100.0 - closes.ml_away)
    END AS away
  FROM closes
  WHERE closes.from_last = 1
)
SELECT
  games.game_id AS game_id,
  games.start_ts - INTERVAL 20 MINUTE AS predict_at,
  CAST(team_games.r_w AS BIGINT) AS outcome,
  GREATEST(team_games.known_at, games.start_ts) AS known_at,
  implied.home / (implied.home + implied.away) AS closing_probability,
  CASE WHEN games.doubleheader = 0 THEN 'single' ELSE 'doubleheader' END AS kind_of_day
FROM games
INNER JOIN team_games
  ON team_games.game_key = games.game_id AND team_games.team_alignment = 1 AND team_games.r_w + team_games.r_l = 1
LEFT JOIN implied ON implied.game_id = games.game_id
