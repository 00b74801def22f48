//! Kubeconfig files: client credentials of one user for one server (`k8s.io/client-go/tools/clientcmd/api/v1`).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A kubeconfig with one cluster, one user and one context.
#[derive(Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// URL of the API server.
    pub server: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the user; also the common name of the certificate.
    pub user: String,
    /// The server's authority, in PEM.
    pub authority: String,
    /// The user's certificate, in PEM.
    pub certificate: String,
    /// The user's private key, in PEM.
    pub key: String,
}

impl std::fmt::Debug for Kubeconfig {
    /// Never shows the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Kubeconfig")
            .field("server", &self.server)
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Kubeconfig {
    /// The file, in YAML.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(&self.file())
    }

    /// The file, in YAML: `held` to the byte if it says the same, whoever wrote it.
    pub fn to_yaml_or(&self, held: Option<&[u8]>) -> Result<String, serde_saphyr::ser::Error> {
        let ours = self.to_yaml()?;
        let held = held.and_then(|text| std::str::from_utf8(text).ok());
        match held.filter(|text| *text != ours && self.is_said_by(text)) {
            Some(text) => Ok(text.to_owned()),
            None => Ok(ours),
        }
    }

    /// Nothing less and nothing more: a file that stays must not name a proxy, a command or a second server.
    fn is_said_by(&self, text: &str) -> bool {
        let (Ok(mut said), Ok(ours)) =
            (serde_saphyr::from_str::<Value>(text), serde_json::to_value(self.file()))
        else {
            return false;
        };
        // client-go wrote this field, empty, for many years.
        if let Some(fields) =
            said.as_object_mut().filter(|fields| fields.get("preferences") == Some(&json!({})))
        {
            fields.remove("preferences");
        }
        said == ours
    }

    fn file(&self) -> File {
        let context = format!("{}@{}", self.user, self.cluster);
        File {
            api_version: "v1".into(),
            kind: "Config".into(),
            clusters: vec![NamedCluster {
                name: self.cluster.clone(),
                cluster: Cluster {
                    certificate_authority_data: encoded(&self.authority),
                    server: self.server.clone(),
                },
            }],
            contexts: vec![NamedContext {
                name: context.clone(),
                context: Context { cluster: self.cluster.clone(), user: self.user.clone() },
            }],
            current_context: context,
            users: vec![NamedUser {
                name: self.user.clone(),
                user: User {
                    client_certificate_data: encoded(&self.certificate),
                    client_key_data: encoded(&self.key),
                },
            }],
        }
    }

    /// Reads a file of the shape that [`Kubeconfig::to_yaml`] writes; anything else is `None`.
    pub fn from_yaml(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text).ok().and_then(Self::from_ours).or_else(|| Self::from_any(text))
    }

    /// Reads what [`Kubeconfig::to_yaml`] wrote to the byte, line by line: each pass over a tenant reads all of its kubeconfigs,
    /// and a YAML parser takes most of the time of that.
    fn from_ours(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let file = |name: &str| String::from_utf8(BASE64_STANDARD.decode(field(name)?).ok()?).ok();
        let read = Self {
            server: field("server")?.to_owned(),
            cluster: field("cluster")?.to_owned(),
            user: field("user")?.to_owned(),
            authority: file("certificate-authority-data")?,
            certificate: file("client-certificate-data")?,
            key: file("client-key-data")?,
        };
        (read.to_yaml().ok()? == text).then_some(read)
    }

    fn from_any(text: &[u8]) -> Option<Self> {
        let file: File = serde_saphyr::from_slice(text).ok()?;
        let cluster = file.clusters.into_iter().next()?;
        let user = file.users.into_iter().next()?;
        Some(Self {
            server: cluster.cluster.server,
            cluster: cluster.name,
            user: user.name,
            authority: decoded(cluster.cluster.certificate_authority_data)?,
            certificate: decoded(user.user.client_certificate_data)?,
            key: decoded(user.user.client_key_data)?,
        })
    }
}

fn encoded(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn decoded(bytes: ByteString) -> Option<String> {
    String::from_utf8(bytes.0).ok()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    clusters: Vec<NamedCluster>,
    contexts: Vec<NamedContext>,
    #[serde(rename = "current-context")]
    current_context: String,
    users: Vec<NamedUser>,
}

#[derive(Serialize, Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    certificate_authority_data: ByteString,
    server: String,
}

#[derive(Serialize, Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Serialize, Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Serialize, Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: ByteString,
    client_key_data: ByteString,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let written = Kubeconfig {
            server: "https://[fd00::1]:6443".into(),
            cluster: "blue".into(),
            user: "kubernetes-admin".into(),
            authority: "CA\n".into(),
            certificate: "CERT\n".into(),
            key: "KEY\n".into(),
        };
        let yaml = written.to_yaml().unwrap();
        assert_eq!(Kubeconfig::from_ours(&yaml), Some(written.clone()));
        assert_eq!(Kubeconfig::from_any(yaml.as_bytes()), Some(written));
    }

    #[test]
    fn names_that_yaml_writes_in_another_way_are_read_all_the_same() {
        let file = |user: &str| Kubeconfig {
            server: "https://blue.teams.svc:6443".into(),
            cluster: "123".into(),
            user: user.into(),
            authority: "CA\n".into(),
            certificate: "CERT\n".into(),
            key: "KEY\n".into(),
        };
        for user in ["system:kube-scheduler", "true", "a: b", "- a", "quoted\"", ""] {
            let yaml = file(user).to_yaml().unwrap();
            assert_eq!(Kubeconfig::from_yaml(yaml.as_bytes()), Some(file(user)), "{yaml}");
        }
    }

    #[test]
    fn a_file_that_says_more_is_not_taken_for_ours() {
        let yaml = "apiVersion: v1\nkind: Config\n";
        assert_eq!(Kubeconfig::from_ours(yaml), None);
    }

    #[test]
    fn what_is_no_kubeconfig_is_none() {
        for bad in ["", "{}", "clusters: []", "\u{0}", "- a", "apiVersion: v1\nkind: Config\nclusters: 7"] {
            assert_eq!(Kubeconfig::from_yaml(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
