//! The stand-in for the konnectivity programs, which are not published as Go modules: our own small Go program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::build::{go_build, require_go};
use crate::{cache::Cache, digest, workspace};

/// Its sources and its `go.mod`, in the checkout.
const FOLDER: &str = "e2e/programs/konnectivity";

/// What the built program's folder begins with; the digest of the sources follows.
const PREFIX: &str = "konnectivity-";

/// The folder with its sources, in which `go test` tests it.
pub fn sources() -> PathBuf {
    workspace::path(FOLDER)
}

/// The built program, made anew when its sources have changed. What its file is called says what it does.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let program = path(cache)?;
    if program.is_file() {
        return Ok(program);
    }
    let _lock = cache.lock("programs")?;
    if program.is_file() {
        return Ok(program);
    }
    require_go()?;
    let unfinished = cache.programs().join(format!("unfinished-{}", std::process::id()));
    fs::create_dir_all(&unfinished).with_context(|| format!("making the folder {}", unfinished.display()))?;
    let result = go_build(&unfinished, &sources(), "-s -w", &[".".to_owned()])
        .and_then(|()| replace(&unfinished.join("konnectivity"), &program, cache));
    fs::remove_dir_all(&unfinished)
        .with_context(|| format!("removing the folder {}", unfinished.display()))?;
    result.map(|()| program)
}

/// Puts the built program into its place, and removes those of earlier sources.
fn replace(built: &Path, program: &Path, cache: &Cache) -> Result<()> {
    for entry in fs::read_dir(cache.programs()).context("reading the folder of programs")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    let folder = program.parent().expect("a program lies in a folder of its own");
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    fs::rename(built, program).with_context(|| format!("moving {} into place", program.display()))
}

fn path(cache: &Cache) -> Result<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources())
        .with_context(|| format!("reading the folder {FOLDER}"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !path.to_string_lossy().ends_with("_test.go"))
        .collect();
    files.sort();
    let mut content = Vec::new();
    for file in files {
        content.extend(file.file_name().unwrap_or_default().as_encoded_bytes());
        content.extend(fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
    }
    let digest = digest::of(&content);
    Ok(cache.programs().join(format!("{PREFIX}{}", &digest[..16])).join("konnectivity"))
}
