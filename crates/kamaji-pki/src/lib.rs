//! Keys and certificates in memory, and the verdict whether one must be reissued.
