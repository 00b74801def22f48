//! One-layer OCI archives (the OCI image layout, version 1.0.0, in a tar).

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ring::digest::{Context as Digest, SHA256};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::digest;

const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image to be packed.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The full name, with registry and tag.
    pub name: String,
    /// What the single layer holds.
    pub entries: Vec<Entry>,
    /// The command that a container starts when its Pod names none; empty for none.
    pub entrypoint: Vec<String>,
    /// The user (and group, after a colon) of its processes; empty for root.
    pub user: String,
}

/// A file or a link of the layer.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file that anyone may run.
    Program {
        /// Its path in the image.
        at: String,
        /// Where its content is.
        from: PathBuf,
    },
    /// A symbolic link.
    Link {
        /// Its path in the image.
        at: String,
        /// What it points to.
        to: String,
    },
}

impl Image {
    /// An empty image of this name, run by root.
    pub fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// The files that it is made of.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Program { from, .. } => Some(from.as_path()),
            Entry::Link { .. } => None,
        })
    }
}

impl Entry {
    /// The program in the file `from`, at the path `at`.
    pub fn program(from: &Path, at: &str) -> Self {
        Self::Program { at: at.to_owned(), from: from.to_owned() }
    }
}

/// Writes the image's archive and returns the digest of its manifest.
///
/// The same content gives the same archive: nothing in it depends on time or place.
pub(super) fn write(image: &Image, path: &Path) -> Result<String> {
    let layer_path = path.with_extension("layer");
    let layer = write_layer(image, &layer_path)?;
    let config = to_bytes(&config_of(image, &layer));
    let manifest = to_bytes(&manifest_of(&Blob::of(&config), &layer));
    let index = to_bytes(&index_of(image, &Blob::of(&manifest)));

    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).with_context(|| format!("making {}", unfinished.display()))?;
    let mut tar = Builder::new(BufWriter::new(file));
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", &index)?;
    for blob in [&config, &manifest] {
        append(&mut tar, &Blob::of(blob).path(), blob)?;
    }
    let content = File::open(&layer_path).with_context(|| format!("opening {}", layer_path.display()))?;
    let mut header = header_of(EntryType::Regular, 0o644, layer.length);
    tar.append_data(&mut header, layer.path(), BufReader::new(content)).context("adding the layer")?;
    tar.into_inner().and_then(|mut writer| writer.flush()).context("finishing the archive")?;

    fs::remove_file(&layer_path).with_context(|| format!("removing {}", layer_path.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("moving {} into place", path.display()))?;
    Ok(Blob::of(&manifest).digest)
}

/// A blob as a manifest refers to it.
struct Blob {
    digest: String,
    length: u64,
}

impl Blob {
    fn of(content: &[u8]) -> Self {
        Self { digest: format!("sha256:{}", digest::of(content)), length: content.len() as u64 }
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.length })
    }
}

fn config_of(image: &Image, layer: &Blob) -> Value {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": [SEARCH_PATH], "Entrypoint": image.entrypoint, "User": image.user, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    })
}

fn manifest_of(config: &Blob, layer: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(CONFIG),
        "layers": [layer.descriptor(LAYER)],
    })
}

fn index_of(image: &Image, manifest: &Blob) -> Value {
    let mut descriptor = manifest.descriptor(MANIFEST);
    descriptor["annotations"] = json!({ "io.containerd.image.name": image.name });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] })
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn write_layer(image: &Image, path: &Path) -> Result<Blob> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let digesting = Digesting { inner: BufWriter::new(file), context: Digest::new(&SHA256), length: 0 };
    let mut tar = Builder::new(digesting);
    // Programs that want a temporary folder find one, whoever they run as.
    tar.append_data(&mut header_of(EntryType::Directory, 0o1777, 0), "tmp/", io::empty())
        .context("adding the temporary folder")?;
    for entry in &image.entries {
        add(&mut tar, entry)?;
    }
    let mut digesting = tar.into_inner().context("finishing the layer")?;
    digesting.flush().context("writing the layer")?;
    Ok(Blob {
        digest: format!("sha256:{}", digest::hexadecimal(digesting.context.finish())),
        length: digesting.length,
    })
}

fn add(tar: &mut Builder<Digesting>, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Program { at, from } => {
            let file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
            let length = file.metadata().with_context(|| format!("looking at {}", from.display()))?.len();
            let mut header = header_of(EntryType::Regular, 0o755, length);
            tar.append_data(&mut header, relative(at), file.take(length))
        }
        Entry::Link { at, to } => {
            tar.append_link(&mut header_of(EntryType::Symlink, 0o777, 0), relative(at), to)
        }
    }
    .with_context(|| format!("adding {entry:?}"))
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn append<W: Write>(tar: &mut Builder<W>, path: &str, content: &[u8]) -> Result<()> {
    tar.append_data(&mut header_of(EntryType::Regular, 0o644, content.len() as u64), path, content)
        .with_context(|| format!("adding {path}"))
}

fn header_of(kind: EntryType, mode: u32, length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Digests what passes through.
struct Digesting {
    inner: BufWriter<File>,
    context: Digest,
    length: u64,
}

impl Write for Digesting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.context.update(&buffer[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn packed(name: &str) -> (String, BTreeMap<String, Vec<u8>>) {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-archive-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("program");
        fs::write(&program, "a program").unwrap();
        let image = Image {
            entries: vec![
                Entry::program(&program, "/usr/local/bin/program"),
                Entry::Link { at: "/bin/program".into(), to: "../usr/local/bin/program".into() },
            ],
            entrypoint: vec!["/usr/local/bin/program".into()],
            user: "65532:65532".into(),
            ..Image::named("example.com/program:v1".into())
        };
        let path = folder.join("image.tar");
        let digest = write(&image, &path).unwrap();
        let files = files_of(File::open(&path).unwrap());
        fs::remove_dir_all(folder).unwrap();
        (digest, files)
    }

    fn files_of(archive: impl Read) -> BTreeMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(archive);
        tar.entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect()
    }

    fn blob(files: &BTreeMap<String, Vec<u8>>, digest: &Value) -> Vec<u8> {
        let digest = digest.as_str().unwrap();
        let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(Blob::of(content).digest, digest, "a blob is stored under its digest");
        content.clone()
    }

    #[test]
    fn the_index_leads_to_the_program() {
        let (digest, files) = packed("leads");
        assert!(files.contains_key("oci-layout"));
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let descriptor = &index["manifests"][0];
        assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "example.com/program:v1");
        assert_eq!(descriptor["digest"], digest);

        let manifest: Value = serde_json::from_slice(&blob(&files, &descriptor["digest"])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&files, &manifest["config"]["digest"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Env"][0], SEARCH_PATH);

        let layer = blob(&files, &manifest["layers"][0]["digest"]);
        assert_eq!(manifest["layers"][0]["size"], layer.len());
        let layer = files_of(layer.as_slice());
        assert_eq!(layer["usr/local/bin/program"], b"a program");
        assert_eq!(layer.keys().collect::<Vec<_>>(), ["bin/program", "tmp/", "usr/local/bin/program"]);
    }

    #[test]
    fn the_same_content_gives_the_same_digest() {
        assert_eq!(packed("one").0, packed("two").0);
    }
}
