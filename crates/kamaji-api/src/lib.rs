//! Kamaji's vocabulary: the CRD types, the names and labels of everything derived from them, and [`Tenant`], the spec once
//! it has been read and is known to be sound.

pub mod v1alpha1;
