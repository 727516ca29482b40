//! `tedge certs … --force`, killed at each of its steps on the disk.

use std::process::Command;

use crate::support::tedge::{Device, Done, run};

/// It is killed before each of these calls in turn.
const STEPS: [&str; 5] = ["unlinkat", "write", "fchmod", "fsync", "renameat,renameat2"];

const FORCED: &[&str] = &["certs", "server", "main-agent", "--force"];

/// Starts the service for its check alone.
fn check(device: &Device) -> Done {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer"));
    run(program.arg("--check").arg("--config-dir").arg(device.config_dir()))
}

/// Replaces the pair, with strace's signals; whether it came to its end.
fn forced(device: &Device, inject: &str) -> bool {
    let tedge = device.command(FORCED);
    let mut command = Command::new("strace");
    command.args(["-qqo", "/dev/null", "-e", inject]).arg(tedge.get_program());
    command.args(tedge.get_args()).env("TEDGE_CONFIG_DIR", device.config_dir());
    run(&mut command).code == Some(0)
}

/// Whether programs can be killed here; says so where they cannot.
fn can_kill() -> bool {
    let inject = "inject=exit_group:signal=KILL";
    let killed = Command::new("strace").args(["-qqo", "/dev/null", "-e", inject, "true"]).status();
    let can = killed.is_ok_and(|status| !status.success());
    if !can {
        eprintln!("skipped: strace is not installed, or may not trace");
    }
    can
}

#[test]
fn a_pair_is_whole_after_it_or_the_check_says_what_to_type() {
    if !can_kill() {
        return;
    }
    let device = Device::new();
    let pair = ["key", "crt"].map(|kind| format!("device-local-certs/main-agent.{kind}"));
    let [key, certificate] = pair.each_ref().map(|file| device.path(file));
    let settings = format!("http.key_path = {key:?}\nhttp.cert_path = {certificate:?}\n");
    let device = device.with("tedge.toml", settings);
    device.tedge(&["certs", "ca"]);
    device.tedge(&["certs", "server", "main-agent"]).silent_success();
    let content = || pair.each_ref().map(|file| device.text(file));

    let mut halves = 0;
    for calls in STEPS {
        for step in 1.. {
            let before = content();
            let is_whole = forced(&device, &format!("inject={calls}:signal=KILL:when={step}"));
            let after = content();
            let replaced = [0, 1].map(|index| before[index] != after[index]);
            let checked = check(&device);
            if replaced[0] == replaced[1] {
                assert_eq!(checked.code, Some(0), "{calls} {step}: {checked:?}");
            } else {
                halves += 1;
                checked.failed(78, &["does not belong to", "type it again with --force"]);
                device.tedge(FORCED).silent_success();
                assert_eq!(check(&device).code, Some(0), "{calls} {step}");
            }
            if is_whole {
                assert_eq!(replaced, [true; 2], "{calls} {step}");
                break;
            }
        }
    }
    assert_eq!(halves, 1, "between the two renames");
}
