//! The first command of the README, `cargo run --release -- demo git`, finds one program to run.

use std::process::Command;

use serde_json::Value;

#[test]
fn cargo_run_finds_the_program_cim_and_no_other() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {:?}", output);
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let default = list(&metadata["workspace_default_members"]);
    let packages = list(&metadata["packages"]);
    let programs: Vec<String> = packages
        .iter()
        .filter(|package| default.contains(&package["id"]))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).contains(&Value::from("bin")))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(programs, ["cim"]);
}
