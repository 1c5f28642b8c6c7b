"""`hitline report`: a site's `figures`, and what shows them: `terminal`, `page` (HTML), `tables` (JSON, CSV)."""
