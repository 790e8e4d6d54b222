#!/bin/bash
# First process of a host, in namespaces of its own: makes the host's file system, enters it, reaps what is orphaned.
# Its parent has put it into the host's cgroup and made its network interface.
#   NAME         of the host
#   DISK         directory that holds what the host writes
#   READ_ONLY    paths of the machine it sees, separated by colons
#   WRITABLE     paths of the machine it sees and may change for itself
#   SHARED       directory of the machine that it sees at /shared, as other hosts do; empty: none
#   CGROUP       directory of its cgroup; empty: it has none
#   CGROUP_AT    where the host finds that
set -eu

root=$DISK/root
mkdir -p "$root"/{etc,home/ray,root,tmp,var/tmp,run/sshd,proc,sys,dev,old,usr,mnt}
chmod 1777 "$root/tmp" "$root/var/tmp"
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"

for link in bin sbin lib lib32 lib64; do
    if [ -L "/$link" ] && [ ! -e "$link" ]; then cp -a "/$link" .; fi
done
IFS=:
for path in /usr $READ_ONLY; do
    mkdir -p ".$path"
    mount --bind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
done
for path in $WRITABLE; do
    layer=$DISK/layers$path
    mkdir -p ".$path" "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$layer/upper,workdir=$layer/work" ".$path"
done
unset IFS
if [ -n "$SHARED" ]; then
    mkdir -p shared
    mount --bind "$SHARED" shared
fi

if [ ! -e etc/hostname ]; then
    cp -a /etc/. etc/
    # What names belong to whom on the machine does not matter here, and Ray's tools look for `ray`.
    sed -i '/^[^:]*:[^:]*:1000:/d; /^ray:/d' etc/passwd etc/group
    echo 'ray:x:1000:1000::/home/ray:/bin/bash' >> etc/passwd
    echo 'ray:x:1000:' >> etc/group
    echo "$NAME" > etc/hostname
    printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$NAME" > etc/hosts
    chown 1000:1000 home/ray
    rm -f etc/ssh/ssh_host_*
    ssh-keygen -q -t ed25519 -N '' -f etc/ssh/ssh_host_ed25519_key
    mkdir -p root/.ssh home/ray/.ssh
    cp "$DISK/authorized_keys" root/.ssh/
    cp "$DISK/authorized_keys" home/ray/.ssh/
    chown -R 1000:1000 home/ray/.ssh
    chmod 700 root/.ssh home/ray/.ssh
    printf 'export PATH=%s\n' "$HOST_PATH" > etc/profile.d/path.sh
fi
hostname "$NAME"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${name%%:*}" "dev/${name#*:}"; done
mount -t tmpfs -o "mode=1777,size=$SHM" shm dev/shm
if [ -n "$CGROUP" ]; then
    mount -t tmpfs cgroups sys/fs/cgroup
    mkdir -p ".$CGROUP_AT"
    mount --bind "$CGROUP" ".$CGROUP_AT"
fi

pivot_root . old
umount -l /old
cd /
"$SSHD" -o UsePAM=no -o PasswordAuthentication=no -o UseDNS=no -o PidFile=/run/sshd.pid
touch /run/booted
while :; do
    sleep 86400 &
    wait
done
