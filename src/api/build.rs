//! Compiles the protos without protoc, and keeps their descriptors for reflection.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", protos.display());
    let files = ["access", "trust", "log", "hosts"].map(|name| format!("jitssh/v1/{name}.proto"));
    let descriptors = protox::compile(files, [&protos])?;
    // tonic's compile_fds ignores file_descriptor_set_path, so the set is written here.
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("jitssh.v1.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
