# Enters the control groups in $GROUPS and then namespaces of its own, in which the arguments are run as the first process.
# The groups come first: a control group namespace begins at the group that one is in.
set -eu
for group in $GROUPS; do
    echo $$ > "$group/cgroup.procs"
done
unset GROUPS
exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child "$@"
