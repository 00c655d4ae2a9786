#!/bin/sh
# One of several directors among which the router spreads connections: sh setup.sh
set -eu
cd "$(dirname "$0")"
install -D -m 644 ha.yml /etc/vipctl/ha.yml
vipctl apply services.yml
vipctl announce --print bird >/etc/bird/vipctl.conf
install -m 644 bird.conf /etc/bird/bird.conf
