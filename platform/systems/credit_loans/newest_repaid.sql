-- The last loan that a customer paid back before a loan, within a year; one row a loan. First loans have none.
WITH before AS (
  SELECT
    asked.loan_id,
    asked.known_at,
    repayments.closeddate,
    (EPOCH(repayments.closeddate) - EPOCH(repayments.approveddate)) / 86400.0 - repayments.termdays AS days_late,
    ROW_NUMBER() OVER (
      PARTITION BY asked.loan_id ORDER BY repayments.closeddate DESC, repayments.systemloanid DESC
    ) AS from_last
  FROM asked
  LEFT JOIN repayments
    ON repayments.customer_id = asked.customer_id
    AND repayments.known_at <= asked.known_at
    AND repayments.known_at > asked.known_at - INTERVAL 365 DAY
)
SELECT
  before.loan_id AS loan_id,
  before.known_at AS event_at,
  before.known_at AS known_at,
  -- LEAST passes over null: nothing paid back is no delay of 60 days.
  CASE WHEN before.days_late IS NOT NULL THEN GREATEST(LEAST(before.days_late, 60.0), -90.0) END AS newest_days_late,
  (EPOCH(before.known_at) - EPOCH(before.closeddate)) / 3600.0 AS hours_since_repaid
FROM before
WHERE before.from_last = 1
