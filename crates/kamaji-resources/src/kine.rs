//! kine: the program beside the API server through which it keeps its data in PostgreSQL, MySQL or NATS.
//!
//! It serves etcd's protocol on a Unix socket that only the Pod's own containers see. Where the store is and how to log in
//! there reaches it in one environment variable out of one key of a Secret, [`ENDPOINT`]: nothing secret is an argument. A
//! login at NATS stands in a file of its own, out of the same Secret, because kine cannot read every password of a URL.
//!
//! # A new image
//! A changed setting must not restart every tenant at once. A tenant keeps the image that its Deployment has until its Pods
//! are replaced for another reason, be it a new version, a renewed certificate or a changed spec; then it takes the new one
//! along. A tenant that is asleep takes it at once, and so does one that is told to, see [`When`]. Who must have a
//! certain image names it: a container of the user's that is called `kine` replaces the image, and nothing else.

mod endpoint;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kamaji_api::Tenant;
use kamaji_api::v1alpha1::Driver;

use crate::checksum;

pub(crate) use endpoint::is_of_nats;
pub use endpoint::{Place, Told, Unsayable, tell};

/// Name of the container.
pub const NAME: &str = "kine";
/// The image where the setting names none: upstream's, for amd64, arm64 and arm.
pub const DEFAULT_IMAGE: &str = "docker.io/rancher/kine:v0.17.5";
/// Key of the Secret, and variable in the container, that hold where the store is and how to log in there.
pub const ENDPOINT: &str = "KINE_ENDPOINT";
/// Key of the same Secret that holds addresses and login of NATS, if there is a login: a context of the `nats` program.
pub const CONTEXT: &str = "nats.json";
/// The file in the container that this key becomes.
pub const CONTEXT_FILE: &str = "/login/nats.json";
/// How many connections one kine opens at most to MySQL, where the user does not say otherwise: it works over few,
/// and those of all tenants share one server.
pub const CONNECTIONS: u32 = 10;
/// On the Deployment: the checksum of the Pods' template but for the image of kine. As long as it stays, so does the image.
pub const TEMPLATE: &str = "kamaji.clastix.io/kine-template";

/// What `--etcd-servers` of the API server and `--listen-address` of kine name.
pub(crate) const SOCKET: &str = "unix:///uds/kine";

/// True of the stores that an API server reaches through kine.
pub const fn serves(driver: Driver) -> bool {
    !matches!(driver, Driver::Etcd)
}

/// Which image is to run, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The setting: the image that tenants are to have.
    pub image: &'a str,
    /// The tenant's Deployment as it is, if it is there.
    pub running: Option<&'a Deployment>,
    /// When the image replaces the one that runs.
    pub when: When,
}

impl Default for Choice<'_> {
    fn default() -> Self {
        Self { image: DEFAULT_IMAGE, running: None, when: When::default() }
    }
}

/// When an image replaces the one that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// As soon as the Pods are replaced anyway.
    #[default]
    WithNextRollout,
    /// Now, by a rollout of its own.
    Now,
}

/// The image of a tenant's kine. `template` is the [`template_checksum`] of the Pods as they should be.
pub(crate) fn image(tenant: &Tenant, choice: &Choice<'_>, template: &str) -> String {
    let kept = || match choice.when {
        When::Now => None,
        When::WithNextRollout => kept_image(choice.running?, template),
    };
    let asleep = tenant.replicas == 0;
    named_by_user(tenant)
        .or_else(|| if asleep { None } else { kept() })
        .unwrap_or_else(|| choice.image.to_owned())
}

/// The image that the user's container of this name asks for.
fn named_by_user(tenant: &Tenant) -> Option<String> {
    let containers = &tenant.deployment.additional_containers;
    containers
        .iter()
        .find(|container| container.name == NAME)?
        .image
        .clone()
        .filter(|image| !image.is_empty())
}

/// The image that runs, if nothing else would change.
fn kept_image(running: &Deployment, template: &str) -> Option<String> {
    let recorded = running.metadata.annotations.as_ref()?.get(TEMPLATE)?;
    let containers = &running.spec.template.spec.as_ref()?.containers;
    let kine = containers.iter().find(|container| container.name == NAME)?;
    kine.image.clone().filter(|_| recorded == template)
}

/// The checksum of a template as it is rendered, whatever the image of kine.
pub(crate) fn template_checksum(template: &PodTemplateSpec) -> String {
    let mut template = template.clone();
    set_image(&mut template, "");
    let text = serde_json::to_string(&template).expect("a template is made of texts and numbers");
    checksum::of_texts(&[("template".to_owned(), text)].into())
}

/// The template with another image of kine.
pub(crate) fn set_image(template: &mut PodTemplateSpec, image: &str) {
    let containers = template.spec.iter_mut().flat_map(|pod| &mut pod.containers);
    containers
        .filter(|container| container.name == NAME)
        .for_each(|kine| kine.image = Some(image.to_owned()));
}
