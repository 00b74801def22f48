//! A real worker joins a tenant and is used, in both minors: Pods, names, the tunnel, a rotation, and what it must not do.

#[path = "tenant_worker/authority.rs"]
mod authority;

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Node, Pod, Secret, Service},
};
use kamaji_api::{Child, labels};
use kamaji_e2e::{
    guest::{Guest, on_thread},
    tenant::{Lab, eventually, in_lab},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use xtask::{programs::Release, wait::http_ok};

/// Where kubelet answers.
const KUBELET: u16 = 10250;

/// What the Pod `web` says, and where.
const GREETING: &str = "hello from inside";
const WEB_PORT: u16 = 8080;

/// More than one packet, and more than what fits into the buffers on the way.
const LARGE: usize = 5_000_000;

/// Without it an API server that is told to end waits for its watches until it is killed, half a minute later.
const WATCHES_END: &str = "--shutdown-watch-termination-grace-period=1s";

/// How many commands use the tunnel at once.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_either_minor_joins_and_is_used() -> Result<()> {
    in_lab("worker", async |lab| {
        let [older, newer] = Release::ALL;
        // One tenant has the ranges that it gets by default, which are the local cluster's, too.
        let default = json!({});
        let ranges = json!({ "serviceCidr": "10.97.0.0/16", "podCidr": "10.245.0.0/16" });
        tokio::try_join!(
            Box::pin(life_of_a_worker(lab, "older", older, "10.99.0.111", &default)),
            Box::pin(life_of_a_worker(lab, "newer", newer, "10.99.0.112", &ranges)),
        )
        .map(drop)
    })
    .await
}

async fn life_of_a_worker(
    lab: &Lab,
    name: &str,
    release: Release,
    address: &str,
    ranges: &Value,
) -> Result<()> {
    make_tenant(lab, name, release, address, ranges).await?;
    let mut guest = Guest::join(lab, name, release).await?;
    run_pods(&guest).await?;
    add_ons_run(&guest).await?;
    close_the_front_door(&guest).await?;
    the_tunnel_works(&guest).await?;
    names_are_resolved(&guest).await?;
    only_its_own_node(&guest).await?;
    certificates_rotate(lab, name).await?;
    guest.ready().await?;
    the_tunnel_comes_back(&guest).await?;
    // Once is enough: what is replaced is not the workers'.
    if name == "newer" {
        Box::pin(authority::is_replaced(lab, name, &mut guest)).await?;
        the_tunnel_comes_back(&guest).await?;
    }
    the_tunnel_works(&guest).await?;
    names_are_resolved(&guest).await
}

/// A tenant with all add-ons, behind a load balancer whose work we do.
async fn make_tenant(lab: &Lab, name: &str, release: Release, address: &str, ranges: &Value) -> Result<()> {
    // Without these kubelet 1.35 refuses a machine with control groups of version 1.
    let patches = json!([{ "op": "add", "path": "/failCgroupV1", "value": false }]);
    let spec = json!({
        "controlPlane": {
            "service": { "serviceType": "LoadBalancer" },
            "deployment": { "extraArgs": { "apiServer": [WATCHES_END] } },
        },
        "kubernetes": { "kubelet": { "cgroupfs": "cgroupfs", "configurationJSONPatches": patches } },
        "networkProfile": ranges,
        "addons": { "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} },
    });
    lab.create(name, release, &spec).await?;
    lab.when(name, "Endpoint", "False", "LoadBalancerPending").await?;
    let status = Patch::Merge(json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } }));
    lab.api::<Service>().patch_status(name, &PatchParams::default(), &status).await?;
    lab.ready(name).await.map(drop)
}

