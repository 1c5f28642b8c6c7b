-- How many pageviews an API client may send at once; 0: what its rate gives it.
ALTER TABLE hitline_control.clients ADD COLUMN IF NOT EXISTS burst UInt32 DEFAULT 0;
