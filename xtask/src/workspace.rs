//! Where things lie in the checkout.

use std::path::PathBuf;

/// The version that every crate of the workspace has.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The folder of the root manifest.
pub fn root() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

/// A path given relative to the root of the checkout.
pub fn path(relative: &str) -> PathBuf {
    root().join(relative)
}