/// A Pod that serves something behind a Service, and one to ask from.
async fn run_pods(guest: &Guest) -> Result<()> {
    let serve = format!("echo {GREETING} | tee /tmp/index.html; exec httpd -f -p {WEB_PORT} -h /tmp");
    let pods = Api::<Pod>::default_namespaced(guest.administrator.clone());
    for (name, script) in [("web", serve.as_str()), ("client", "exec sleep 3600")] {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main",
                    "image": "docker.io/library/busybox:1.35",
                    "command": ["sh", "-c", script],
                }],
            },
        }))?;
        // The controller manager may not have made the service account yet.
        eventually("a Pod to be admitted", async || match pods.create(&PostParams::default(), &pod).await {
            Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => Ok(None),
            result => Ok(Some(result?)),
        })
        .await?;
    }
    let service = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": WEB_PORT }] },
    }))?;
    let services = Api::<Service>::default_namespaced(guest.administrator.clone());
    services.create(&PostParams::default(), &service).await?;
    eventually("the Pods to run", async || {
        let all = pods.list(&ListParams::default()).await?;
        let is_running =
            |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        Ok(all.iter().all(is_running).then_some(()))
    })
    .await
}

/// Name service, Services and the tunnel's end run on the worker.
async fn add_ons_run(guest: &Guest) -> Result<()> {
    let sets = Api::<DaemonSet>::namespaced(guest.administrator.clone(), "kube-system");
    for name in ["kube-proxy", "konnectivity-agent"] {
        eventually(&format!("{name} to be ready"), async || {
            let status = sets.get_opt(name).await?.and_then(|set| set.status);
            Ok(status.is_some_and(|status| status.number_ready == 1).then_some(()))
        })
        .await?;
    }
    let deployments = Api::<Deployment>::namespaced(guest.administrator.clone(), "kube-system");
    eventually("CoreDNS to be ready", async || {
        let status = deployments.get_opt("coredns").await?.and_then(|deployment| deployment.status);
        let is_ready = |status: &k8s_openapi::api::apps::v1::DeploymentStatus| {
            status.ready_replicas.is_some() && status.ready_replicas == status.replicas
        };
        Ok(status.as_ref().is_some_and(is_ready).then_some(()))
    })
    .await
}

/// From here on only the tunnel can lead to the kubelet: nobody else gets in.
async fn close_the_front_door(guest: &Guest) -> Result<()> {
    let kubelet = SocketAddr::from((guest.worker().address, KUBELET));
    let knock = move || Ok(TcpStream::connect_timeout(&kubelet, Duration::from_secs(1)).is_ok());
    ensure!(on_thread(knock).await?, "the kubelet is not reached from outside, so the tunnel proves nothing");
    let port = KUBELET.to_string();
    let rule =
        ["--wait", "--insert", "INPUT", "--in-interface", "eth0", "--protocol", "tcp", "--dport", &port];
    guest.run("iptables", &[&rule[..], &["--jump", "DROP"]].concat()).await?;
    ensure!(!on_thread(knock).await?, "the kubelet is still reached from outside");
    Ok(())
}

/// Logs, commands and ports, as people use them.
async fn the_tunnel_works(guest: &Guest) -> Result<()> {
    let log = guest.kubectl(&["logs", "web"]).await?;
    ensure!(log.contains(GREETING), "the log is `{log}`");

    let name = guest.kubectl(&["exec", "web", "--", "hostname"]).await?;
    ensure!(name == "web\n", "the Pod calls itself `{name}`");
    let failure = guest
        .kubectl(&["exec", "web", "--", "sh", "-c", "exit 7"])
        .await
        .err()
        .map(|error| error.to_string());
    ensure!(
        failure.as_ref().is_some_and(|text| text.contains('7')),
        "a failed command ends with {failure:?}"
    );

    let length = LARGE.to_string();
    let large = ["exec", "web", "--", "head", "-c", &length, "/dev/zero"];
    let lengths = futures::future::try_join_all((0..AT_ONCE).map(|_| guest.kubectl(&large))).await?;
    ensure!(lengths.iter().all(|content| content.len() == LARGE), "something was lost on the way");

    let forward = guest.forward("pod/web", WEB_PORT).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], forward.port));
    ensure!(
        on_thread(move || Ok(http_ok(address, "/index.html"))).await?,
        "the forwarded port does not answer"
    );
    Ok(())
}

