#!/bin/sh
# Makes secrets/ for compose.yaml: one file a secret, readable by this user and the containers.  Existing files are kept.
set -eu
cd "$(dirname "$0")"
command -v openssl >/dev/null 2>&1 || { echo "secrets.sh: needs openssl" >&2; exit 1; }
umask 077
mkdir -p secrets
# Containers get the files by bind mount, so no other user of this host needs access to the directory.
chmod 0700 secrets

write() { printf '%s' "$2" >"secrets/$1.new" && chmod 0444 "secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; }
password() { openssl rand -hex 24; }
sha256() { printf '%s' "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }
missing() { [ ! -e "secrets/$1" ]; }

missing queue_keys && write queue_keys "$(openssl rand -base64 32)"
missing id_secret && write id_secret "$(openssl rand -hex 32)"
missing grafana_password && write grafana_password "$(password)"

if missing rabbitmq_definitions.json; then
    secret=$(password)
    write amqp_url "amqp://hitline:$secret@rabbitmq:5672/"
    write rabbitmq_definitions.json '{
  "vhosts": [{"name": "/"}],
  "users": [{"name": "hitline", "password": "'"$secret"'", "tags": "management"}],
  "permissions": [{"user": "hitline", "vhost": "/", "configure": "^hitline", "write": "^hitline", "read": "^hitline"}],
  "policies": [{"name": "pageviews", "vhost": "/", "pattern": "^hitline\\.pageviews$", "apply-to": "queues",
                "definition": {"max-length-bytes": 20000000000}}]
}'
fi

# The same user at the management API, by which gateways and workers see policies that would delete pageviews.
missing rabbitmq_api_url && write rabbitmq_api_url "$(sed 's|^amqp:|http:|; s|:5672/$|:15672|' secrets/amqp_url)"

if missing clickhouse.env; then
    admin=$(password)
    env="CLICKHOUSE_USER=admin
CLICKHOUSE_PASSWORD=$admin
CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT=1"
    write clickhouse_admin_url "http://admin:$admin@clickhouse:8123"
    for role in gateway worker registry keeper analyst; do
        secret=$(password)
        write "clickhouse_${role}_url" "http://hitline_$role:$secret@clickhouse:8123"
        [ "$role" != analyst ] || write clickhouse_analyst_password "$secret"
        env="$env
HITLINE_$(printf %s "$role" | tr '[:lower:]' '[:upper:]')_SHA256=$(sha256 "$secret")"
    done
    write clickhouse.env "$env
"
    # compose itself reads this one; no container does.
    chmod 0400 secrets/clickhouse.env
fi
echo "secrets/ is complete: keep a copy of queue_keys and id_secret somewhere safe"
