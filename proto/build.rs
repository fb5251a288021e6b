//! Compiles the protos with protox, so that no `protoc` is needed to build.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["minikafka/v1/minikafka.proto", "minikafka/v1/group.proto", "protocol/minikafka.proto"];
    println!("cargo:rerun-if-changed=minikafka");
    println!("cargo:rerun-if-changed=protocol");
    let descriptors = protox::compile(files, ["."])?;
    // Reflection serves the very descriptors that the stubs are made of, comments included.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Payloads are slices of the receive buffer, not copies.
        .bytes(".")
        // A service that answers a part of the calls need not mention the others: servers in tests do.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
