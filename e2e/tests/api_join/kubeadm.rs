//! The real kubeadm takes the line: it finds the tenant, trusts it, and reads what is meant for it.

use std::process::{Command, Output};

use kamaji_e2e::operator::signer::run_signer;
use xtask::programs::{self, Program, Release};

use crate::Joinable;

#[tokio::test(flavor = "multi_thread")]
async fn kubeadm_finds_the_tenant_and_trusts_it() {
    let tenant = Joinable::start().await;
    let _signer = run_signer(&tenant.lane, "blue").await.unwrap();
    let command = tenant.command().await;
    assert!(command.is_signed, "kubeadm would wait for it for five minutes");
    let line = command.line;
    let words: Vec<&str> = line.split(' ').collect();
    let ["kubeadm", "join", arguments @ ..] = &words[..] else { panic!("{line}") };
    assert_eq!(arguments.len(), 5, "{line}");

    let output = preflight(arguments);
    assert!(output.status.success(), "{}", text(&output));
    // After the token had been checked, with which the next step is made.
    assert!(
        text(&output).contains(r#"Reading configuration from the "kubeadm-config" ConfigMap"#),
        "{}",
        text(&output)
    );

    // Another authority, and nothing is read from whoever answers there.
    let hash = arguments[4];
    let other = format!("sha256:{}", "0".repeat(64));
    let arguments = [&arguments[..4], &[other.as_str()]].concat();
    assert_ne!(hash, other);
    let output = preflight(&arguments);
    assert!(!output.status.success());
    assert!(text(&output).contains("none of the public keys"), "{}", text(&output));
}

/// Runs the part of `kubeadm join` that leaves the machine as it is.
fn preflight(arguments: &[&str]) -> Output {
    let mut command = kubeadm();
    command.args(["join", "phase", "preflight"]).args(arguments);
    // This machine is no node, and is not to become one.
    command.args([
        "--ignore-preflight-errors=all",
        "--cri-socket=unix:///nowhere.sock",
        "--node-name=worker",
        "--v=1",
    ]);
    command.output().unwrap()
}

/// What `kubeadm token list` says of a tenant.
pub(crate) fn token_list(tenant: &Joinable) -> String {
    let mut command = kubeadm();
    let output = command.args(["token", "list", "--kubeconfig"]).arg(&tenant.file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn kubeadm() -> Command {
    let path = programs::path(Program::Kubeadm(Release::V1_34)).unwrap();
    assert!(path.is_file(), "kubeadm is not built yet: `cargo xtask test` builds it");
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
