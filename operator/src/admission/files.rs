//! A certificate that somebody else mounts, such as cert-manager: it is read again once the files are others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, io};

use rustls::sign::CertifiedKey;

use super::certificate::certified;

/// Name of the file with the certificate.
pub(super) const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The folder that the files are in, and what they held last.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    read: Mutex<Option<(Stamp, Arc<CertifiedKey>)>>,
}

/// Tells files apart without reading them: when each was changed, and how long it is.
type Stamp = [(SystemTime, u64); 2];

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), read: Mutex::default() }
    }

    /// What the files hold now; what they held last if that cannot be used. Files that stay are not read again.
    pub(super) fn current(&self) -> Option<Arc<CertifiedKey>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match self.changed(read.as_ref().map(|(stamp, _)| stamp)) {
            Ok(Some(newest)) => *read = Some(newest),
            Ok(None) => {}
            Err(problem) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, problem, "the mounted certificate cannot be used");
            }
        }
        read.as_ref().map(|(_, pair)| Arc::clone(pair))
    }

    fn changed(&self, known: Option<&Stamp>) -> Result<Option<(Stamp, Arc<CertifiedKey>)>, String> {
        let unreadable = |error: io::Error| error.to_string();
        let stamp = self.stamp().map_err(unreadable)?;
        if known == Some(&stamp) {
            return Ok(None);
        }
        let file = |name: &str| fs::read(self.folder.join(name)).map_err(unreadable);
        Ok(Some((stamp, certified(&file(CERTIFICATE)?, &file(KEY)?)?)))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let of = |name: &str| {
            let found = fs::metadata(self.folder.join(name))?;
            io::Result::Ok((found.modified()?, found.len()))
        };
        Ok([of(CERTIFICATE)?, of(KEY)?])
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use kamaji_pki::{Authority, Leaf, Names, Pair, Usage};

    use super::*;

    fn pair() -> Pair {
        let now = "2026-11-23T00:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        let leaf = Leaf {
            common_name: "server".into(),
            organizations: Vec::new(),
            usage: Usage::Server,
            names: Names::default(),
            valid_for: day,
        };
        Authority::create("authority", now, day).unwrap().issue(&leaf, now).unwrap()
    }

    #[test]
    fn files_are_read_again_once_they_are_others_and_garbage_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("kamaji-admission-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let put = |pair: &Pair, at: u64| {
            for (name, text) in [(CERTIFICATE, pair.certificate().pem()), (KEY, pair.key().pem())] {
                let path = folder.join(name);
                fs::write(&path, text).unwrap();
                // Clocks of file systems are coarse.
                let changed = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
                fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
            }
        };
        let files = Files::new(&folder);
        assert!(files.current().is_none());
        put(&pair(), 1);
        let first = files.current().unwrap();
        assert!(Arc::ptr_eq(&first, &files.current().unwrap()), "read once");
        put(&pair(), 2);
        let second = files.current().unwrap();
        assert_ne!(first.cert, second.cert);
        fs::write(folder.join(KEY), "garbage").unwrap();
        assert!(Arc::ptr_eq(&second, &files.current().unwrap()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
