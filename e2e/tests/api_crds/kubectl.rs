//! What people see who use kubectl.

use std::{path::Path, process::Command};

use kamaji_e2e::api_server::ApiServer;
use serde_json::json;
use xtask::{
    programs::{self, Program, Release},
    workspace,
};

use super::{Trial, api, create, tenant};

/// Runs kubectl, which must succeed, and returns what it prints.
fn kubectl(api: &ApiServer, arguments: &[&str]) -> String {
    let output = Command::new(programs::path(Program::Kubectl(Release::V1_34)).unwrap())
        .arg("--kubeconfig")
        .arg(api.kubeconfig())
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn path(relative: &str) -> String {
    let path = workspace::path(relative);
    assert!(Path::new(&path).exists(), "{} is missing", path.display());
    path.display().to_string()
}

#[tokio::test]
async fn plain_client_side_apply_installs_the_definitions_and_the_samples() {
    let api = ApiServer::start().await.unwrap();
    let definitions = path("charts/kamaji-crds/files");
    let created = kubectl(&api, &["apply", "--filename", &definitions]);
    assert_eq!(created.lines().filter(|line| line.ends_with(" created")).count(), 3, "{created}");
    kubectl(&api, &["wait", "--for=condition=Established", "--timeout=30s", "--filename", &definitions]);
    let again = kubectl(&api, &["apply", "--filename", &definitions]);
    assert_eq!(again.lines().filter(|line| line.ends_with(" unchanged")).count(), 3, "{again}");

    kubectl(&api, &["create", "namespace", "tenants"]);
    let samples = kubectl(&api, &["apply", "--dry-run=server", "--filename", &path("docs/samples")]);
    let kept = samples.lines().filter(|line| line.contains("kamaji.clastix.io/")).count();
    assert!(kept >= 6, "{samples}");
}

#[tokio::test]
async fn explain_has_a_sentence_for_our_fields() {
    let api = api().await;
    for (field, sentence) in [
        ("tcp.spec.networkProfile.port", "Port of the API server and of its Service."),
        ("tcp.spec.controlPlane.deployment.replicas", "0 puts the control plane to sleep"),
        ("tcp.status.controlPlaneEndpoint", "Address of the API server"),
        ("datastores.spec.driver", "Kind of store."),
        ("kc.spec.user.fromDefinition", "Path of a field of the TenantControlPlane"),
    ] {
        let text = kubectl(api, &["explain", field]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(sentence), "{field}: {text}");
    }
}

#[tokio::test]
async fn names_and_columns_are_those_of_go() {
    let api = api().await;
    let namespace = api.fresh_namespace().await.unwrap();
    let client = api.client().await.unwrap();
    create(&client, &tenant(&namespace, "shown", &json!({})), Trial::Real).await.unwrap();
    let columns = |kind: &str| {
        let table = kubectl(api, &["get", kind, "--namespace", &namespace]);
        let header = table.lines().next().unwrap_or_default();
        header.split("  ").map(str::trim).filter(|name| !name.is_empty()).collect::<Vec<_>>().join("|")
    };
    let tenants = "NAME|VERSION|INSTALLED VERSION|STATUS|CONTROL-PLANE ENDPOINT|KUBECONFIG|DATASTORE|AGE";
    for name in ["tcp", "tenantcontrolplanes", "kamaji"] {
        assert_eq!(columns(name), tenants, "{name}");
    }
    let kinds = kubectl(api, &["api-resources", "--api-group=kamaji.clastix.io", "--no-headers"]);
    let kinds: Vec<Vec<&str>> = kinds.lines().map(|line| line.split_whitespace().collect()).collect();
    let group = "kamaji.clastix.io/v1alpha1";
    assert_eq!(
        kinds,
        [
            vec!["datastores", group, "false", "DataStore"],
            vec!["kubeconfiggenerators", "kc", group, "false", "KubeconfigGenerator"],
            vec!["tenantcontrolplanes", "tcp", group, "true", "TenantControlPlane"],
        ]
    );
}

#[tokio::test]
async fn tenants_are_scaled() {
    let api = api().await;
    let namespace = api.fresh_namespace().await.unwrap();
    let client = api.client().await.unwrap();
    create(&client, &tenant(&namespace, "scaled", &json!({})), Trial::Real).await.unwrap();
    let status = r#"{"status":{"kubernetesResources":{"deployment":{"replicas":2,"selector":"kamaji.clastix.io/name=scaled"}}}}"#;
    kubectl(
        api,
        &[
            "patch",
            "tcp/scaled",
            "--namespace",
            &namespace,
            "--subresource=status",
            "--type=merge",
            "--patch",
            status,
        ],
    );
    kubectl(api, &["scale", "tcp/scaled", "--namespace", &namespace, "--replicas=5"]);
    let read = |path: &str, extra: &[&str]| {
        let output = format!("--output=jsonpath={path}");
        let fixed = ["get", "tcp/scaled", "--namespace", &namespace, output.as_str()];
        kubectl(api, &[&fixed, extra].concat())
    };
    assert_eq!(read("{.spec.controlPlane.deployment.replicas}", &[]), "5");
    let scale = ["--subresource=scale"];
    assert_eq!(
        read("{.spec.replicas} {.status.replicas} {.status.selector}", &scale),
        "5 2 kamaji.clastix.io/name=scaled"
    );
}
