//! Names and paths: none leads out of the folder it belongs in.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use crate::support::{project::Project, server::server};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n";

/// What stands outside of the project, and must not be shown.
const OUTSIDE: &str = "outside-of-the-project";

#[test]
fn no_name_of_an_environment_leads_out_of_its_folder() {
    let server = server();
    let project = Project::new(&server, SPEC);
    fs::write(project.path("secret.toml"), format!("# {OUTSIDE}\n")).expect("it can be written");
    let long = "a".repeat(10_000);
    let absolute = project.path("secret").display().to_string();
    for name in
        ["../secret", "./test", "..", "", "test.toml", &absolute, &long, "te\nst", "\u{202e}"]
    {
        for command in [&["plan"][..], &["state", "list"], &["validate"], &["apply"], &["show"]] {
            let output = project.run_in(name, command).ended(1).never_says(OUTSIDE);
            assert!(output.stderr.len() < 2_000, "{}", output.stderr);
        }
    }
    assert!(!project.path("state").exists(), "nothing was made");
}

#[test]
fn a_spec_extends_nothing_outside_of_its_folder() {
    let server = server();
    let project = Project::new(&server, "");
    let outside = project.path("outside.toml");
    fs::write(&outside, format!("{OUTSIDE} = {{\n")).expect("it can be written");
    symlink(&outside, project.path("environments/linked.toml")).expect("a link");
    let absolute = outside.display().to_string();
    for base in ["../outside.toml", "../../../../../../etc/passwd", &absolute, "linked.toml"] {
        fs::write(project.path("environments/test.toml"), format!("extends = {base:?}\n"))
            .expect("it can be written");
        let refused = project.run(&["validate"]).ended(1);
        refused.says("it lies outside `environments/`").says("test.toml:1:11").never_says(OUTSIDE);
    }
    for (base, why) in [("a\\u0000b", "cannot be read"), ("more", "it is no file")] {
        fs::create_dir_all(project.path("environments/more")).expect("a folder");
        fs::write(project.path("environments/test.toml"), format!("extends = \"{base}\"\n"))
            .expect("it can be written");
        project.run(&["validate"]).ended(1).says(why);
    }
    fs::write(project.path("environments/more/base.toml"), SPEC).expect("it can be written");
    symlink("more/base.toml", project.path("environments/inside.toml")).expect("a link");
    project.write_spec("");
    let text = format!("extends = \"inside.toml\"\n{}", project.read("environments/test.toml"));
    fs::write(project.path("environments/test.toml"), text).expect("it can be written");
    project.run(&["validate"]).ended(0).says("1 resource");
}

#[test]
fn an_environment_that_is_a_link_out_of_its_folder_is_refused() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let outside = project.path("outside.toml");
    fs::rename(project.path("environments/test.toml"), &outside).expect("it is there");
    symlink(&outside, project.path("environments/test.toml")).expect("a link");
    project.run(&["plan"]).ended(1).says("it lies outside `environments/`");
}

#[test]
fn a_state_that_is_a_link_out_of_its_folder_is_refused_and_left_alone() {
    let server = server();
    for (name, target) in [
        ("test.json", "file"),
        ("test.lock", "file"),
        ("test.journal", "no-file"),
        ("history", "folder"),
    ] {
        let project = Project::new(&server, SPEC);
        fs::create_dir(project.path("state")).expect("a folder");
        fs::create_dir(project.path("folder")).expect("a folder");
        fs::write(project.path("file"), OUTSIDE).expect("it can be written");
        symlink(project.path(target), project.path("state").join(name)).expect("a link");
        for command in [&["plan"][..], &["apply", "--auto-approve"], &["state", "list"]] {
            let refused = project.run(command).ended(1);
            refused.says("it is a link out of `state/`").never_says(OUTSIDE);
        }
        assert_eq!(project.read("file"), OUTSIDE);
        assert!(!project.path("no-file").exists());
    }
}

#[test]
fn a_state_that_others_may_write_is_warned_of_once() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply().never_says("unprotected");
    let mode = |mode| {
        fs::set_permissions(project.path("state"), fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(0o777);
    let output =
        project.run(&["plan"]).ended(0).says("others may write into `state/`: its mode is 777");
    assert_eq!(output.stderr.matches("unprotected").count(), 1, "{output}");
    project.run(&["state", "list"]).ended(0).says("chmod go-w");
    mode(0o755);
    project.run(&["plan"]).ended(0).never_says("unprotected");
}
