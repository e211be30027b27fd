//! sqlite

pub mod locks;
