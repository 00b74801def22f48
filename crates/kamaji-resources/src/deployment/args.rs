//! Command-line arguments of the components, composed from ours and the user's.

use std::collections::BTreeSet;

use kamaji_api::Tenant;
use kamaji_api::tenant::KubeVersion;

use crate::upgrade::EMULATION;

/// Arguments of ours: names without dashes, and values.
pub type Flags = Vec<(&'static str, String)>;

/// Who wins where both the user and we name a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    /// The user's arguments stay, ours of the same name go.
    User,
    /// Ours stay, the user's of the same name go.
    Kamaji,
}

/// Ours, sorted, then the user's as they were written: in their order, with repetitions.
pub fn compose(ours: &[(Winner, Flags)], user: &[String]) -> Vec<String> {
    let said = names(user);
    let managed: BTreeSet<&str> = ours
        .iter()
        .filter(|(winner, _)| *winner == Winner::Kamaji)
        .flat_map(|(_, flags)| flags.iter().map(|(name, _)| *name))
        .collect();
    let mut composed: Vec<String> = ours
        .iter()
        .flat_map(|(winner, flags)| flags.iter().map(move |flag| (*winner, flag)))
        .filter(|(winner, (name, _))| *winner == Winner::Kamaji || !said.contains(*name))
        .map(|(_, (name, value))| format!("--{name}={value}"))
        .collect();
    composed.sort();
    composed.extend(without(user, &managed));
    composed
}

/// Authenticated encryption with forward secrecy only; TLS 1.3 brings its own.
const CIPHERS: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

/// How every component serves.
pub(super) fn tls() -> Flags {
    vec![("tls-cipher-suites", CIPHERS.into()), ("tls-min-version", "VersionTLS12".into())]
}

/// While an upgrade is tried out, the programs keep the behaviour of the version that ran before.
pub(super) fn emulation(tenant: &Tenant) -> Flags {
    let flag = |version: &KubeVersion| (EMULATION, format!("1.{}", version.minor()));
    tenant.emulated.as_ref().map(flag).into_iter().collect()
}

/// The values that the user gives to this flag, behind `=` or as the next argument.
pub(crate) fn values<'a>(user: &'a [String], flag: &str) -> Vec<&'a str> {
    let is_flag = |argument: &String| name(argument).is_some_and(|name| name == flag);
    let following = user.iter().skip(1).map(Some).chain([None]);
    user.iter()
        .zip(following)
        .filter(|(argument, _)| is_flag(argument))
        .filter_map(|(argument, next)| match argument.split_once('=') {
            Some((_, value)) => Some(value),
            None => next.map(String::as_str),
        })
        .collect()
}

/// Whether the user names this flag.
pub fn names_flag(user: &[String], flag: &str) -> bool {
    names(user).contains(flag)
}

/// The user's arguments without the flags named, each with its value where that stands apart.
pub(super) fn without(user: &[String], refused: &BTreeSet<&str>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut dropping_value = false;
    for argument in user {
        match name(argument) {
            Some(flag) => {
                let refuse = refused.contains(flag.as_str());
                dropping_value = refuse && !argument.contains('=');
                if !refuse {
                    kept.push(argument.clone());
                }
            }
            None if dropping_value => dropping_value = false,
            None => kept.push(argument.clone()),
        }
    }
    kept
}

fn names(arguments: &[String]) -> BTreeSet<String> {
    arguments.iter().filter_map(|argument| name(argument)).collect()
}

/// The flag's name; Kubernetes programs read `_` as `-`. A value that stands apart from its flag has no name.
pub(crate) fn name(argument: &str) -> Option<String> {
    let bare = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let name = bare.split('=').next().unwrap_or_default();
    (!name.is_empty()).then(|| name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    fn ours() -> Vec<(Winner, Flags)> {
        vec![
            (
                Winner::User,
                vec![("allow-privileged", "true".into()), ("authorization-mode", "Node,RBAC".into())],
            ),
            (Winner::Kamaji, vec![("secure-port", "6443".into()), ("etcd-servers", "https://e".into())]),
        ]
    }

    #[test]
    fn ours_are_sorted_and_the_users_follow_as_written() {
        let composed =
            compose(&ours(), &user(&["--service-account-issuer=b", "--service-account-issuer=a", "-v=4"]));
        assert_eq!(
            composed,
            [
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                "--etcd-servers=https://e",
                "--secure-port=6443",
                "--service-account-issuer=b",
                "--service-account-issuer=a",
                "-v=4",
            ]
        );
    }

    #[test]
    fn the_user_overrides_a_default_however_it_is_spelled() {
        for spelled in [&["--authorization-mode=Webhook"][..], &["--authorization_mode", "Webhook"]] {
            let composed = compose(&ours(), &user(spelled));
            assert!(!composed.contains(&"--authorization-mode=Node,RBAC".into()), "{composed:?}");
        }
    }

    #[test]
    fn what_is_managed_stays_ours_however_it_is_spelled() {
        for spelled in [&["--secure-port=1"][..], &["--secure_port", "1"], &["-secure-port=1"]] {
            let composed = compose(&ours(), &user(spelled));
            assert_eq!(composed.len(), 4, "{composed:?}");
            assert!(composed.contains(&"--secure-port=6443".into()));
        }
    }

    #[test]
    fn values_are_found_however_they_are_given() {
        let given = user(&["--disable-x=a,b", "--other", "--disable_x", "c", "-v=4", "--disable-x"]);
        assert_eq!(values(&given, "disable-x"), ["a,b", "c"]);
    }

    #[test]
    fn empty_values_and_lone_values_survive() {
        let composed = compose(&[], &user(&["--audit-log-path", "-", "--flag="]));
        assert_eq!(composed, ["--audit-log-path", "-", "--flag="]);
    }
}
