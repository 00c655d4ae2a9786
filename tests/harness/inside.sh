#!/usr/bin/env bash
# First program of a guest: runs the command whose words are in the file named by $1, NUL-separated.
# Its exit status goes into the file `status` beside that: of what vng hands on, nothing arrives
# where a device is missing, and that looks like any other exit status.
exec 2>&1
STARTED="vipctl-guest: the command starts"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The repository with a cache (vng mounts 9p without), and writable: a guest reads it a lot.
mkdir -p /run/repository/{lower,upper,work}
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose repository \
    /run/repository/lower
mount -t overlay -o lowerdir=/run/repository/lower,upperdir=/run/repository/upper,workdir=/run/repository/work \
    repository "$PWD"
cd "$PWD" || exit

mapfile -d '' -t command < "$1"
echo "<1>$STARTED" > /dev/kmsg
read -r uptime _ < /proc/uptime
echo "kernel $(uname -r) is up after $uptime s"
"${command[@]}"
status=$?
echo "$status" > "${1%/*}/status"
exit "$status"
