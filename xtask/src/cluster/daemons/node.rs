//! containerd, kubelet and kube-proxy, which make this machine a node.

use std::{fs, path::Path};

use serde_json::json;

use super::path_flag;
use crate::{
    cache::Cache,
    cluster::{
        layout::{
            DNS_SERVICE, KUBE_PROXY_HEALTH, KUBELET_HEALTH, Layout, NODE, NODE_ADDRESS, POD_BRIDGE,
            POD_RANGE, RELEASE,
        },
        process::Daemon,
    },
    images, packages,
    programs::Program,
};

/// containerd with files, sockets and network of its own.
pub(in crate::cluster) fn containerd(layout: &Layout) -> Daemon {
    let configuration = layout.configuration().join("containerd.toml");
    Daemon {
        name: "containerd",
        program: packages::program("containerd"),
        arguments: vec![path_flag("config", &configuration)],
        files: vec![
            (configuration, containerd_configuration(layout)),
            (layout.network().join("10-pods.conflist"), network_configuration(layout)),
        ],
    }
}

/// kubelet.
pub(in crate::cluster) fn kubelet(cache: &Cache, layout: &Layout) -> Daemon {
    let configuration = layout.configuration().join("kubelet.json");
    Daemon {
        name: "kubelet",
        program: Program::Kubelet(RELEASE).path_in(cache),
        arguments: vec![
            path_flag("config", &configuration),
            path_flag("kubeconfig", &layout.kubeconfigs().join("kubelet.conf")),
            path_flag("root-dir", &layout.state.join("kubelet")),
            path_flag("cert-dir", &layout.state.join("kubelet").join("pki")),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={NODE_ADDRESS}"),
        ],
        files: vec![(configuration, kubelet_configuration(layout))],
    }
}

/// kube-proxy.
pub(in crate::cluster) fn kube_proxy(cache: &Cache, layout: &Layout) -> Daemon {
    let configuration = layout.configuration().join("kube-proxy.json");
    Daemon {
        name: "kube-proxy",
        program: Program::KubeProxy(RELEASE).path_in(cache),
        arguments: vec![path_flag("config", &configuration)],
        files: vec![(configuration, kube_proxy_configuration(layout))],
    }
}

fn containerd_configuration(layout: &Layout) -> String {
    let (state, run) = (layout.state.display(), layout.run.display());
    format!(
        r#"version = 2
root = "{state}/containerd"
state = "{run}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE no process may lower its score, and each sandbox would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = "{run}/runc"
  SystemdCgroup = false
"#,
        socket = layout.containerd_socket().display(),
        pause = images::PAUSE,
        network = layout.network().display(),
    )
}

fn network_configuration(layout: &Layout) -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": true,
        "ipMasq": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": layout.state.join("addresses"),
            "ranges": [[{ "subnet": POD_RANGE }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    let ports = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
    json!({ "cniVersion": "0.4.0", "name": "kamaji-cluster", "plugins": [bridge, ports] }).to_string()
}

fn kubelet_configuration(layout: &Layout) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": KUBELET_HEALTH.ip(),
        "healthzPort": KUBELET_HEALTH.port(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": layout.pki().join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver_configuration(),
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "podLogsDir": layout.state.join("pod-logs"),
        "volumePluginDir": layout.state.join("kubelet").join("volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "maxPods": 250,
        // What this machine has is what there is: no Pod is evicted and no image, which nobody could pull again,
        // is collected because a disk is nearly full.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "nodeStatusUpdateFrequency": "5s",
    })
    .to_string()
}

fn kube_proxy_configuration(layout: &Layout) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": layout.kubeconfigs().join("kube-proxy.conf"), "qps": 100, "burst": 200 },
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "healthzBindAddress": KUBE_PROXY_HEALTH.to_string(),
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
        // Zeros leave the machine's connection tracking as it is.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        "iptables": { "minSyncPeriod": "100ms", "syncPeriod": "30s", "localhostNodePorts": false },
    })
    .to_string()
}

/// The file with the machine's real name servers: `/etc/resolv.conf` may name a stub that no Pod can reach.
fn resolver_configuration() -> &'static str {
    let real = "/run/systemd/resolve/resolv.conf";
    if Path::new(real).is_file() { real } else { "/etc/resolv.conf" }
}

/// Whether the machine knows a name server at all.
pub(in crate::cluster) fn has_name_server() -> bool {
    fs::read_to_string(resolver_configuration())
        .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("nameserver")))
}
