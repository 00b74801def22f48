//! The folder outside the checkout that keeps built programs, images and the local cluster.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Where everything that takes long to make is kept between runs.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user: `$KAMAJI_CACHE`, else `$XDG_CACHE_HOME/kamaji`, else `~/.cache/kamaji`.
    pub fn of_this_user() -> Result<Self> {
        let root = folder(
            std::env::var_os("KAMAJI_CACHE"),
            std::env::var_os("XDG_CACHE_HOME"),
            std::env::var_os("HOME"),
        );
        let Some(root) = root else {
            bail!(
                "there is no place for the cache: neither KAMAJI_CACHE nor HOME is set; set KAMAJI_CACHE to a folder"
            );
        };
        Self::at(
            std::path::absolute(&root).with_context(|| format!("finding the folder {}", root.display()))?,
        )
    }

    /// A cache in this folder, which is made if it is missing.
    pub fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("making the cache folder {}", root.display()))?;
        Ok(Self { root })
    }

    /// The built upstream programs, one folder for each name and version.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// The image archives.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Everything the local cluster keeps.
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where the quickstart leaves the kubeconfig of a tenant's administrator.
    pub fn tenant_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        self.root.join(format!("{namespace}-{name}.kubeconfig"))
    }

    /// Cargo's target folder for the operator's static binary.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Takes the lock of this name, waiting (and saying so) while another process holds it.
    ///
    /// It is given back when the returned file is dropped.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("opening the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                println!("waiting for another `cargo xtask` that holds {}", path.display());
            }
            Err(TryLockError::Error(source)) => {
                return Err(source).with_context(|| format!("locking {}", path.display()));
            }
        }
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(file)
    }
}

/// Decides where the cache lies from the three variables that may say so; an empty variable counts as unset.
fn folder(kamaji: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let set = |value: Option<OsString>| value.filter(|text| !text.is_empty()).map(PathBuf::from);
    set(kamaji)
        .or_else(|| set(xdg).map(|base| base.join("kamaji")))
        .or_else(|| set(home).map(|base| base.join(".cache").join("kamaji")))
}

/// Writes a file that only its owner may read, so that a reader sees the old or the new content, never a part of it.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(content)
    };
    write().with_context(|| format!("writing {}", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("moving {} into place", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(values: [&str; 3]) -> Option<PathBuf> {
        let [kamaji, xdg, home] = values.map(|value| (value != "unset").then(|| OsString::from(value)));
        folder(kamaji, xdg, home)
    }

    #[test]
    fn the_most_specific_variable_wins() {
        assert_eq!(folder_of(["/k", "/x", "/h"]), Some("/k".into()));
        assert_eq!(folder_of(["unset", "/x", "/h"]), Some("/x/kamaji".into()));
        assert_eq!(folder_of(["unset", "unset", "/h"]), Some("/h/.cache/kamaji".into()));
        assert_eq!(folder_of(["unset", "unset", "unset"]), None);
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        assert_eq!(folder_of(["", "", "/h"]), Some("/h/.cache/kamaji".into()));
    }
}
