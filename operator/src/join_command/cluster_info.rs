//! What machines are told before they are known: the ConfigMap `cluster-info`, which everybody may read.

use axum::http::Uri;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_pki::Certificate;
use serde::Deserialize;

/// Address of the API server that this `cluster-info` names, as `host:port`, if its authority is the one with this
/// fingerprint.
///
/// A tenant's administrator can edit the ConfigMap, and what we print is pasted into the shell of a machine: an address of
/// any other form is not taken.
pub(super) fn address(cluster_info: &ConfigMap, authority: &Certificate) -> Result<String, &'static str> {
    let text = cluster_info.data.as_ref().and_then(|data| data.get("kubeconfig"));
    let text = text.ok_or("has no key kubeconfig")?;
    let file: File = serde_saphyr::from_str(text).map_err(|_| "holds no kubeconfig")?;
    let [Named { cluster }] =
        <[Named; 1]>::try_from(file.clusters).map_err(|_| "names not just one cluster")?;
    let told = Certificate::from_pem(&cluster.certificate_authority_data.0)
        .map_err(|_| "holds no certificate of an authority")?;
    if told.fingerprint() != authority.fingerprint() {
        return Err(
            "holds the certificate of another authority than the tenant's, so that no machine could trust it",
        );
    }
    host_and_port(&cluster.server).ok_or("names no address of an API server, such as https://192.0.2.1:6443")
}

/// `host:port` of an API server's URL, with brackets around IPv6.
fn host_and_port(server: &str) -> Option<String> {
    let uri: Uri = server.parse().ok()?;
    let host = uri.host()?;
    let is_plain = matches!(uri.path_and_query().map_or("/", |rest| rest.as_str()), "/" | "");
    let is_address = uri.scheme_str() == Some("https") && is_plain && is_host(host);
    is_address.then(|| format!("{host}:{}", uri.port_u16().unwrap_or(443)))
}

/// A name or an IP address, and nothing that means anything to a shell.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(is_plain)
}

#[derive(Deserialize)]
struct File {
    clusters: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: ByteString,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ECDSA: &str = "-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUYoPL9qKrXeDf5+I10dQpfhsRokEwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAeFw0yNjExMjMwNTUzMzZaFw0zNjExMjAw
NTUzMzZaMBUxEzARBgNVBAMMCmt1YmVybmV0ZXMwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASGrJ/4/AmmUkDF/Pb3mHI3n/P7IDqA+llmS1Z76iYSEIuKt4EWmg/q
tx/Prp3QHSLXsaqf45zPVcxlabU7gGa2o1MwUTAdBgNVHQ4EFgQUjo8Y0fsgHiqC
W+3/Fq0LGhP4QjAwHwYDVR0jBBgwFoAUjo8Y0fsgHiqCW+3/Fq0LGhP4QjAwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEArjFfzWYSx54FoLG8tg5U
RG9Igb1Az8HdbXVQx50kafwCIF37eDbUPfFNQMTDPn15757IbGGKfrkMQeHxxg1h
diny
-----END CERTIFICATE-----
";
    const RSA: &str = "-----BEGIN CERTIFICATE-----
MIIDCzCCAfOgAwIBAgIUQf8OHajdUdwMhadL2ljQrbhPQ+kwDQYJKoZIhvcNAQEL
BQAwFTETMBEGA1UEAwwKa3ViZXJuZXRlczAeFw0yNjExMjMwNTUzMzdaFw0zNjEx
MjAwNTUzMzdaMBUxEzARBgNVBAMMCmt1YmVybmV0ZXMwggEiMA0GCSqGSIb3DQEB
AQUAA4IBDwAwggEKAoIBAQClLDycSIQjTMrxp9DrmjHhaQZ4m0+tHhSutKsFdhXG
Uo1qBaABBuem4Ckibvv1JTmon/oUtjZk2ggObCxTeyG2dRzFLbP0Bi1akupXw3Fa
dXy+oWFJHZeE5Qkt5Jv6dXmGMi7QIVSvTN2VM7K/9xwqQCrguo/yjPE5HfuAU129
16TwAQaYZCtb+/r0IQFrFnlb+OPySGmid3Fzn6toLE7wmXQGW26IDZSua2LlwyF7
XVpZEo5mOb0w+6TokoTUtOirT8QDpyEm4s79DzJgUy31jQNUfjoYQECuyY6qZj96
c/6K1ks7YIR/96RDJm6g21qB8L4ZmhLG587L2eaLvop5AgMBAAGjUzBRMB0GA1Ud
DgQWBBTlna/ExQ29Fn7jqaKlumON6KL/6zAfBgNVHSMEGDAWgBTlna/ExQ29Fn7j
qaKlumON6KL/6zAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA4IBAQA3
0besrrCTeNI+bkeEP8jVCx+qCywyIrVlQkeq3APbJ6TLK/bcSytSIzwc4mMgrwL8
26DHWgWa+1rgzjdrOWbmrtCOo6W95Ju5ny2HiGgXhguTWUpbU7WzwTxF33NCAfxN
cWcTcCsWviMZ7NgIeEakBkgX6ZsLpgSD9Es5ZZ3PsMPH2v68X9iZEgVnLNpIqykl
O9uB6jNAC1x+jLNKqN6fh9VtDotEAHWyZm6CYAIMxcnrHIaf0T9UH/zRnVCB7NOT
tb1tyUGhiCbF3ZiesgBBa31xCBo+xs4NpS8bJFVP7U3P2bPAblBxG5hwlfJPlrNB
GbpzzDLUmrSxnNfM+3Cy
-----END CERTIFICATE-----
";

