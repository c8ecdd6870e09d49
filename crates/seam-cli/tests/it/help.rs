//! Help that teaches.

use crate::process::run;

#[test]
fn each_command_has_help_with_examples_and_exit_codes() {
    let said = run(&["--help"], b"");
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    for command in
        ["send", "receive", "request", "serve", "bridge", "caps", "transports", "remove", "certs"]
    {
        assert!(said.output.contains(&format!("\n  {command} ")), "{}", said.output);
        let help = run(&[command, "--help"], b"");
        assert_eq!((help.code, help.complaint.as_str()), (Some(0), ""));
        assert!(help.output.contains("Usage: seam"), "{}", help.output);
    }
    for command in ["send", "receive", "request", "serve", "bridge"] {
        let help = run(&["help", command], b"").output;
        assert!(help.contains("Example") && help.contains(&format!("seam {command} ")), "{help}");
    }
    assert!(said.output.contains("Exit code 0: done."), "{}", said.output);
}

#[test]
fn the_version_is_that_of_the_crate() {
    let said = run(&["--version"], b"");
    assert_eq!(said.output, format!("seam {}\n", env!("CARGO_PKG_VERSION")));
}
