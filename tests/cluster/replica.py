"""`python -m tests.cluster.replica`: the embedded ClickHouse as a replica; options besides the engine's own are below.

Without the sandbox, since it talks to a ZooKeeper and to other replicas.
"""

from __future__ import annotations

import argparse
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from deploy.local.clickhouse import __main__ as local
from deploy.local.clickhouse import sandbox
from tests.cluster.engine_patch import set_interserver_port
from tests.cluster.parts_server import PartsServer

CLUSTER = "hitline"
#: A session is marked by the server's id, of which chDB has none, under the name that a configuration gives ZooKeeper:
#: so each replica has another name for it.
_CONFIG = """
<clickhouse>
  <auxiliary_zookeepers>
    <keeper_{name}>
      <node><host>127.0.0.1</host><port>{zookeeper}</port></node>
      <session_timeout_ms>9000</session_timeout_ms>
    </keeper_{name}>
  </auxiliary_zookeepers>
  <default_replica_path>keeper_{name}:/clickhouse/tables/{{uuid}}/{{shard}}</default_replica_path>
  <default_replica_name>{{replica}}</default_replica_name>
  <macros><shard>1</shard><replica>{name}</replica></macros>
  <remote_servers>
    <{cluster}>
      <shard>
        <internal_replication>true</internal_replication>
        <replica><host>127.0.0.1</host><port>1</port></replica>
        <replica><host>127.0.0.1</host><port>2</port></replica>
      </shard>
    </{cluster}>
  </remote_servers>
</clickhouse>
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--zookeeper", type=int, required=True)
    parser.add_argument("--parts-port", type=int, required=True)
    own, rest = parser.parse_known_args()
    path = Path(rest[rest.index("--path") + 1])
    if not set_interserver_port(own.parts_port):
        return local.fail("this build of the engine is unknown to tests/cluster/engine_patch.py")
    PartsServer(path.resolve() / "store", own.parts_port).start()
    extra = ET.fromstring(_CONFIG.format(name=own.name, zookeeper=own.zookeeper, cluster=CLUSTER))
    os.environ["CLICKHOUSE_CONNECT_USE_C"] = "0"  # as in `__main__`, before what reads it
    from deploy.local.clickhouse import serve, users

    load = users.load

    def with_cluster(config_file: Path, into: Path, memory_bytes: int | None = None) -> tuple[users.Users, Path]:
        found, file = load(config_file, into, memory_bytes)
        root = ET.parse(file).getroot()
        root.extend(extra)
        file.write_bytes(ET.tostring(root))
        return found, file

    vars(serve)["load"] = with_cluster
    sandbox.enter = lambda *_, **__: False
    sys.argv = [sys.argv[0], *rest]
    return local.main()


if __name__ == "__main__":
    sys.exit(main())
