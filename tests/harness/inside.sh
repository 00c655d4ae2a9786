#!/usr/bin/env bash
# First program of a guest: runs the command whose words are in the file named by $1, NUL-separated.
# Its exit status goes into the file `status` beside that: of what vng hands on, nothing arrives
# where a device is missing, and that looks like any other exit status.
exec 2>&1
STARTED="vipctl-guest: the command starts"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1
# vng mounts 9p without a cache, so that each start of a program would read it again, and QEMU would
# translate it again. Here files of the host are cached, and writable: what is written is not kept.
mkdir -p /run/host/lower /run/host/modules
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /run/host/lower
mount --rbind /lib/modules /run/host/modules
for directory in /usr "$PWD"; do
    layers=/run/host/layers$directory
    mkdir -p "$layers"/{upper,work}
    mount -t overlay -o "lowerdir=/run/host/lower$directory,upperdir=$layers/upper,workdir=$layers/work" \
        host "$directory"
done
mkdir -p /lib/modules
mount --rbind /run/host/modules /lib/modules
modules=/lib/modules/$(uname -r)
ln -sfn "/run/host/lower$(readlink -f "$modules")" "$modules"
cd "$PWD" || exit
# What is touched is copied to memory: 9p takes milliseconds to open a file, even one in its cache.
programs=$(command -v sh bash ip nft ipvsadm ipset iptables ip6tables tcpdump python3)
libraries=$(ldd $programs 2>/dev/null | grep -o '/[^ ]*' | sort -u)
touch --no-create $programs $libraries /etc/ld.so.cache /etc/iproute2/* /usr/lib/locale/C.utf8/*

mapfile -d '' -t command < "$1"
echo "<1>$STARTED" > /dev/kmsg
read -r uptime _ < /proc/uptime
echo "kernel $(uname -r) is up after $uptime s"
"${command[@]}"
status=$?
echo "$status" > "${1%/*}/status"
exit "$status"