/// A Pod reaches a Service by its name.
async fn names_are_resolved(guest: &Guest) -> Result<()> {
    let fetch =
        ["exec", "client", "--", "wget", "-q", "-O", "-", "http://web.default.svc.cluster.local/index.html"];
    let page = guest.kubectl(&fetch).await?;
    ensure!(page.contains(GREETING), "the Service answers `{page}`");
    Ok(())
}

/// The kubelet may change its own Node, and not more than is its own; it sees no Secret that no Pod of its own uses.
async fn only_its_own_node(guest: &Guest) -> Result<()> {
    let nodes = Api::<Node>::all(guest.administrator.clone());
    let stranger = serde_json::from_value(json!({ "metadata": { "name": "stranger" } }))?;
    nodes.create(&PostParams::default(), &stranger).await?;

    let kubelet = guest.kubelet().await?;
    let nodes = Api::<Node>::all(kubelet.clone());
    let mark = |kind: &str, key: &str| Patch::Merge(json!({ "metadata": { kind: { key: "x" } } }));
    let own = guest.worker().name.as_str();
    nodes
        .patch(own, &PatchParams::default(), &mark("labels", "example.com/mine"))
        .await
        .context("marking its own Node")?;
    for (name, kind, key) in [
        (own, "labels", "node-restriction.kubernetes.io/mine"),
        ("stranger", "labels", "example.com/mine"),
        ("stranger", "annotations", "example.com/mine"),
    ] {
        let result = nodes.patch(name, &PatchParams::default(), &mark(kind, key)).await;
        ensure!(is_forbidden(&result), "{kind} {key} of {name}: {result:?}");
    }
    let secrets = Api::<Secret>::namespaced(kubelet, "kube-system");
    let tokens = Api::<Secret>::namespaced(guest.administrator.clone(), "kube-system");
    let token = tokens.list(&ListParams::default()).await?.items.pop().context("there is no Secret")?;
    let result = secrets.get(&token.name_any()).await;
    ensure!(is_forbidden(&result), "a Secret: {:?}", result.map(drop));
    let result = secrets.list(&ListParams::default()).await;
    ensure!(is_forbidden(&result), "all Secrets: {:?}", result.map(drop));
    Ok(())
}

fn is_forbidden<T>(result: &Result<T, kube::Error>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

/// New serving certificates for the API server and for the tunnel, in new Pods.
async fn certificates_rotate(lab: &Lab, name: &str) -> Result<()> {
    let before = pods_of(lab, name).await?;
    let parts = [Child::ApiServer, Child::KonnectivityServer];
    let held = futures::future::try_join_all(parts.map(|part| lab.secret(name, part))).await?;
    let request = Patch::Merge(json!({ "metadata": { "annotations": { labels::ROTATE: "" } } }));
    for part in parts {
        lab.api::<Secret>().patch(&part.name(name), &PatchParams::default(), &request).await?;
    }
    for (part, held) in parts.iter().zip(held) {
        lab.until::<Secret>(&part.name(name), "another certificate and key", |secret| {
            let data = secret.data.iter().flatten();
            data.into_iter().all(|(key, value)| held.get(key) != Some(&value.0))
        })
        .await?;
    }
    eventually("the old Pods to be gone", async || {
        let now = pods_of(lab, name).await?;
        Ok((!now.is_empty() && now.iter().all(|pod| !before.contains(pod))).then_some(()))
    })
    .await?;
    lab.ready(name).await.map(drop)
}

async fn pods_of(lab: &Lab, name: &str) -> Result<Vec<String>> {
    let of_tenant = ListParams::default().labels(&format!("{}={name}", labels::NAME));
    Ok(lab.api::<Pod>().list(&of_tenant).await?.iter().map(ResourceExt::name_any).collect())
}

/// The agent finds the new server by itself.
async fn the_tunnel_comes_back(guest: &Guest) -> Result<()> {
    eventually("the tunnel to be back", async || Ok(guest.kubectl(&["exec", "web", "--", "true"]).await.ok()))
        .await
        .map(drop)
}
