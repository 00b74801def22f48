//! Writes the files that are made from code, and finds those that are stale.

mod crds;
mod rbac;
mod reference;
mod webhooks;
mod yaml;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A file that is made from code.
struct Generated {
    /// Relative to the root of the checkout.
    path: String,
    content: String,
}

/// Writes every generated file, and says which have changed.
pub fn write() -> Result<()> {
    let root = workspace::root();
    all().iter().try_for_each(|file| write_file(&root, file))
}

/// Fails, naming the stale files, unless every generated file is what would be written.
pub fn check() -> Result<()> {
    find_stale(&workspace::root(), &all())
}

/// Every generated file.
fn all() -> Vec<Generated> {
    let mut files = crds::files();
    files.extend(rbac::files());
    files.extend(webhooks::files());
    files.push(reference::api());
    files
}

fn write_file(root: &Path, file: &Generated) -> Result<()> {
    let path = root.join(&file.path);
    if fs::read_to_string(&path).is_ok_and(|current| current == file.content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    fs::write(&path, &file.content).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote {}", file.path);
    Ok(())
}

fn find_stale(root: &Path, files: &[Generated]) -> Result<()> {
    let complaints: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let current = fs::read_to_string(root.join(&file.path)).unwrap_or_default();
            first_difference(&current, &file.content).map(|difference| format!("{}: {difference}", file.path))
        })
        .collect();
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}\ngenerated files are stale: run `cargo xtask generate`", complaints.join("\n"));
}

/// The first line that differs, as a short diff.
fn first_difference(current: &str, wanted: &str) -> Option<String> {
    if current == wanted {
        return None;
    }
    let (mut old, mut new) = (current.lines(), wanted.lines());
    let mut number = 1;
    loop {
        match (old.next(), new.next()) {
            (Some(old), Some(new)) if old == new => number += 1,
            (None, None) => return Some("only line ends differ".into()),
            (old, new) => {
                let side = |sign, line: Option<&str>| {
                    line.map_or_else(String::new, |line| format!("\n  {sign} {}", shortened(line)))
                };
                return Some(format!("line {number}{}{}", side('-', old), side('+', new)));
            }
        }
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_current() {
        check().unwrap();
    }

    #[test]
    fn the_charts_have_the_version_of_the_workspace() {
        for chart in ["kamaji", "kamaji-crds"] {
            let text = fs::read_to_string(workspace::path(&format!("charts/{chart}/Chart.yaml"))).unwrap();
            let chart: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!([&chart["version"], &chart["appVersion"]], [workspace::VERSION; 2]);
        }
    }

    #[test]
    fn a_stale_file_is_shown_by_its_first_difference() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n").unwrap(), "line 2\n  - b\n  + c");
        assert_eq!(first_difference("a\n", "a\nc\n").unwrap(), "line 2\n  + c");
        assert_eq!(first_difference("", "a\n").unwrap(), "line 1\n  + a");
    }

    #[test]
    fn a_missing_file_is_stale() {
        let file = Generated { path: "no/such/file".into(), content: "text\n".into() };
        let complaint = find_stale(&workspace::root(), &[file]).unwrap_err().to_string();
        assert!(complaint.contains("no/such/file: line 1"), "{complaint}");
        assert!(complaint.contains("cargo xtask generate"), "{complaint}");
    }
}
