-- The table that a lender keeps by hand: of earlier loans whose customers had been late with the same share of the loans
-- before (never, up to a third, more, or nothing known), the share that was late, of all that are settled by now.
-- (late + 1) / (loans + 2) is one half where there is no past yet (rule of succession).
WITH habits AS (
  SELECT
    asked.loan_id,
    asked.known_at,
    CASE
      WHEN COUNT(earlier.systemloanid) = 0 THEN 3
      WHEN SUM(earlier.is_late) = 0 THEN 0
      WHEN 3 * SUM(earlier.is_late) <= COUNT(earlier.systemloanid) THEN 1
      ELSE 2
    END AS habit
  FROM asked
  LEFT JOIN settled AS earlier
    ON earlier.customer_id = asked.customer_id
    AND earlier.settled_at <= asked.known_at
    AND earlier.settled_at > asked.known_at - INTERVAL 365 DAY
  GROUP BY asked.loan_id, asked.known_at
),
moments AS (
  SELECT habits.habit, settled.settled_at AS at, 1 AS loans, settled.is_late AS late, NULL AS loan_id
  FROM habits
  INNER JOIN settled ON settled.systemloanid = habits.loan_id
  UNION ALL
  SELECT habits.habit, habits.known_at AS at, 0 AS loans, 0 AS late, habits.loan_id
  FROM habits
),
counted AS (
  SELECT
    moments.loan_id,
    moments.at,
    SUM(moments.loans) OVER (PARTITION BY moments.habit ORDER BY moments.at) AS loans,
    SUM(moments.late) OVER (PARTITION BY moments.habit ORDER BY moments.at) AS late
  FROM moments
)
SELECT
  CAST(counted.loan_id AS BIGINT) AS loan_id,
  counted.at AS event_at,
  counted.at AS known_at,
  (counted.late + 1.0) / (counted.loans + 2.0) AS peers_late_share
FROM counted
WHERE counted.loan_id IS NOT NULL
