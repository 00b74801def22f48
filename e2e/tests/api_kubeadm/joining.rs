//! The real `kubeadm join` reads what we leave, and the real kubelet takes what kubeadm makes of it.
//!
//! A dry run: kubeadm fetches everything with the rights of a bootstrap token, and writes the files of a node into a folder of
//! ours. The join itself, on a machine of its own, is in `tenant_worker*.rs`.

use std::fs;

use kamaji_addons::kubeadm::{kubelet, rbac::BOOTSTRAPPERS};
use serde_json::{Value, json};
use xtask::programs::{Program, Release};

use crate::lab::{Lab, command, objects, text};

#[tokio::test]
async fn to_1_33() {
    reads_without_complaint(Release::V1_33).await;
}

#[tokio::test]
async fn to_1_34() {
    let lab = reads_without_complaint(Release::V1_34).await;
    the_kubelet_takes_it(&lab);
}

#[tokio::test]
async fn to_1_35() {
    let lab = reads_without_complaint(Release::V1_35).await;
    the_kubelet_takes_it(&lab);
}

#[tokio::test]
async fn to_1_36() {
    reads_without_complaint(Release::V1_36).await;
}

async fn reads_without_complaint(release: Release) -> Lab {
    let lab = Lab::start(release).await;
    let interior = lab.interior(&json!({
        "cgroupfs": "cgroupfs",
        "configurationJSONPatches": [
            { "op": "add", "path": "/maxPods", "value": 77 },
            { "op": "add", "path": "/cpuManagerPolicyOptions", "value": { "full-pcpus-only": "true" } },
            // This machine may have cgroups of version 1, which kubelets from 1.35 on refuse unless told.
            { "op": "add", "path": "/failCgroupV1", "value": false },
        ],
    }));
    lab.apply(&objects(&interior)).await;
    let said = join(&lab);
    let complaints: Vec<_> = said.lines().filter(|line| is_complaint(line)).collect();
    assert_eq!(complaints, Vec::<&str>::new(), "in all of:\n{said}");

    let written: Value =
        serde_saphyr::from_str(&fs::read_to_string(lab.folder.path("joined/config.yaml")).unwrap()).unwrap();
    let ours = kubelet::configuration(&interior.tenant).unwrap();
    assert_eq!(of_any_machine(written), of_any_machine(ours));
    lab
}

/// What kubeadm says while it prepares a node.
fn join(lab: &Lab) -> String {
    fs::create_dir_all(lab.folder.path("joined")).unwrap();
    let token = lab.kubeconfig_as("system:bootstrap:abcdef", &[BOOTSTRAPPERS, "system:authenticated"]);
    lab.kubeadm(
        &[
            "join",
            "phase",
            "kubelet-start",
            "--dry-run",
            "--node-name=worker",
            "--cri-socket=unix:///nowhere.sock",
        ],
        &[("--discovery-file", &token)],
    )
}

/// What kubeadm may warn of here: a dry run has a made-up configuration of kube-proxy; and `cluster-info` is for those whom
/// nobody knows yet, so whoever has the rights of a token goes on with the file he came with.
const EXPECTED: [&str; 2] = ["kubeproxy", "could not access the cluster-info configmap"];

/// A warning that is not expected, as in `W1123 05:36:27.896375 …`.
fn is_complaint(line: &str) -> bool {
    let mark = line.as_bytes().get(..5).unwrap_or_default();
    let is_warning = mark.first() == Some(&b'W') && mark.iter().skip(1).all(u8::is_ascii_digit);
    let said = line.to_ascii_lowercase();
    is_warning && !EXPECTED.iter().any(|expected| said.contains(expected))
}

/// Without what kubeadm finds out about the machine: the runtime's socket, and the resolver that systemd may run.
fn of_any_machine(mut configuration: Value) -> Value {
    let fields = configuration.as_object_mut().unwrap();
    fields.remove("containerRuntimeEndpoint");
    fields.remove("resolvConf");
    configuration
}

/// kubelet reads and validates its configuration before anything else; then it is given an authority that does not exist,
/// so that it ends there.
fn the_kubelet_takes_it(lab: &Lab) {
    let said = kubelet(lab, "joined/config.yaml");
    assert!(said.contains("unable to load client CA file"), "{said}");
    assert!(!said.contains("lenient") && !said.contains("unknown field"), "{said}");

    let written = fs::read_to_string(lab.folder.path("joined/config.yaml")).unwrap();
    lab.folder.write("joined/unknown.yaml", &format!("{written}noSuchField: 1\n"));
    assert!(kubelet(lab, "joined/unknown.yaml").contains(r#"unknown field \"noSuchField\""#));
    lab.folder.write("joined/invalid.yaml", &format!("{written}nodeLeaseDurationSeconds: -1\n"));
    let said = kubelet(lab, "joined/invalid.yaml");
    assert!(said.contains("nodeLeaseDurationSeconds") && !said.contains("client CA"), "{said}");
}

fn kubelet(lab: &Lab, file: &str) -> String {
    let argument = |flag: &str, name: &str| format!("--{flag}={}", lab.folder.path(name).display());
    let output = command(Program::Kubelet(lab.release))
        .arg(argument("config", file))
        .arg(argument("root-dir", "kubelet"))
        .arg(argument("cert-dir", "kubelet"))
        .arg(argument("client-ca-file", "no-such-authority.crt"))
        .output()
        .unwrap();
    text(&output)
}
