//! The container images: which, made from which programs, and their archives in the cache.

mod archive;
mod kube_proxy;
mod pause;

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use archive::{Entry, Image};

use crate::{
    cache::{Cache, write_atomically},
    packages,
    programs::{Program, Release, stand_in},
    workspace,
};

/// The image of every Pod's sandbox.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.1";

/// The user that our images run as where nothing else is said: distroless' `nonroot`.
const NONROOT: &str = "65532:65532";

/// An image's archive in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The image's full name with its tag.
    pub name: String,
    /// The digest of its manifest, by which a container runtime knows it.
    pub digest: String,
    /// The OCI archive.
    pub path: PathBuf,
}

/// The programs that the images of [`upstream`] are made of.
pub fn upstream_programs(releases: &[Release]) -> Vec<Program> {
    let shared = [Program::CoreDns, Program::Etcd, Program::Etcdctl];
    releases.iter().flat_map(|release| control_planes(*release)).chain(shared).collect()
}

/// The images that the local cluster serves for tenants of these releases; the programs must have been built.
///
/// The operator's own image is not among them, see [`operator`].
pub fn upstream(cache: &Cache, releases: &[Release]) -> Result<Vec<Image>> {
    let programs = releases.iter().flat_map(|release| control_planes(*release));
    let mut images: Vec<Image> = programs.map(|program| control_plane(cache, program)).collect();
    images.extend([
        coredns(cache, Program::CoreDns.version()),
        etcd(cache),
        pause::image(cache)?,
        busybox()?,
    ]);
    for release in releases {
        images.push(konnectivity(cache, *release, "proxy-server")?);
    }
    Ok(images)
}

/// The programs that the images of [`worker`] are made of.
pub fn worker_programs(release: Release) -> Vec<Program> {
    vec![Program::KubeProxy(release), Program::CoreDns]
}

/// The images that a tenant's worker runs; the programs must have been built.
pub fn worker(cache: &Cache, release: Release) -> Result<Vec<Image>> {
    Ok(vec![
        kube_proxy::image(cache, release)?,
        coredns(cache, coredns_version(release)),
        konnectivity(cache, release, "proxy-agent")?,
        pause::image(cache)?,
        busybox()?,
    ])
}

fn control_planes(release: Release) -> [Program; 3] {
    [
        Program::KubeApiserver(release),
        Program::KubeControllerManager(release),
        Program::KubeScheduler(release),
    ]
}

/// The operator's image, from its static binary.
pub fn operator(binary: &Path) -> Image {
    Image {
        entries: vec![Entry::program(binary, "/kamaji")],
        entrypoint: vec!["/kamaji".to_owned()],
        user: NONROOT.to_owned(),
        ..Image::named(format!("docker.io/clastix/kamaji:{}", workspace::VERSION))
    }
}

/// The archive of this image, made anew only when a file that it is made of has changed.
pub fn ensure_archive(cache: &Cache, image: &Image) -> Result<Archive> {
    let folder = cache.images();
    fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let path = folder.join(format!("{}.tar", image.name.replace(['/', ':'], "_")));
    let recipe = Recipe::of(image)?;
    let record_path = path.with_extension("json");
    if let Some(record) = read_record(&record_path)
        && record.recipe == recipe
        && path.is_file()
    {
        return Ok(Archive { name: image.name.clone(), digest: record.digest, path });
    }
    let digest = archive::write(image, &path).with_context(|| format!("packing the image {}", image.name))?;
    let record = Record { recipe, digest: digest.clone() };
    write_atomically(
        &record_path,
        &serde_json::to_vec_pretty(&record).context("encoding an image's record")?,
    )?;
    Ok(Archive { name: image.name.clone(), digest, path })
}

/// What an archive was made of; kept beside it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    recipe: Recipe,
    digest: String,
}

/// Everything that decides an archive's content, cheap to find out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Recipe {
    /// The version of the archive's layout, in case this program makes it differently one day.
    layout: u32,
    image: String,
    sources: Vec<Source>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    path: PathBuf,
    length: u64,
    modified_nanoseconds: u128,
}

impl Recipe {
    fn of(image: &Image) -> Result<Self> {
        let sources = image.sources().map(Source::of).collect::<Result<_>>()?;
        Ok(Self { layout: 1, image: format!("{image:?}"), sources })
    }
}

impl Source {
    fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        let modified =
            metadata.modified().with_context(|| format!("reading the age of {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            length: metadata.len(),
            modified_nanoseconds: modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
        })
    }
}

