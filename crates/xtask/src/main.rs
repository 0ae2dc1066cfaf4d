//! Tasks of the repository: `cargo xtask codegen`.

mod codegen;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["codegen", shared] => codegen::run(Path::new(shared)),
        _ => anyhow::bail!("usage: cargo xtask codegen SHARED"),
    }
}
