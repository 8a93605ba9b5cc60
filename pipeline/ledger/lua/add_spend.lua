-- Adds a charge that belongs to no batch to the cost of the day.
-- ARGV: charge (pico-USD).
add_spend(ARGV[1])
