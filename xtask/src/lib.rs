//! What `cargo xtask` does, for it and for the end-to-end tests: upstream programs, images and the local cluster.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to the person who runs it")]

pub mod bench;
pub mod cache;
pub mod checks;
pub mod cluster;
pub mod command;
mod digest;
pub mod generate;
pub mod images;
pub mod install;
pub mod kubectl;
pub mod operator_image;
pub mod packages;
pub mod programs;
pub mod progress;
pub mod quickstart;
pub mod wait;
pub mod workspace;
