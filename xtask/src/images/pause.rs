//! The image that holds a Pod's namespaces.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::{Entry, Image, PAUSE};
use crate::{cache::Cache, command, workspace};

/// The pause image; its program is compiled when the source is newer.
pub(super) fn image(cache: &Cache) -> Result<Image> {
    let source = workspace::path("e2e/programs/pause/pause.c");
    let folder = cache.programs().join("pause");
    let program = folder.join("pause");
    let age = |path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let is_current = age(&program).is_ok_and(|built| age(&source).is_ok_and(|written| written <= built));
    if !is_current {
        fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
        command::output(
            Command::new("gcc")
                .args(["-Os", "-Wall", "-Werror", "-static", "-s", "-o"])
                .arg(&program)
                .arg(&source),
        )?;
    }
    Ok(Image {
        entries: vec![Entry::program(&program, "/pause")],
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..Image::named(PAUSE.to_owned())
    })
}
