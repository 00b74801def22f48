//! Building the programs that are not there yet.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::Program;
use crate::{cache::Cache, command, progress::Progress, workspace};

/// Builds those of these programs that the cache lacks, one `go build` for each Go module.
pub fn ensure(cache: &Cache, progress: &Progress, wanted: &[Program]) -> Result<()> {
    if missing(cache, wanted).is_empty() {
        return Ok(());
    }
    let _lock = cache.lock("programs")?;
    // Another process may have built them while we waited for the lock.
    let missing = missing(cache, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    require_go()?;
    for (recipe, programs) in by_recipe(&missing) {
        let names = programs.iter().map(|program| program.name()).collect::<Vec<_>>().join(", ");
        progress.step(&format!("building {names} {}", programs[0].version()), || {
            build(cache, &recipe, &programs)
        })?;
    }
    Ok(())
}

/// What the programs of one `go build` have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Recipe {
    folder: &'static str,
    link_flags: String,
}

fn by_recipe(programs: &[Program]) -> BTreeMap<Recipe, Vec<Program>> {
    let mut recipes = BTreeMap::<Recipe, Vec<Program>>::new();
    for program in programs {
        let recipe = Recipe { folder: program.folder(), link_flags: program.link_flags() };
        recipes.entry(recipe).or_default().push(*program);
    }
    recipes
}

fn missing(cache: &Cache, wanted: &[Program]) -> Vec<Program> {
    let mut programs: Vec<_> =
        wanted.iter().copied().filter(|program| !program.path_in(cache).is_file()).collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

/// Fails when there is no Go to build with.
pub(super) fn require_go() -> Result<()> {
    if command::succeeds(Command::new("go").arg("version")) {
        return Ok(());
    }
    bail!(
        "`go` is missing: the Kubernetes programs are built from their Go modules; install Go 1.26 or newer and run this again"
    )
}

fn build(cache: &Cache, recipe: &Recipe, programs: &[Program]) -> Result<()> {
    let unfinished = cache.programs().join(format!("unfinished-{}", std::process::id()));
    fs::create_dir_all(&unfinished).with_context(|| format!("making the folder {}", unfinished.display()))?;
    let folder = workspace::path("e2e/programs").join(recipe.folder);
    let packages: Vec<String> = programs.iter().map(|program| program.package()).collect();
    let result = go_build(&unfinished, &folder, &recipe.link_flags, &packages)
        .and_then(|()| programs.iter().try_for_each(|program| place(cache, &unfinished, *program)));
    fs::remove_dir_all(&unfinished)
        .with_context(|| format!("removing the folder {}", unfinished.display()))?;
    result
}

/// Builds these packages of the Go module in `folder` as static programs.
pub(super) fn go_build(into: &Path, folder: &Path, link_flags: &str, packages: &[String]) -> Result<()> {
    command::output(
        Command::new("go")
            .current_dir(folder)
            .env("CGO_ENABLED", "0")
            // A go.work above the checkout or flags of the user must not change what we build.
            .env("GOWORK", "off")
            .env_remove("GOFLAGS")
            .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", link_flags, "-o"])
            .arg(into)
            .args(packages),
    )
    .map(drop)
}

fn place(cache: &Cache, unfinished: &Path, program: Program) -> Result<()> {
    let from = unfinished.join(built_name(&program.package()));
    let to: PathBuf = program.path_in(cache);
    let folder = to.parent().expect("a program lies in a folder of its own");
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    fs::rename(&from, &to).with_context(|| format!("moving {} into place", to.display()))
}

/// What `go build` calls the program of this package: its last element that is not a major version.
fn built_name(package: &str) -> &str {
    let is_major = |element: &str| {
        element.strip_prefix('v').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    package.rsplit('/').find(|element| !is_major(element)).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Release;

    #[test]
    fn go_names_a_program_after_its_package() {
        assert_eq!(built_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(built_name("go.etcd.io/etcd/etcdctl/v3"), "etcdctl");
        assert_eq!(built_name("helm.sh/helm/v3/cmd/helm"), "helm");
        assert_eq!(built_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
    }

    #[test]
    fn programs_of_one_module_are_built_together() {
        let programs = [
            Program::KubeApiserver(Release::V1_34),
            Program::Etcd,
            Program::Kubelet(Release::V1_34),
            Program::KubeApiserver(Release::V1_35),
            Program::Etcdctl,
        ];
        let groups: Vec<usize> = by_recipe(&programs).into_values().map(|group| group.len()).collect();
        assert_eq!(groups, [2, 2, 1]);
    }
}
