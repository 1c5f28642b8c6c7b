-- What outcomes need to stay exact when dead letters are replayed.

-- Which of a message's pageviews were counted as dead-lettered, by position, and as which entry of the row's arrays
-- (from 1): the replay of one takes exactly that entry back.
ALTER TABLE hitline.outcomes_raw ADD COLUMN IF NOT EXISTS dead_positions Array(UInt16);
ALTER TABLE hitline.outcomes_raw ADD COLUMN IF NOT EXISTS dead_entries Array(UInt16);
-- The server's clock, since workers' clocks differ, and the row that was written last is the one that counts.
ALTER TABLE hitline.outcomes_raw MODIFY COLUMN version UInt64 DEFAULT toUnixTimestamp64Micro(now64(6));
