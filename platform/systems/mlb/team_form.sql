-- What finished games say of both teams and of the park: one row per game a day before its start, and one at each
-- later moment at which results became known, until 20 minutes before the start.
WITH clubs AS (
  SELECT names.team, names.code
  FROM (VALUES
    ('Arizona Diamondbacks', 'ARI'), ('Atlanta Braves', 'ATL'), ('Baltimore Orioles', 'BAL'),
    ('Boston Red Sox', 'BOS'), ('Chicago Cubs', 'CHN'), ('Chicago White Sox', 'CHA'), ('Cincinnati Reds', 'CIN'),
    ('Cleveland Indians', 'CLE'), ('Colorado Rockies', 'COL'), ('Detroit Tigers', 'DET'), ('Houston Astros', 'HOU'),
    ('Kansas City Royals', 'KCA'), ('Los Angeles Angels of Anaheim', 'ANA'), ('Los Angeles Dodgers', 'LAN'),
    ('Miami Marlins', 'MIA'), ('Milwaukee Brewers', 'MIL'), ('Minnesota Twins', 'MIN'), ('New York Mets', 'NYN'),
    ('New York Yankees', 'NYA'), ('Oakland Athletics', 'OAK'), ('Philadelphia Phillies', 'PHI'),
    ('Pittsburgh Pirates', 'PIT'), ('San Diego Padres', 'SDN'), ('San Francisco Giants', 'SFN'),
    ('Seattle Mariners', 'SEA'), ('St. Louis Cardinals', 'SLN'), ('Tampa Bay Rays', 'TBA'),
    ('Texas Rangers', 'TEX'), ('Toronto Blue Jays', 'TOR'), ('Washington Nationals', 'WAS')
  ) AS names(team, code)
),
known AS (
  SELECT DISTINCT team_games.known_at FROM team_games
),
moments AS (
  SELECT games.game_id, games.home_team, games.away_team, games.start_ts, games.known_at AS taken_at
  FROM games
  UNION
  SELECT games.game_id, games.home_team, games.away_team, games.start_ts, known.known_at AS taken_at
  FROM games
  INNER JOIN known
    ON known.known_at > games.known_at AND known.known_at <= games.start_ts - INTERVAL 20 MINUTE
),
pairs AS (
  SELECT moments.home_team AS team, moments.taken_at FROM moments
  UNION
  SELECT moments.away_team AS team, moments.taken_at FROM moments
),
form AS (
  -- Of each team the known games of a year; all sums are of whole numbers, so their order does not matter.
  SELECT
    pairs.team,
    pairs.taken_at,
    MAX(team_games.event_at) AS last_at,
    AVG(CASE WHEN team_games.event_at > pairs.taken_at - INTERVAL 30 DAY THEN team_games.r_w END) AS win_share_30d,
    AVG(CASE WHEN team_games.event_at > pairs.taken_at - INTERVAL 30 DAY THEN team_games.b_r - team_games.p_r END)
      AS run_margin_30d,
    -- Forty games of nine runs before its own: a park that was hardly played in is an average one.
    (360.0 + SUM(CASE WHEN team_games.team_alignment = 1 THEN team_games.b_r + team_games.p_r ELSE 0 END))
    / (40.0 + SUM(team_games.team_alignment)) AS runs_at_home,
    (360.0 + SUM(CASE WHEN team_games.team_alignment = 0 THEN team_games.b_r + team_games.p_r ELSE 0 END))
    / (40.0 + SUM(1 - team_games.team_alignment)) AS runs_elsewhere
  FROM pairs
  INNER JOIN clubs ON clubs.team = pairs.team
  INNER JOIN team_games
    ON team_games.team_key = clubs.code
    AND team_games.known_at <= pairs.taken_at
    AND team_games.event_at > pairs.taken_at - INTERVAL 365 DAY
  GROUP BY pairs.team, pairs.taken_at
)
SELECT
  moments.game_id AS game_id,
  moments.taken_at AS event_at,
  moments.taken_at AS known_at,
  home.win_share_30d AS win_share_30d_home,
  away.win_share_30d AS win_share_30d_away,
  home.run_margin_30d AS run_margin_30d_home,
  away.run_margin_30d AS run_margin_30d_away,
  -- Whole days off, seven at most: before the season the last game was half a year ago. Ten hours before the start is
  -- the local date of day and night games alike.
  LEAST(FLOOR((EPOCH(moments.start_ts) - 36000.0 - EPOCH(home.last_at)) / 86400.0) - 1.0, 7.0) AS rest_days_home,
  LEAST(FLOOR((EPOCH(moments.start_ts) - 36000.0 - EPOCH(away.last_at)) / 86400.0) - 1.0, 7.0) AS rest_days_away,
  home.runs_at_home / home.runs_elsewhere AS park_factor
FROM moments
LEFT JOIN form AS home ON home.team = moments.home_team AND home.taken_at = moments.taken_at
LEFT JOIN form AS away ON away.team = moments.away_team AND away.taken_at = moments.taken_at
