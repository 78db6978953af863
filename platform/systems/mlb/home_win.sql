-- One row per finished game, asked at the cut-off, 20 minutes before the scheduled start: 1 where the home team won.
-- A tie is no bet and no row. The closing line is known after the prediction only and settles what a bet was worth.
WITH closes AS (
  SELECT
    moneylines.game_id,
    moneylines.implied_home,
    moneylines.implied_away,
    ROW_NUMBER() OVER (
      PARTITION BY moneylines.game_id ORDER BY moneylines.entered_ts DESC, moneylines.seq DESC
    ) AS from_last
  FROM moneylines
  INNER JOIN games ON games.game_id = moneylines.game_id AND moneylines.entered_ts <= games.start_ts
)
SELECT
  games.game_id AS game_id,
  games.start_ts - INTERVAL 20 MINUTE AS predict_at,
  CAST(team_games.r_w AS BIGINT) AS outcome,
  GREATEST(team_games.known_at, games.start_ts) AS known_at,
  closes.implied_home / (closes.implied_home + closes.implied_away) AS closing_probability,
  CASE WHEN games.doubleheader = 0 THEN 'single' ELSE 'doubleheader' END AS kind_of_day
FROM games
INNER JOIN team_games
  ON team_games.game_key = games.game_id AND team_games.team_alignment = 1 AND team_games.r_w + team_games.r_l = 1
LEFT JOIN closes ON closes.game_id = games.game_id AND closes.from_last = 1
