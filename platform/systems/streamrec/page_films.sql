-- One row per page and film on it, of the 100 most liked films of the chart that the user has not rated. What is said of
-- the user is of the ratings up to that moment.
WITH genres AS (
  SELECT CAST(films.item_id AS BIGINT) AS item_id, UNNEST(STRING_SPLIT(films.class, ' ')) AS genre
  FROM films
),
rated AS (
  SELECT
    pages.user_id,
    pages.asked_at,
    ratings.item_id,
    ratings.event_at,
    CASE WHEN ratings.rating >= 4 THEN 1 ELSE 0 END AS is_like,
    TRY_CAST(films.release_year AS DOUBLE) AS release_year
  FROM pages
  INNER JOIN ratings ON ratings.user_id = pages.user_id AND ratings.known_at <= pages.asked_at
  INNER JOIN films ON CAST(films.item_id AS BIGINT) = ratings.item_id
),
profiles AS (
  SELECT
    rated.user_id,
    rated.asked_at,
    COUNT(*) AS ratings,
    SUM(rated.is_like) AS likes,
    AVG(rated.release_year ORDER BY rated.event_at, rated.item_id) AS mean_year,
    EPOCH(MAX(rated.event_at)) - EPOCH(MIN(rated.event_at)) AS seconds
  FROM rated
  GROUP BY rated.user_id, rated.asked_at
),
tastes AS (
  SELECT rated.user_id, rated.asked_at, genres.genre, COUNT(*) AS ratings, SUM(rated.is_like) AS likes
  FROM rated
  INNER JOIN genres ON genres.item_id = rated.item_id
  GROUP BY rated.user_id, rated.asked_at, genres.genre
),
matched AS (
  SELECT
    pages.user_id,
    pages.asked_at,
    chart.item_id,
    COUNT(*) AS genres,
    SUM(COALESCE(tastes.ratings, 0)) AS ratings,
    SUM(COALESCE(tastes.likes, 0)) AS likes
  FROM pages
  INNER JOIN chart ON chart.taken_at = pages.taken_at AND chart.place <= 100
  INNER JOIN genres ON genres.item_id = chart.item_id
  LEFT JOIN tastes
    ON tastes.user_id = pages.user_id
    AND tastes.asked_at = pages.asked_at
    AND tastes.genre = genres.genre
  GROUP BY pages.user_id, pages.asked_at, chart.item_id
)
SELECT
  CAST(matched.user_id AS BIGINT) AS user_id,
  CAST(matched.item_id AS BIGINT) AS item_id,
  matched.asked_at AS event_at,
  matched.asked_at AS known_at,
  CAST(matched.likes AS DOUBLE) / (matched.genres * profiles.ratings) AS genre_likes,
  CAST(matched.ratings AS DOUBLE) / (matched.genres * profiles.ratings) AS genre_ratings,
  CAST(profiles.likes AS DOUBLE) / profiles.ratings AS user_like_ratio,
  LEAST(profiles.seconds / profiles.ratings, 3600.0) AS user_pace_seconds,
  profiles.mean_year AS user_mean_year,
  TRY_CAST(films.release_year AS DOUBLE) AS release_year
FROM matched
INNER JOIN profiles ON profiles.user_id = matched.user_id AND profiles.asked_at = matched.asked_at
INNER JOIN films ON CAST(films.item_id AS BIGINT) = matched.item_id
LEFT JOIN rated
  ON rated.user_id = matched.user_id
  AND rated.asked_at = matched.asked_at
  AND rated.item_id = matched.item_id
WHERE rated.item_id IS NULL
