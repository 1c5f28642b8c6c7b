"""`hitline top`: what gateways, broker, workers and ClickHouse do at this moment."""
