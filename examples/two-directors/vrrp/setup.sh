#!/bin/sh
# One of two directors, active or passive by VRRP: sh setup.sh primary, on the other sh setup.sh backup
set -eu
cd "$(dirname "$0")"
install -D -m 644 ha.yml /etc/vipctl/ha.yml
vipctl apply services.yml
vipctl set-sync --interface eth2 --id 7
vipctl announce --print keepalived --preference "$1" >/etc/keepalived/keepalived.conf
