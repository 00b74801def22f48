# The first process of a worker: makes its namespaces look like a machine, and keeps containerd and kubelet running.
# Arguments: the worker's folder, its name, its address with the prefix length, its gateway, and the ranges it may reach.
set -eu
folder=$1 name=$2 address=$3 gateway=$4
shift 4

mount -t proc proc /proc
mount -t sysfs sysfs /sys
echo "$name" > /proc/sys/kernel/hostname

# The local cluster's mounts were copied with the rest, and would be held for as long as the worker lives.
held=
while read -r _ _ _ _ point _; do
    case $point in
    "${folder%/workers/*}"/* | /run/*) held="$point $held" ;;
    esac
done < /proc/self/mountinfo
for point in $held; do
    umount --lazy "$point"
done

mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while IFS=: read -r number controllers path; do
    case $controllers in
    '') continue ;;
    name=*) hierarchy=${controllers#name=} options=none,$controllers ;;
    *) hierarchy=$controllers options=$controllers ;;
    esac
    mkdir "/sys/fs/cgroup/$hierarchy"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$hierarchy"
    for controller in $(echo "$hierarchy" | tr , ' '); do
        [ -e "/sys/fs/cgroup/$controller" ] || ln -s "$hierarchy" "/sys/fs/cgroup/$controller"
    done
done < /proc/self/cgroup

mount -t tmpfs -o mode=755 tmpfs /run
for path in /etc/kubernetes /etc/cni /opt /lib/modules /usr/libexec/kubernetes /var/lib/cni /var/lib/containerd \
    /var/lib/kubelet /var/log/containers /var/log/pods; do
    mkdir -p "$path" "$folder$path"
    mount --bind "$folder$path" "$path"
done
for file in hosts resolv.conf; do
    mount --bind "$folder/$file" "/etc/$file"
done
# kubelet and containerd hand mounts on to containers.
mount --make-rshared /

# The other end is made by who has started us.
until [ -e /sys/class/net/eth0 ]; do
    sleep 0.05
done
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
echo 1 > /proc/sys/net/ipv4/ip_forward

# What is sent to a Service of the tenant before kube-proxy knows that Service is refused at once. The gateway would refuse
# it too, but the kernel says so only a few times in a row, and who is told nothing waits for half a minute.
iptables --wait --new-chain OUTSIDE
for range in "$@"; do
    iptables --wait --append OUTSIDE --destination "$range" --jump RETURN
done
iptables --wait --append OUTSIDE --protocol tcp --jump REJECT --reject-with tcp-reset
iptables --wait --append OUTSIDE --jump REJECT
for chain in OUTPUT FORWARD; do
    iptables --wait --append "$chain" --out-interface eth0 --jump OUTSIDE
done

# Runs a program again whenever it ends, as an init system would.
keep() {
    log=$folder/logs/$1.log
    while :; do
        "run_$1" >> "$log" 2>&1 || echo "$1 has ended with status $?" >> "$log"
        sleep 0.5
    done
}

run_containerd() {
    containerd --config "$folder/containerd.toml"
}

# kubeadm writes these files and would then start a service.
run_kubelet() {
    until [ -e /var/lib/kubelet/config.yaml ] && [ -e /var/lib/kubelet/kubeadm-flags.env ] &&
        { [ -e /etc/kubernetes/bootstrap-kubelet.conf ] || [ -e /etc/kubernetes/kubelet.conf ]; }; do
        sleep 0.1
    done
    . /var/lib/kubelet/kubeadm-flags.env
    # What a tenant cannot know: this disk is shared, and what is removed from it here nobody can pull again.
    kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
        --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf $KUBELET_KUBEADM_ARGS \
        --image-gc-high-threshold=100 --image-gc-low-threshold=99 --eviction-hard="\
memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%,imagefs.available<1%,imagefs.inodesFree<1%"
}

keep containerd &
keep kubelet &
wait
