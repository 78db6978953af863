-- Runs that opponents scored in earlier starts of both announced pitchers: one row per game a day before its start, and
-- one at each later moment at which game logs became known, until 20 minutes before the start.
-- A pitcher is his initial and surname: "M BUMGARNER" in the list is "Madison Bumgarner" in the logs.
WITH starts AS (
  SELECT game_logs.home_sp AS name, game_logs.event_at, game_logs.known_at, game_logs.away_score AS runs
  FROM game_logs
  UNION ALL
  SELECT game_logs.away_sp AS name, game_logs.event_at, game_logs.known_at, game_logs.home_score AS runs
  FROM game_logs
),
named AS (
  SELECT
    UPPER(REPLACE(SUBSTRING(starts.name, 1, 1) || SUBSTRING(starts.name, STRPOS(starts.name, ' ') + 1), ' ', ''))
      AS pitcher,
    starts.event_at,
    starts.known_at,
    starts.runs
  FROM starts
),
known AS (
  SELECT DISTINCT game_logs.known_at FROM game_logs
),
listed AS (
  SELECT
    games.game_id,
    UPPER(REPLACE(games.home_sp, ' ', '')) AS home_pitcher,
    UPPER(REPLACE(games.away_sp, ' ', '')) AS away_pitcher,
    games.start_ts,
    games.known_at
  FROM games
),
moments AS (
  SELECT listed.game_id, listed.home_pitcher, listed.away_pitcher, listed.known_at AS taken_at
  FROM listed
  UNION
  SELECT listed.game_id, listed.home_pitcher, listed.away_pitcher, known.known_at AS taken_at
  FROM listed
  INNER JOIN known
    ON known.known_at > listed.known_at AND known.known_at <= listed.start_ts - INTERVAL 20 MINUTE
),
pairs AS (
  SELECT moments.home_pitcher AS pitcher, moments.taken_at FROM moments
  UNION
  SELECT moments.away_pitcher AS pitcher, moments.taken_at FROM moments
),
form AS (
  -- Starts of a year, and five of 4.5 runs before them: a newcomer is an average pitcher.
  SELECT
    pairs.pitcher,
    pairs.taken_at,
    (22.5 + COALESCE(SUM(named.runs), 0)) / (5.0 + COUNT(named.runs)) AS runs_per_start
  FROM pairs
  LEFT JOIN named
    ON named.pitcher = pairs.pitcher
    AND named.known_at <= pairs.taken_at
    AND named.event_at > pairs.taken_at - INTERVAL 365 DAY
  GROUP BY pairs.pitcher, pairs.taken_at
)
SELECT
  moments.game_id AS game_id,
  moments.taken_at AS event_at,
  moments.taken_at AS known_at,
  home.runs_per_start AS starter_runs_home,
  away.runs_per_start AS starter_runs_away
FROM moments
INNER JOIN form AS home ON home.pitcher = moments.home_pitcher AND home.taken_at = moments.taken_at
INNER JOIN form AS away ON away.pitcher = moments.away_pitcher AND away.taken_at = moments.taken_at
