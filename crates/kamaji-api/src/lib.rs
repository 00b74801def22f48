//! Kamaji's vocabulary: the CRD types, the names and labels of everything derived from them, and the resolved Tenant.
