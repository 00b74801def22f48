//! etcd and the three Kubernetes programs that make a control plane.

use serde_json::json;

use super::path_flag;
use crate::{
    cache::Cache,
    cluster::{
        layout::{
            API_SERVER, ETCD_HEALTH, ETCD_PEER_PORT, ETCD_PORT, Layout, NODE_ADDRESS, POD_RANGE, RELEASE,
            SERVICE_RANGE,
        },
        process::Daemon,
    },
    install,
    programs::Program,
};

/// etcd, for clients with a certificate of its authority.
pub(in crate::cluster) fn etcd(cache: &Cache, layout: &Layout) -> Daemon {
    let pki = layout.pki().join("etcd");
    let client = format!("https://127.0.0.1:{ETCD_PORT}");
    let peer = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
    Daemon {
        name: "etcd",
        program: Program::Etcd.path_in(cache),
        arguments: vec![
            "--name=local".to_owned(),
            path_flag("data-dir", &layout.state.join("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=local={peer}"),
            format!("--listen-metrics-urls=http://{ETCD_HEALTH}"),
            path_flag("cert-file", &pki.join("server.crt")),
            path_flag("key-file", &pki.join("server.key")),
            path_flag("trusted-ca-file", &pki.join("ca.crt")),
            "--client-cert-auth=true".to_owned(),
            // A cluster for trying things: a power cut may cost it, a slow disk must not slow it.
            "--unsafe-no-fsync=true".to_owned(),
            "--log-level=warn".to_owned(),
        ],
        files: vec![],
    }
}

/// The API server.
pub(in crate::cluster) fn kube_apiserver(cache: &Cache, layout: &Layout) -> Daemon {
    let pki = layout.pki();
    let mut arguments: Vec<String> = [
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodSecurity",
        "--enable-bootstrap-token-auth=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        // The machine's own name is known to nobody.
        "--kubelet-preferred-address-types=InternalIP",
        "--max-requests-inflight=800",
        "--max-mutating-requests-inflight=400",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend([
        format!("--bind-address={NODE_ADDRESS}"),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--secure-port={}", API_SERVER.port()),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--etcd-servers=https://127.0.0.1:{ETCD_PORT}"),
    ]);
    let files = [
        ("etcd-cafile", "etcd/ca.crt"),
        ("etcd-certfile", "apiserver-etcd-client.crt"),
        ("etcd-keyfile", "apiserver-etcd-client.key"),
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
        ("kubelet-client-key", "apiserver-kubelet-client.key"),
        ("proxy-client-cert-file", "front-proxy-client.crt"),
        ("proxy-client-key-file", "front-proxy-client.key"),
        ("requestheader-client-ca-file", "front-proxy-ca.crt"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
    ];
    arguments.extend(files.map(|(flag, file)| path_flag(flag, &pki.join(file))));
    let audit_policy = layout.configuration().join("audit.json");
    arguments.extend([
        path_flag("audit-policy-file", &audit_policy),
        path_flag("audit-log-path", &layout.audit_log()),
        "--audit-log-maxsize=100".to_owned(),
        "--audit-log-maxbackup=1".to_owned(),
    ]);
    Daemon {
        name: "kube-apiserver",
        program: Program::KubeApiserver(RELEASE).path_in(cache),
        arguments,
        files: vec![(audit_policy, audit_policy_content())],
    }
}

/// The operator's requests are written down, so that they can be counted; nobody else's are.
fn audit_policy_content() -> String {
    let operator = format!("system:serviceaccount:{}:kamaji-controller-manager", install::NAMESPACE);
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{ "level": "Metadata", "users": [operator] }, { "level": "None" }],
    })
    .to_string()
}

/// The controller manager.
pub(in crate::cluster) fn controller_manager(cache: &Cache, layout: &Layout) -> Daemon {
    let pki = layout.pki();
    let mut arguments = delegating(layout, "controller-manager.conf");
    arguments.extend(
        [
            "--controllers=*,bootstrapsigner,tokencleaner",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            "--concurrent-endpoint-syncs=20",
            "--concurrent-service-endpoint-syncs=20",
        ]
        .map(str::to_owned),
    );
    arguments.push(format!("--cluster-cidr={POD_RANGE}"));
    let files = [
        ("root-ca-file", "ca.crt"),
        ("cluster-signing-cert-file", "ca.crt"),
        ("cluster-signing-key-file", "ca.key"),
        ("service-account-private-key-file", "sa.key"),
        ("client-ca-file", "ca.crt"),
        ("requestheader-client-ca-file", "front-proxy-ca.crt"),
    ];
    arguments.extend(files.map(|(flag, file)| path_flag(flag, &pki.join(file))));
    Daemon {
        name: "kube-controller-manager",
        program: Program::KubeControllerManager(RELEASE).path_in(cache),
        arguments,
        files: vec![],
    }
}

/// The scheduler.
pub(in crate::cluster) fn scheduler(cache: &Cache, layout: &Layout) -> Daemon {
    Daemon {
        name: "kube-scheduler",
        program: Program::KubeScheduler(RELEASE).path_in(cache),
        arguments: delegating(layout, "scheduler.conf"),
        files: vec![],
    }
}

/// What controller manager and scheduler have in common: whom they ask, and that they are alone.
fn delegating(layout: &Layout, kubeconfig: &str) -> Vec<String> {
    let kubeconfig = layout.kubeconfigs().join(kubeconfig);
    let mut arguments: Vec<String> = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
        .map(|flag| path_flag(flag, &kubeconfig))
        .to_vec();
    // Many Pods at once are what this cluster is for, so its own clients must not be the brake.
    arguments.extend(
        ["--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
            .map(str::to_owned),
    );
    arguments
}
