//! Finds out whether tests may make network namespaces, so that those which need them are reported as ignored
//! where they may not. What is made here is gone with the command that made it.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(namespaces)");
    println!("cargo::rerun-if-changed=build.rs");
    let cable = "ip link add left type veth peer name right";
    let mut probe = Command::new("unshare");
    probe.args(["--net", "sh", "-c", cable]);
    let probed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if probed.is_ok_and(|status| status.success()) {
        println!("cargo::rustc-cfg=namespaces");
    }
}
