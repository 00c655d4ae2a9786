#!/bin/sh
# One of two directors whose real servers keepalived checks and weighs: sh setup.sh primary, or backup
set -eu
cd "$(dirname "$0")"
install -D -m 644 ha.yml /etc/vipctl/ha.yml
vipctl add-range 203.0.113.0/24 --fwmark 17
vipctl announce --print keepalived --preference "$1" >/etc/keepalived/vipctl.conf
install -m 644 keepalived.conf /etc/keepalived/keepalived.conf
sysctl --quiet --write net.ipv4.ip_forward=1
