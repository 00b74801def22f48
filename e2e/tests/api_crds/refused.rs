//! What must not be created, and what the user is told.

use serde_json::{Value, json};

use super::{Trial, api, create, data_store, generator, tenant};

/// Tries every manifest, and lists those that were admitted or refused with other words.
async fn assert_refused(cases: Vec<(Value, &str)>) {
    let client = api().await.client().await.unwrap();
    let mut complaints = Vec::new();
    for (manifest, words) in &cases {
        match create(&client, manifest, Trial::Dry).await {
            Ok(_) => complaints.push(format!("admitted, expected {words:?}: {manifest}")),
            Err(message) if !message.contains(words) => {
                complaints.push(format!("expected {words:?}, got {message:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}

/// Tenants with these changes to a sound spec.
async fn assert_specs_refused(cases: impl IntoIterator<Item = (Value, &str)>) {
    let cases = cases.into_iter().map(|(spec, words)| (tenant("default", "bad", &spec), words)).collect();
    assert_refused(cases).await;
}

fn network(profile: Value) -> Value {
    json!({ "networkProfile": profile })
}

fn balanced(mut profile: Value) -> Value {
    profile = network(profile);
    profile["controlPlane"] = json!({ "service": { "serviceType": "LoadBalancer" } });
    profile
}

fn service(service: Value) -> Value {
    json!({ "controlPlane": { "service": service } })
}

fn deployment(deployment: Value) -> Value {
    json!({ "controlPlane": { "deployment": deployment } })
}

fn version(version: &str) -> Value {
    json!({ "kubernetes": { "version": version } })
}

#[tokio::test]
async fn incomplete_tenants() {
    assert_specs_refused([
        (json!({ "kubernetes": null }), "spec.kubernetes: Required value"),
        (json!({ "kubernetes": { "kubelet": null } }), "spec.kubernetes.kubelet: Required value"),
        (json!({ "controlPlane": null }), "spec.controlPlane: Required value"),
        (service(Value::Null), "spec.controlPlane.service: Required value"),
        (service(json!({ "serviceType": null })), "spec.controlPlane.service.serviceType: Required value"),
    ])
    .await;
}

#[tokio::test]
async fn hostile_versions() {
    let malformed = "the version must look like v1.34.4";
    assert_specs_refused([
        (version("1.34.4"), malformed),
        (version("v1.x"), malformed),
        (version("v1.34"), malformed),
        (version("v2.0.0"), malformed),
        (version("latest"), malformed),
        (version("v1.36.3;id"), malformed),
        (version("v1.36.3-rc.1+build"), malformed),
        (version("v1.36.3\n"), malformed),
        (version("v1.99.0"), "the newest supported minor version is v1.36, got v1.99.0"),
    ])
    .await;
}

#[tokio::test]
async fn unsound_networks() {
    let sans = "every entry of certSANs must be an IP address or a lower-case DNS name";
    let overlap = "the Service ranges and the Pod ranges must not overlap";
    let size = "a Service range must be from /8 to /28";
    assert_specs_refused([
        (network(json!({ "port": 0 })), "spec.networkProfile.port"),
        (network(json!({ "port": 65536 })), "spec.networkProfile.port"),
        (
            network(json!({ "advertiseAddress": "api.example.com" })),
            "advertiseAddress must be a valid IP address",
        ),
        (network(json!({ "advertiseAddress": "10.0.0.256" })), "advertiseAddress must be a valid IP address"),
        (network(json!({ "serviceCidr": "10.0.0.1" })), "serviceCidr must be empty or a valid CIDR"),
        (network(json!({ "serviceCidr": "not a range" })), "serviceCidr must be empty or a valid CIDR"),
        (network(json!({ "podCidr": "10.0.0.1" })), "podCidr must be empty or a valid CIDR"),
        (network(json!({ "serviceCidrs": ["10.0.0.0/40"] })), "all serviceCidrs entries must be valid CIDRs"),
        (network(json!({ "podCidrs": ["10.0.0.0"] })), "all podCidrs entries must be valid CIDRs"),
        (network(json!({ "podCidrs": [] })), "should have at least 1 items"),
        (
            network(json!({ "serviceCidrs": ["10.0.0.0/16", "fd00::/108", "10.1.0.0/16"] })),
            "must have at most 2 items",
        ),
        (network(json!({ "clusterDomain": "cluster" })), "spec.networkProfile.clusterDomain"),
        (network(json!({ "clusterDomain": "a.b\n forward . 192.0.2.1" })), "clusterDomain must be a lower-case DNS name"),
        (network(json!({ "address": "api.example.com" })), "address must be a valid IP address"),
        (network(json!({ "port": 10257 })), "this port is taken by another program in the Pod"),
        (network(json!({ "port": 10259 })), "this port is taken by another program in the Pod"),
        (network(json!({ "serviceCidrs": ["10.97.0.0/16", "10.98.0.0/16"] })), "of two serviceCidrs one must be IPv4"),
        (network(json!({ "podCidrs": ["fd00::/64", "fd01::/64"] })), "of two podCidrs one must be IPv4"),
        (network(json!({ "serviceCidr": "10.244.16.0/20" })), overlap),
        (network(json!({ "podCidr": "10.0.0.0/8" })), overlap),
        (network(json!({ "serviceCidrs": ["10.97.0.0/16", "fd00::/112"], "podCidrs": ["10.1.0.0/16", "fd00::/64"] })), overlap),
        (network(json!({ "serviceCidr": "10.97.0.1/32" })), size),
        (network(json!({ "serviceCidr": "10.97.0.0/29" })), size),
        (network(json!({ "serviceCidr": "0.0.0.0/0", "podCidr": "" })), size),
        (network(json!({ "serviceCidrs": ["fd00::/124"] })), size),
        (network(json!({ "certSANs": ["Upper.example"] })), sans),
        (network(json!({ "certSANs": ["*"] })), sans),
        (network(json!({ "certSANs": ["host:6443"] })), sans),
        (
            network(json!({ "dnsServiceIPs": ["dns"] })),
            "every entry of dnsServiceIPs must be a valid IP address",
        ),
        (
            network(json!({ "dnsServiceIPs": ["10.97.0.10"] })),
            "every entry of dnsServiceIPs must lie in a Service range",
        ),
        (
            network(json!({ "serviceCidrs": ["10.97.0.0/16"], "dnsServiceIPs": ["10.96.0.10"] })),
            "every entry of dnsServiceIPs must lie in a Service range",
        ),
    ])
    .await;
}

#[tokio::test]
async fn load_balancer_settings_without_a_load_balancer() {
    let sources = "LoadBalancer source ranges are supported only with LoadBalancer service type";
    let nodes = "allocateLoadBalancerNodePorts is supported only with LoadBalancer service type";
    let too_many: Vec<String> = (0..17).map(|number| format!("10.{number}.0.0/16")).collect();
    assert_specs_refused([
        (network(json!({ "loadBalancerSourceRanges": ["10.0.0.0/8"] })), sources),
        (
            network(json!({ "loadBalancerClass": "x" })),
            "LoadBalancer class is supported only with LoadBalancer service type",
        ),
        (service(json!({ "allocateLoadBalancerNodePorts": true })), nodes),
        (service(json!({ "serviceType": "NodePort", "allocateLoadBalancerNodePorts": false })), nodes),
        (
            balanced(json!({ "loadBalancerSourceRanges": ["10.0.0.1"] })),
            "all LoadBalancer source range entries must be valid CIDR",
        ),
        (balanced(json!({ "loadBalancerSourceRanges": too_many })), "must have at most 16 items"),
        (balanced(json!({ "loadBalancerClass": "" })), "spec.networkProfile.loadBalancerClass"),
    ])
    .await;
}

#[tokio::test]
async fn services_and_routes() {
    let port = |port: Value| service(json!({ "additionalPorts": [port] }));
    let two_ports = |first: &str, one: u16, second: &str, two: u16| {
        let port = |name: &str, number: u16| json!({ "name": name, "port": number, "targetPort": 1 });
        service(json!({ "additionalPorts": [port(first, one), port(second, two)] }))
    };
    assert_specs_refused([
        (service(json!({ "serviceType": "ExternalName" })), "Unsupported value: \"ExternalName\""),
        (
            port(json!({ "name": "kube-apiserver", "port": 1, "targetPort": 1 })),
            "the port name kube-apiserver is taken",
        ),
        (port(json!({ "name": "x", "port": 6443, "targetPort": 1 })), "must differ from networkProfile.port"),
        (port(json!({ "name": "x", "port": 0, "targetPort": 1 })), "additionalPorts[0].port"),
        (
            port(json!({ "name": "x", "port": 1, "targetPort": 1, "protocol": "ICMP" })),
            "Unsupported value: \"ICMP\"",
        ),
        (port(json!({ "name": "x", "port": 1 })), "additionalPorts[0].targetPort: Required value"),
        (port(json!({ "name": "Upper_case", "port": 1, "targetPort": 1 })), "must be a lower-case DNS label"),
        (two_ports("x", 1, "x", 2), "additional ports must differ from each other"),
        (two_ports("x", 1, "y", 1), "additional ports must differ from each other"),
        (
            json!({ "controlPlane": { "ingress": { "hostname": "a.b" }, "gateway": { "hostname": "a.b" } } }),
            "using both ingress and gateway is not supported",
        ),
        (
            json!({ "controlPlane": { "gateway": { "hostname": "Upper.example" } } }),
            "spec.controlPlane.gateway.hostname",
        ),
        (
            json!({ "controlPlane": { "gateway": { "parentRefs": [{}] } } }),
            "parentRefs[0].name: Required value",
        ),
    ])
    .await;
}

#[tokio::test]
async fn pods_that_collide_with_ours() {
    let container = "this container name is taken by the control plane";
    let one_line = "an argument must be on one line and not be -- alone";
    let arguments =
        |component: &str, argument: &str| deployment(json!({ "extraArgs": { component: [argument] } }));
    let mount = |path: &str| json!({ "additionalVolumeMounts": { "apiServer": [{ "name": "x", "mountPath": path }] } });
    assert_specs_refused([
        (deployment(json!({ "replicas": -1 })), "spec.controlPlane.deployment.replicas"),
        (deployment(json!({ "additionalContainers": [{ "name": "kube-apiserver" }] })), container),
        (deployment(json!({ "additionalContainers": [{ "name": "a" }, { "name": "konnectivity-server" }] })), container),
        (deployment(json!({ "additionalInitContainers": [{ "name": "kube-scheduler" }] })), container),
        (deployment(json!({ "additionalContainers": [{ "image": "x" }] })), "additionalContainers[0].name: Required value"),
        (
            deployment(json!({ "additionalContainers": [{ "name": "a", "env": [{ "name": "X" }, { "name": "X" }] }] })),
            "Duplicate value",
        ),
        (deployment(json!({ "additionalVolumes": [{ "name": "etc-kubernetes-pki" }] })), "this volume name is taken"),
        (deployment(mount("/etc/kubernetes/pki")), "/etc/kubernetes/pki holds the control plane's certificates"),
        (deployment(mount("/etc/kubernetes/pki/etcd")), "/etc/kubernetes/pki holds the control plane's certificates"),
        (deployment(json!({ "resources": { "apiServer": { "limits": { "cpu": "lots" } } } })), "limits.cpu"),
        (deployment(json!({ "probes": { "startup": { "periodSeconds": 0 } } })), "probes.startup.periodSeconds"),
        (deployment(json!({ "probes": { "apiServer": { "liveness": { "initialDelaySeconds": -1 } } } })), "initialDelaySeconds"),
        (deployment(json!({ "registrySettings": { "registry": "a b" } })), "registrySettings.registry"),
        (arguments("apiServer", "--authorization-mode=Node,AlwaysAllow"), "AlwaysAllow would let anybody do anything"),
        (arguments("apiServer", "--v=2\n--v=3"), one_line),
        (arguments("controllerManager", "--"), one_line),
        (arguments("scheduler", "--v=2\r"), one_line),
        (arguments("kine", "\n"), one_line),
    ])
    .await;
}

#[tokio::test]
async fn kubelet_settings_and_admission_plugins() {
    let kubelet = |kubelet: Value| json!({ "kubernetes": { "kubelet": kubelet } });
    assert_specs_refused([
        (kubelet(json!({ "cgroupfs": "cgroup2" })), "Unsupported value: \"cgroup2\""),
        (kubelet(json!({ "preferredAddressTypes": [] })), "should have at least 1 items"),
        (
            kubelet(json!({ "preferredAddressTypes": ["Hostname", "Hostname"] })),
            "Duplicate value: \"Hostname\"",
        ),
        (kubelet(json!({ "preferredAddressTypes": ["Name"] })), "Unsupported value: \"Name\""),
        (
            kubelet(json!({ "configurationJSONPatches": [{ "op": "merge", "path": "/a" }] })),
            "Unsupported value: \"merge\"",
        ),
        (kubelet(json!({ "configurationJSONPatches": [{ "op": "remove" }] })), "path: Required value"),
        (json!({ "kubernetes": { "admissionControllers": ["Nothing"] } }), "Unsupported value: \"Nothing\""),
    ])
    .await;
}

#[tokio::test]
async fn addons_that_cannot_run() {
    let konnectivity = |konnectivity: Value| json!({ "addons": { "konnectivity": konnectivity } });
    let agent = |agent: Value| konnectivity(json!({ "agent": agent }));
    let mut in_the_way = konnectivity(json!({}));
    in_the_way["networkProfile"] = json!({ "port": 8133 });
    let mut shared_port = konnectivity(json!({}));
    shared_port["controlPlane"] =
        json!({ "service": { "additionalPorts": [{ "name": "x", "port": 8132, "targetPort": 1 }] } });
    assert_specs_refused([
        (agent(json!({ "mode": "Job" })), "Unsupported value: \"Job\""),
        (agent(json!({ "replicas": 2 })), "replicas must be 0 or unset when mode is DaemonSet"),
        (
            agent(json!({ "mode": "Deployment", "replicas": 0 })),
            "replicas must not be 0 when mode is Deployment",
        ),
        (agent(json!({ "mode": "Deployment", "replicas": -1 })), "addons.konnectivity.agent.replicas"),
        (konnectivity(json!({ "server": { "port": 70000 } })), "addons.konnectivity.server.port"),
        (
            konnectivity(json!({ "server": { "port": 8134 } })),
            "this port is taken by another program in the Pod",
        ),
        (
            konnectivity(json!({ "server": { "port": 8132, "extraArgs": ["--a\n--b"] } })),
            "an argument must be on one line",
        ),
        (agent(json!({ "extraArgs": ["--"] })), "an argument must be on one line"),
        (in_the_way, "networkProfile.port is taken by konnectivity in the Pod"),
        (
            konnectivity(json!({ "server": { "image": "x" } })),
            "addons.konnectivity.server.port: Required value",
        ),
        (
            konnectivity(json!({ "server": { "port": 6443 } })),
            "the konnectivity server's port must differ from networkProfile.port",
        ),
        (shared_port, "neither the name nor the number of the konnectivity server's port"),
        (json!({ "addons": { "coreDNS": { "imageRepository": "x y" } } }), "addons.coreDNS.imageRepository"),
    ])
    .await;
}

#[tokio::test]
async fn hostile_names_in_the_store() {
    let malformed = [
        "",
        "a%",
        "a`b",
        "a\"b",
        "a'b",
        "a\\",
        "a;DROP",
        "../x",
        "a/b",
        "a\u{0}",
        "😀",
        "x ",
        "a\u{202e}b",
        "-a",
        "_a",
    ];
    let reserved =
        ["postgres", "root", "mysql", "template1", "information_schema", "admin", "kine", "Root", "pg_toast"];
    let long = "a".repeat(630);
    let mut cases = Vec::new();
    for field in ["dataStoreSchema", "dataStoreUsername"] {
        cases
            .extend(malformed.map(|name| {
                (json!({ field: name }), "consists of letters, digits, underscores and hyphens")
            }));
        cases.extend(
            reserved.map(|name| (json!({ field: name }), "belongs to the store itself: choose another name")),
        );
        cases.push((json!({ field: long }), "may not be more than 255"));
    }
    let incomplete = "an override needs both a resource and a dataStore";
    cases.push((json!({ "dataStoreOverrides": [{ "resource": "/events" }] }), incomplete));
    cases.push((json!({ "dataStoreOverrides": [{ "resource": "", "dataStore": "x" }] }), incomplete));
    for resource in ["events", "/", "/a,b", "/events#https://x", "*/events", "a/b/c"] {
        let overrides = json!([{ "resource": resource, "dataStore": "x" }]);
        cases.push((json!({ "dataStoreOverrides": overrides }), "resource must be group/resource"));
    }
    let twice =
        json!([{ "resource": "/events", "dataStore": "x" }, { "resource": "/events", "dataStore": "y" }]);
    cases.push((json!({ "dataStoreOverrides": twice }), "a resource can be kept in one DataStore only"));
    assert_specs_refused(cases).await;
}

#[tokio::test]
async fn names_that_children_cannot_bear() {
    let words = "the name must be a DNS label of at most 63 characters that begins with a letter";
    let long = "a".repeat(64);
    let names = ["1abc", "a.b", long.as_str()];
    assert_refused(names.map(|name| (tenant("default", name, &json!({})), words)).into()).await;
}

#[tokio::test]
async fn unsound_data_stores() {
    let store = |spec: Value| data_store("bad", &spec);
    let foreign = |mut spec: Value| {
        spec["driver"] = json!("PostgreSQL");
        if spec.get("tlsConfig").is_none() {
            spec["tlsConfig"] = Value::Null;
        }
        data_store("bad", &spec)
    };
    let source = json!({ "content": "c2VjcmV0" });
    assert_refused(vec![
        (store(json!({ "driver": null })), "spec.driver: Required value"),
        (store(json!({ "driver": "SQLite" })), "Unsupported value: \"SQLite\""),
        (store(json!({ "endpoints": [] })), "should have at least 1 items"),
        (store(json!({ "tlsConfig": null })), "certificateAuthority privateKey must have secretReference or content when driver is etcd"),
        (
            store(json!({ "tlsConfig": { "certificateAuthority": { "privateKey": null } } })),
            "certificateAuthority privateKey must have secretReference or content when driver is etcd",
        ),
        (
            store(json!({ "tlsConfig": { "clientCertificate": null } })),
            "clientCertificate must have secretReference or content when driver is etcd",
        ),
        (
            store(json!({ "tlsConfig": { "clientCertificate": { "privateKey": { "secretReference": null } } } })),
            "clientCertificate privateKey must have secretReference or content when driver is etcd",
        ),
        (
            store(json!({ "tlsConfig": { "clientCertificate": { "privateKey": { "secretReference": { "keyPath": "" } } } } })),
            "keyPath",
        ),
        (
            store(json!({ "tlsConfig": { "clientCertificate": { "privateKey": { "content": "not base64" } } } })),
            "must be of type byte",
        ),
        (foreign(json!({})), "When driver is not etcd, either tlsConfig or basicAuth must be provided"),
        (
            foreign(json!({ "basicAuth": { "username": {}, "password": source } })),
            "When driver is not etcd and basicAuth exists, username must have secretReference or content",
        ),
        (
            foreign(json!({ "basicAuth": { "username": source, "password": {} } })),
            "When driver is not etcd and basicAuth exists, password must have secretReference or content",
        ),
        (foreign(json!({ "basicAuth": { "username": source } })), "spec.basicAuth.password: Required value"),
        (
            foreign(json!({ "tlsConfig": { "clientCertificate": { "certificate": { "secretReference": null } } } })),
            "When driver is not etcd and tlsConfig exists, clientCertificate must be null or contain valid content",
        ),
    ])
    .await;
}

#[tokio::test]
async fn data_stores_that_lead_nowhere() {
    let store = |spec: Value| data_store("bad", &spec);
    let endpoint = "every endpoint must be host:port without a scheme";
    let endpoints = |endpoint: &str| store(json!({ "endpoints": ["etcd:2379", endpoint] }));
    let reference = |reference: Value| {
        store(
            json!({ "tlsConfig": { "clientCertificate": { "certificate": { "secretReference": reference } } } }),
        )
    };
    let many: Vec<String> = (0..100).map(|number| format!("etcd-{number}:2379")).collect();
    assert_refused(vec![
        (endpoints("https://etcd:2379"), endpoint),
        (endpoints("etcd"), endpoint),
        (endpoints("fd00::1:2379"), endpoint),
        (endpoints("[fd00::1:2379"), endpoint),
        (endpoints("a b:1"), endpoint),
        (endpoints("etcd:2379/x"), endpoint),
        (endpoints("user@etcd:2379"), endpoint),
        (endpoints("etcd:0"), "the port of an endpoint must be from 1 to 65535"),
        (endpoints("etcd:65536"), "the port of an endpoint must be from 1 to 65535"),
        (store(json!({ "endpoints": many })), "must have at most 64 items"),
        (reference(json!({ "name": "" })), "a secretReference needs both a name and a namespace"),
        (reference(json!({ "namespace": null })), "a secretReference needs both a name and a namespace"),
        (reference(json!({ "keyPath": "../ca.key" })), "must be a key of a Secret"),
        (data_store(&"a".repeat(64), &json!({})), "the name must have at most 63 characters"),
    ])
    .await;
}

#[tokio::test]
async fn unsound_generators() {
    let words = "exactly one of stringValue and fromDefinition must be set";
    let make = |spec: Value| generator("bad", &spec);
    assert_refused(vec![
        (make(json!({ "user": null })), "spec.user: Required value"),
        (make(json!({ "user": { "fromDefinition": "metadata.name" } })), words),
        (make(json!({ "user": { "stringValue": null } })), words),
        (make(json!({ "groups": [{}] })), words),
        (make(json!({ "controlPlaneEndpointFrom": "../../x" })), "spec.controlPlaneEndpointFrom"),
        (generator(&"a".repeat(64), &json!({})), "the name must have at most 63 characters"),
    ])
    .await;
}
