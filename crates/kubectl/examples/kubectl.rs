//! `coracle kubectl` without the rest of Coracle: for comparing with the real one.

fn main() -> std::process::ExitCode {
    kubectl::main(std::env::args().skip(1).collect())
}
