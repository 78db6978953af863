-- A roll-rate table, all that many card books go by: of clients who stood at the same payment status in any month whose
-- next statement is known by now, the share that was two months late or more on it. (late + 1) / (clients + 2) is one
-- half where there is no past yet (rule of succession).
WITH moves AS (
  SELECT
    followed.next_known_at AS learned_at,
    followed.pay_status,
    COUNT(*) AS clients,
    COUNT(CASE WHEN followed.next_pay_status >= 2 THEN 1 END) AS late
  FROM followed
  GROUP BY followed.next_known_at, followed.pay_status
),
months AS (
  SELECT statements.known_at AS known_at
  FROM statements
  GROUP BY statements.known_at
),
shares AS (
  SELECT
    months.known_at,
    moves.pay_status,
    (SUM(moves.late) + 1.0) / (SUM(moves.clients) + 2.0) AS late_share
  FROM months
  INNER JOIN moves ON moves.learned_at <= months.known_at
  GROUP BY months.known_at, moves.pay_status
)
SELECT
  CAST(statements.id AS BIGINT) AS client_id,
  statements.known_at AS event_at,
  statements.known_at AS known_at,
  COALESCE(shares.late_share, 0.5) AS peers_late_share
FROM statements
LEFT JOIN shares ON shares.known_at = statements.known_at AND shares.pay_status = statements.pay_status
