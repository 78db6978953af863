-- What is asked for, one row a loan.
SELECT
  asked.loan_id AS loan_id,
  asked.known_at AS event_at,
  asked.known_at AS known_at,
  CAST(asked.loanamount AS DOUBLE) AS amount_ngn,
  CAST(asked.termdays AS BIGINT) AS term_days,
  CAST(asked.totaldue - asked.loanamount AS DOUBLE) / asked.loanamount AS interest_ratio
FROM asked