/// A record that cannot be read is as good as none: the archive is made again.
fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn control_plane(cache: &Cache, program: Program) -> Image {
    Image {
        entries: vec![Entry::program(&program.path_in(cache), &format!("/usr/local/bin/{}", program.name()))],
        ..Image::named(format!("registry.k8s.io/{}:{}", program.name(), program.version()))
    }
}

/// The version that tenants of a release run. The program is the same one: what is tested is ours, not `CoreDNS`.
const fn coredns_version(release: Release) -> &'static str {
    match release {
        Release::V1_33 => "v1.12.0",
        Release::V1_34 => "v1.12.1",
        Release::V1_35 => "v1.13.1",
        Release::V1_36 => "v1.14.2",
    }
}

/// One of the two ends of the tunnel to the workers, in the version that tenants of this release get.
fn konnectivity(cache: &Cache, release: Release, name: &str) -> Result<Image> {
    let path = format!("/{name}");
    Ok(Image {
        entries: vec![Entry::program(&stand_in::ensure(cache)?, &path)],
        entrypoint: vec![path],
        user: NONROOT.to_owned(),
        ..Image::named(format!("registry.k8s.io/kas-network-proxy/{name}:v0.{}.0", release.minor()))
    })
}

fn coredns(cache: &Cache, version: &str) -> Image {
    // Root, because the file has no capabilities of its own and port 53 needs NET_BIND_SERVICE.
    Image {
        entries: vec![Entry::program(&Program::CoreDns.path_in(cache), "/coredns")],
        entrypoint: vec!["/coredns".to_owned()],
        ..Image::named(format!("registry.k8s.io/coredns/coredns:{version}"))
    }
}

fn etcd(cache: &Cache) -> Image {
    let entries = [Program::Etcd, Program::Etcdctl].map(|program| {
        Entry::program(&program.path_in(cache), &format!("/usr/local/bin/{}", program.name()))
    });
    let tag = Program::Etcd.version().trim_start_matches('v');
    Image { entries: entries.to_vec(), ..Image::named(format!("registry.k8s.io/etcd:{tag}-0")) }
}

/// A shell for tests to try things from inside the cluster.
fn busybox() -> Result<Image> {
    let program = packages::program("busybox");
    let names = crate::command::output(std::process::Command::new(&program).arg("--list"))?;
    let links = names
        .lines()
        .filter(|name| *name != "busybox")
        .map(|name| Entry::Link { at: format!("/bin/{name}"), to: "busybox".to_owned() });
    Ok(Image {
        entries: std::iter::once(Entry::program(&program, "/bin/busybox")).chain(links).collect(),
        entrypoint: vec!["/bin/sh".to_owned()],
        ..Image::named("docker.io/library/busybox:1.35".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-images-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn an_archive_is_made_again_only_when_its_program_changed() {
        let folder = folder("again");
        let cache = Cache::at(folder.clone()).unwrap();
        let binary = folder.join("kamaji");
        fs::write(&binary, "one").unwrap();
        let image = operator(&binary);

        let first = ensure_archive(&cache, &image).unwrap();
        let written = fs::metadata(&first.path).unwrap().modified().unwrap();
        assert_eq!(ensure_archive(&cache, &image).unwrap(), first);
        assert_eq!(fs::metadata(&first.path).unwrap().modified().unwrap(), written);

        fs::write(&binary, "another").unwrap();
        let second = ensure_archive(&cache, &image).unwrap();
        assert_eq!((&second.name, &second.path), (&first.name, &first.path));
        assert_ne!(second.digest, first.digest);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_operator_is_named_after_the_workspace_version() {
        let image = operator(Path::new("/some/kamaji"));
        assert_eq!(image.name, format!("docker.io/clastix/kamaji:{}", workspace::VERSION));
        assert_eq!(
            (image.entrypoint.as_slice(), image.user.as_str()),
            (["/kamaji".to_owned()].as_slice(), NONROOT)
        );
    }

    #[test]
    fn both_releases_are_served() {
        let cache = Cache::at(folder("names")).unwrap();
        let names: Vec<String> =
            Release::ALL.map(|release| control_plane(&cache, Program::KubeScheduler(release)).name).to_vec();
        assert_eq!(
            names,
            ["registry.k8s.io/kube-scheduler:v1.34.4", "registry.k8s.io/kube-scheduler:v1.35.4"]
        );
        assert_eq!(etcd(&cache).name, "registry.k8s.io/etcd:3.6.16-0");
        let names: Vec<String> =
            Release::ALL.map(|release| coredns(&cache, coredns_version(release)).name).to_vec();
        assert_eq!(
            names,
            ["registry.k8s.io/coredns/coredns:v1.12.1", "registry.k8s.io/coredns/coredns:v1.13.1"]
        );
    }
}
