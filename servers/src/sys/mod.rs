//! The crate's only `unsafe`: thin, sound wrappers over what neither std nor nix
//! offers safely. Each block says why it is sound.

pub mod descriptors;
pub mod memory;
pub mod process;
pub mod uring;
pub mod waiting;
