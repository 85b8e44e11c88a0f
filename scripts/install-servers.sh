#!/usr/bin/env bash
# Installs the servers that tests of the queue's adapters use (Redis, RabbitMQ, PostgreSQL) from Debian's packages,
# without starting them: each test starts its own. Does nothing where they are there, or cannot be installed:
# their tests then say that they are skipped, and why.
set -uo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
{ command -v rabbitmq-server || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; } >/dev/null || missing+=(rabbitmq-server)
{ command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'; } >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} -eq 0 ]; then
  echo 'all servers are installed'
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, their tests are skipped: ${missing[*]} (needs root and apt-get)"
  exit 0
fi

# Debian asks this program before it starts a service: 101 = it may not.
policy=/usr/sbin/policy-rc.d
own_policy=false
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  own_policy=true
fi
# No cluster of the system's own is needed either.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  DEBIAN_FRONTEND=noninteractive timeout 180 \
    apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}" >"$log" 2>&1
}
if install || { timeout 120 apt-get update -q >/dev/null 2>&1 && install; }; then
  echo "installed: ${missing[*]}"
else
  echo "could not be installed, their tests are skipped: ${missing[*]}"
  tail -5 "$log"
fi
[ $own_policy = false ] || rm -f $policy
exit 0
