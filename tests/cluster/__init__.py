"""ClickHouse as a cluster: two embedded engines that replicate through a ZooKeeper."""