    fn certificate(pem: &str) -> Certificate {
        Certificate::from_pem(pem.as_bytes()).unwrap()
    }

    fn cluster_info(server: &str, authority: &str) -> ConfigMap {
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "contexts": null, "users": null, "current-context": "",
            "clusters": [{ "name": "", "cluster": {
                "server": server, "certificate-authority-data": ByteString(authority.into()),
            } }],
        });
        serde_json::from_value(json!({ "data": { "kubeconfig": file.to_string() } })).unwrap()
    }

    /// `openssl x509 -pubkey -noout -in ca.crt | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex`, as
    /// kubeadm's manual has it.
    #[test]
    fn the_hash_is_that_of_openssl() {
        assert_eq!(
            certificate(ECDSA).fingerprint(),
            "60ab34f786caf3599ea1bb2a22476545856d819646579c4f29f8b0c99e3d7f89"
        );
        assert_eq!(
            certificate(RSA).fingerprint(),
            "30ab07751edb919c3002780a2631d85b7e6fd8f84d0ade08d4c88430f248acaa"
        );
    }

    #[test]
    fn nodes_are_told_where_cluster_info_says() {
        let told = |server: &str| address(&cluster_info(server, ECDSA), &certificate(ECDSA)).ok();
        for (server, expected) in [
            ("https://192.0.2.1:6443", "192.0.2.1:6443"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443"),
            ("https://blue.example.com", "blue.example.com:443"),
            ("https://blue.example.com:8443/", "blue.example.com:8443"),
        ] {
            assert_eq!(told(server).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_pasted_into_a_shell_is_an_address_and_nothing_else() {
        for server in [
            "https://$(reboot):6443",
            "https://a;b:6443",
            "https://a&b:6443",
            "https://a'b:6443",
            "https://--config:6443",
            "https://user@192.0.2.1:6443/x",
            "https://192.0.2.1:6443/x y",
            "https://192.0.2.1:6443 --ignore-preflight-errors=all",
            "https://192.0.2.1:6443\nreboot",
            "https://[fd00::1%25eth0]:6443",
            "http://192.0.2.1:6443",
            "192.0.2.1:6443",
            "",
        ] {
            let told = address(&cluster_info(server, ECDSA), &certificate(ECDSA));
            assert_eq!(
                told,
                Err("names no address of an API server, such as https://192.0.2.1:6443"),
                "{server}"
            );
        }
    }

    #[test]
    fn another_authority_is_not_handed_on() {
        let told = address(&cluster_info("https://192.0.2.1:6443", RSA), &certificate(ECDSA));
        assert!(told.unwrap_err().starts_with("holds the certificate of another authority"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_no_address() {
        let bad = |text: &str| {
            let config_map = serde_json::from_value(json!({ "data": { "kubeconfig": text } })).unwrap();
            address(&config_map, &certificate(ECDSA)).unwrap_err()
        };
        assert_eq!(address(&ConfigMap::default(), &certificate(ECDSA)), Err("has no key kubeconfig"));
        assert_eq!(bad("clusters: 7"), "holds no kubeconfig");
        assert_eq!(bad("clusters: []"), "names not just one cluster");
        assert_eq!(
            address(&cluster_info("https://a:1", "x"), &certificate(ECDSA)),
            Err("holds no certificate of an authority")
        );
    }
}
